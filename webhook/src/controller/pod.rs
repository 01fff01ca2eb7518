//! One Pod: an injected one follows its markers, one that should have been injected is told of.

use super::Context;
use super::event::{Reason, tell};
use super::pods::{PodKey, PodView, PodWire, Pods};
use super::revise::{Revision, revise};
use super::writer::{WriteError, Writer, patch};
use crate::admission::{self, Outcome as Decision, World};
use crate::inject::NoRandom;
use crate::metric::Metrics;
use crate::pod::Pod;
use crate::queue::Outcome;
use crate::queue::pool::Work;
use crate::settings::file::Live;
use crate::store::Store;
use kube::Api;
use kube::api::Patch;
use probelet_protocol::name::OWN_PREFIX;
use probelet_protocol::setting::Marks;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// Looks after Pods.
pub struct PodWork {
    store: Store,
    live: watch::Receiver<Live>,
    metrics: Arc<Metrics>,
    writer: Arc<Writer>,
    pods: Arc<Pods>,
}

// === impl PodWork ===

impl PodWork {
    /// Works on the Pods of this index.
    pub fn new(context: &Context, writer: Arc<Writer>, pods: Arc<Pods>) -> Self {
        let (store, live) = (context.store.clone(), context.live.clone());
        Self { store, live, metrics: Arc::clone(&context.metrics), writer, pods }
    }

    async fn follow_markers(&self, key: &PodKey, view: &PodView) -> Result<Outcome, WriteError> {
        let pod = view.pod(key);
        let namespace = self.store.cluster().namespace(&key.namespace).unwrap_or_default();
        let revision = match revise(&pod, &view.present(), &namespace) {
            Ok(revision) => revision,
            Err(error) => {
                // What was written there is its owner's; a change of it brings us here again.
                warn!(namespace = %key.namespace, pod = %key.name, %error, "markers cannot be brought to this Pod");
                return Ok(Outcome::Done);
            }
        };
        if revision.annotations.is_empty() {
            return Ok(Outcome::Done);
        }
        if self.marks(&pod) == Marks::Conditions {
            let message = "A PodProbeMarker of this Pod has changed. The Pod is set to probelet.io/marks=conditions, as \
                           its provider cannot bear changes of annotations, so it keeps its old plan until it is re-created.";
            return self.tell(key, view, Reason::EditNotApplied, message).await;
        }
        self.writer.pace_pod().await;
        self.apply(key, view, &revision).await?;
        if revision.lacks_agent {
            let message = "A probe that runs a command was added. This Pod was started without the agent that runs it, \
                           so its state is Unknown until the Pod is re-created.";
            return self.tell(key, view, Reason::ExecWithoutAgent, message).await;
        }
        Ok(Outcome::Done)
    }

    async fn apply(&self, key: &PodKey, view: &PodView, revision: &Revision) -> Result<(), WriteError> {
        let api: Api<PodWire> = Api::namespaced(self.writer.client.clone(), &key.namespace);
        // The UID guards a Pod that has taken the name since.
        let body = json!({ "metadata": { "uid": view.uid, "annotations": revision.annotations } });
        match self.writer.write(api.patch_metadata(&key.name, &patch(), &Patch::Merge(body))).await {
            Ok(_) => {
                let keys: Vec<_> = revision.annotations.keys().collect();
                debug!(namespace = %key.namespace, pod = %key.name, ?keys, "plan brought up to date");
                Ok(())
            }
            // Gone, or another Pod by now: the watch tells.
            Err(WriteError::Call(error)) if matches!(error.code(), Some(404 | 409 | 422)) => {
                info!(namespace = %key.namespace, pod = %key.name, %error, "Pod is not the one that was looked at");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn marks(&self, pod: &Pod) -> Marks {
        let own = pod.annotation(&format!("{OWN_PREFIX}marks")).map(str::to_owned);
        let marks = own.or_else(|| self.live.borrow().config.settings.get("marks").cloned());
        marks.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// What admission would have said, said by the same rules.
    async fn check_missed(&self, key: &PodKey, view: &PodView) -> Result<Outcome, WriteError> {
        let verdict = {
            let live = self.live.borrow();
            let world = World { cluster: self.store.cluster(), config: &live.config, random: no_key };
            admission::decide_pod(&view.pod(key), &key.namespace, &world)
        };
        let (reason, message) = match verdict.outcome {
            Decision::Injected => (
                Reason::InjectionMissed,
                "PodProbeMarkers select this Pod, but it has no sidecar: the webhook could not be asked when it was \
                 created, or the namespace was opted in later. It is not probed until it is re-created."
                    .to_owned(),
            ),
            Decision::Skipped(reason) if reason.is_mistake() => {
                (Reason::InjectionSkipped, format!("No sidecar was injected: {reason}."))
            }
            Decision::Denied => {
                let message = verdict.answer.denied.map(|(_, message)| message).unwrap_or_default();
                (Reason::InjectionSkipped, format!("No sidecar was injected: {message}"))
            }
            _ => return Ok(Outcome::Done),
        };
        self.tell(key, view, reason, &message).await
    }

    async fn tell(&self, key: &PodKey, view: &PodView, reason: Reason, message: &str) -> Result<Outcome, WriteError> {
        let waits = tell(&self.writer, &self.metrics, key, &view.uid, reason, message).await?;
        Ok(waits.map_or(Outcome::Done, Outcome::Again))
    }
}

/// Nothing of what is decided here is used but the reason.
fn no_key() -> Result<String, NoRandom> {
    Ok(String::new())
}

impl Work for PodWork {
    type Key = PodKey;
    type Error = WriteError;
    const NAME: &'static str = "pods";

    async fn work(&self, key: &PodKey) -> Result<Outcome, WriteError> {
        match self.pods.get(key) {
            Some(view) if view.over => Ok(Outcome::Done),
            Some(view) if view.injected => self.follow_markers(key, &view).await,
            Some(view) => self.check_missed(key, &view).await,
            None => Ok(Outcome::Done),
        }
    }
}
