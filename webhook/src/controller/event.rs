//! Events on Pods, for their owners. An Event's name follows from the Pod and the reason, so that each is told once,
//! also by the next leader.

use super::pods::PodKey;
use super::writer::{WriteError, Writer, post};
use crate::metric::Metrics;
use crate::owned;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

const COMPONENT: &str = "probelet-webhook";
/// The API server takes 1024 bytes.
const MESSAGE: usize = 1024;
const NAME: usize = 200;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The Pod is not injected because of a mistake that its owner can correct.
    InjectionSkipped,
    /// The Pod should have been injected, but the webhook was not asked, or had no answer.
    InjectionMissed,
    /// A probe that runs a command was added to a Pod that was started without the agent.
    ExecWithoutAgent,
    /// A marker's edit cannot be brought to a Pod whose provider cannot bear changes of metadata.
    EditNotApplied,
}

// === impl Reason ===

impl Reason {
    /// As it stands in the Event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InjectionSkipped => "InjectionSkipped",
            Self::InjectionMissed => "InjectionMissed",
            Self::ExecWithoutAgent => "ExecWithoutAgent",
            Self::EditNotApplied => "EditNotApplied",
        }
    }
}

/// Tells it; `Some`: not now, but after this time.
///
/// # Errors
/// [`WriteError`], but not where it has been told already.
pub async fn tell(
    writer: &Writer,
    metrics: &Metrics,
    key: &PodKey,
    uid: &str,
    reason: Reason,
    message: &str,
) -> Result<Option<Duration>, WriteError> {
    if let Err(wait) = writer.may_tell() {
        return Ok(Some(wait));
    }
    let api: Api<Event> = Api::namespaced(writer.client.clone(), &key.namespace);
    match writer.write(api.create(&post(), &event(key, uid, reason, message))).await {
        Ok(_) => {
            metrics.event(reason.as_str());
            Ok(None)
        }
        Err(WriteError::Call(error)) if error.is_conflict() => Ok(None),
        Err(error) => Err(error),
    }
}

fn event(key: &PodKey, uid: &str, reason: Reason, message: &str) -> Event {
    let mut hasher = DefaultHasher::new();
    (uid, reason, message).hash(&mut hasher);
    let name = &key.name[..key.name.floor_char_boundary(NAME)];
    let now = Time(Timestamp::now());
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:016x}", name.trim_end_matches(['.', '-']), hasher.finish())),
            namespace: Some(key.namespace.to_string()),
            labels: Some(owned::labels()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(key.namespace.to_string()),
            name: Some(key.name.to_string()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        },
        reason: Some(reason.as_str().to_owned()),
        message: Some(message[..message.floor_char_boundary(MESSAGE)].to_owned()),
        type_: Some("Warning".to_owned()),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: None }),
        reporting_component: Some(COMPONENT.to_owned()),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        count: Some(1),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pod_and_reason_is_one_event_by_name() {
        let key = PodKey { namespace: "game".into(), name: "p".repeat(253).into() };
        let first = event(&key, "uid", Reason::InjectionMissed, "m");
        assert_eq!(first.metadata.name, event(&key, "uid", Reason::InjectionMissed, "m").metadata.name);
        assert_ne!(first.metadata.name, event(&key, "other", Reason::InjectionMissed, "m").metadata.name);
        assert_ne!(first.metadata.name, event(&key, "uid", Reason::InjectionSkipped, "m").metadata.name);
        assert!(first.metadata.name.expect("name").len() <= 253);
        assert_eq!(event(&key, "uid", Reason::InjectionMissed, &"é".repeat(2000)).message.expect("text").len(), 1024);
    }
}
