//! One RoleBinding in each opted-in namespace, so that sidecars may patch their Pod's status; removed after the last
//! injected Pod has gone. A RoleBinding that is not ours is never touched.

use super::Context;
use super::pods::Pods;
use super::writer::{WriteError, Writer, delete, post};
use crate::client::{WATCH_SECONDS, within};
use crate::cluster::Cluster;
use crate::owned::{self, PART_OF};
use crate::queue::Outcome;
use crate::queue::pool::{Input, Work};
use crate::settings::file::Live;
use futures_util::StreamExt;
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use probelet_protocol::name::{INJECT_ENABLED, INJECT_LABEL};
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{info, warn};

/// Name of the RoleBinding.
pub const NAME: &str = "probelet-sidecar";
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
/// How soon Pods are looked for again where they have not been listed yet.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long a namespace keeps its RoleBinding after it has opted out, at least: a Pod may have been admitted in the same moment, which the
/// watch has not told of yet. As long as the API server may take for a Pod, with both of our calls.
const GRACE: Duration = Duration::from_secs(5);

/// Looks after RoleBindings.
pub struct RoleBindings {
    cluster: Arc<Cluster>,
    live: watch::Receiver<Live>,
    role: String,
    writer: Arc<Writer>,
    pods: Arc<Pods>,
    /// Ours, by namespace; whether it is as it should be.
    found: Mutex<HashMap<String, bool>>,
    /// Since when namespaces that still have ours are known to have opted out.
    leaving: Mutex<HashMap<String, Instant>>,
    changes: watch::Sender<u64>,
}

/// What to do in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Nothing,
    Create,
    /// What a RoleBinding gives cannot be changed, only given anew.
    Replace,
    Delete,
    /// It may have to go, once it is known which Pods are left.
    Ask,
}

// === impl RoleBindings ===

impl RoleBindings {
    /// Nothing seen yet.
    pub fn new(context: &Context, writer: Arc<Writer>, pods: Arc<Pods>) -> Self {
        Self {
            cluster: Arc::clone(context.store.cluster()),
            live: context.live.clone(),
            role: context.settings.sidecar_cluster_role.clone(),
            writer,
            pods,
            found: Mutex::default(),
            leaving: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Told whenever a namespace gets or loses its RoleBinding.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether a namespace has our RoleBinding.
    pub fn has(&self, namespace: &str) -> bool {
        self.lock().contains_key(namespace)
    }

    /// Whether a namespace's owner wants Pods to be injected, and they can be.
    pub fn is_opted_in(&self, namespace: &str) -> bool {
        let known = self.cluster.namespace(namespace);
        let enabled = known.is_some_and(|known| known.label(INJECT_LABEL) == Some(INJECT_ENABLED));
        enabled && !self.live.borrow().config.is_exempt(namespace)
    }

    fn set(&self, namespace: &str, good: Option<bool>) {
        let changed = {
            let mut found = self.lock();
            let before = match good {
                Some(good) => found.insert(namespace.to_owned(), good),
                None => found.remove(namespace),
            };
            before.is_some() != good.is_some()
        };
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much longer a namespace keeps its RoleBinding, whatever is known of its Pods. To be told each time whether it is leaving.
    fn grace(&self, namespace: &str, leaving: bool) -> Duration {
        let mut since = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if !leaving {
            since.remove(namespace);
            return Duration::ZERO;
        }
        GRACE.saturating_sub(since.entry(namespace.to_owned()).or_insert_with(Instant::now).elapsed())
    }

    fn wanted(&self, namespace: &str) -> RoleBinding {
        RoleBinding {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(owned::labels()),
                ..ObjectMeta::default()
            },
            role_ref: RoleRef {
                api_group: Some(RBAC_GROUP.to_owned()),
                kind: "ClusterRole".to_owned(),
                name: self.role.clone(),
            },
            subjects: Some(vec![Subject {
                api_group: Some(RBAC_GROUP.to_owned()),
                kind: "Group".to_owned(),
                name: format!("system:serviceaccounts:{namespace}"),
                namespace: None,
            }]),
        }
    }

    fn is_good(&self, found: &RoleBinding) -> bool {
        let wanted = self.wanted(&found.namespace().unwrap_or_default());
        let subjects = |binding: &RoleBinding| {
            let list = binding.subjects.iter().flatten();
            list.map(|subject| (subject.kind.clone(), subject.name.clone())).collect::<HashSet<_>>()
        };
        (&found.role_ref.kind, &found.role_ref.name) == (&wanted.role_ref.kind, &wanted.role_ref.name)
            && subjects(found) == subjects(&wanted)
    }

    async fn create(&self, api: &Api<RoleBinding>, namespace: &str) -> Result<Outcome, WriteError> {
        match self.writer.write(api.create(&post(), &self.wanted(namespace))).await {
            // Only the watch says that it is there: it may have been deleted again before this answer came.
            Ok(_) => info!(namespace, "RoleBinding made"),
            Err(WriteError::Call(error)) if error.is_conflict() => return self.taken(api, namespace).await,
            Err(error) => return Err(error),
        }
        Ok(Outcome::Done)
    }

    /// One of that name is there: ours, of which the watch has not told yet, or somebody else's.
    async fn taken(&self, api: &Api<RoleBinding>, namespace: &str) -> Result<Outcome, WriteError> {
        let Some(found) = within(api.get_opt(NAME)).await? else { return Ok(Outcome::Again(LOOK_AGAIN)) };
        if owned::is_ours(found.metadata.labels.as_ref()) {
            return Ok(Outcome::Again(LOOK_AGAIN));
        }
        if !self.is_good(&found) {
            warn!(
                namespace,
                name = NAME,
                "a RoleBinding that is not ours has this name: sidecars cannot mark their Pods"
            );
        }
        Ok(Outcome::Again(Duration::from_secs(300)))
    }

    async fn delete(&self, api: &Api<RoleBinding>, namespace: &str) -> Result<(), WriteError> {
        // Read anew: it may have been replaced by one that is not ours.
        if let Some(found) = within(api.get_opt(NAME)).await?
            && owned::is_ours(found.metadata.labels.as_ref())
        {
            match self.writer.write(api.delete(NAME, &delete(found.metadata.uid))).await {
                Ok(_) => info!(namespace, "RoleBinding removed"),
                Err(WriteError::Call(error)) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What to do. `exists`: the namespace is there; `found`: ours is there, and whether it is as it should be; `left`: how
/// many injected Pods are left, where that is known.
fn act(exists: bool, opted_in: bool, found: Option<bool>, left: Option<usize>) -> Act {
    match (opted_in, found, left) {
        // With the namespace goes what is in it.
        _ if !exists => Act::Nothing,
        (true, None, _) => Act::Create,
        (true, Some(false), _) => Act::Replace,
        (true, Some(true), _) | (false, None, _) => Act::Nothing,
        (false, Some(_), None) => Act::Ask,
        (false, Some(_), Some(0)) => Act::Delete,
        (false, Some(_), Some(_)) => Act::Nothing,
    }
}

impl Work for RoleBindings {
    type Key = String;
    type Error = WriteError;
    const NAME: &'static str = "rolebindings";

    async fn work(&self, namespace: &String) -> Result<Outcome, WriteError> {
        let api: Api<RoleBinding> = Api::namespaced(self.writer.client.clone(), namespace);
        let exists = self.cluster.namespace(namespace).is_some_and(|known| known.labels.is_some());
        let found = self.lock().get(namespace).copied();
        let left = self.pods.count(namespace, |view| view.injected && !view.over);
        let opted_in = self.is_opted_in(namespace);
        let grace = self.grace(namespace, exists && !opted_in && found.is_some());
        match act(exists, opted_in, found, left) {
            Act::Nothing => {
                if !exists {
                    self.set(namespace, None);
                }
                Ok(Outcome::Done)
            }
            Act::Create => self.create(&api, namespace).await,
            Act::Replace => {
                self.delete(&api, namespace).await?;
                self.create(&api, namespace).await
            }
            Act::Delete if grace > Duration::ZERO => Ok(Outcome::Again(grace)),
            Act::Delete => self.delete(&api, namespace).await.map(|()| Outcome::Done),
            Act::Ask => Ok(Outcome::Again(LOOK_AGAIN)),
        }
    }
}

/// Follows our RoleBindings: one that somebody deletes or changes is made anew.
pub async fn follow(context: Context, bindings: Arc<RoleBindings>, input: Input<String>) {
    let api: Api<RoleBinding> = Api::all(context.client.clone());
    let labels = format!("{}={}", PART_OF.0, PART_OF.1);
    let fields = format!("metadata.name={NAME}");
    let config = watcher::Config::default().labels(&labels).fields(&fields).timeout(WATCH_SECONDS).any_semantic();
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        context.metrics.watched("rolebindings", event.is_ok());
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(found) | watcher::Event::Apply(found)) => {
                let namespace = found.namespace().unwrap_or_default();
                listed.insert(namespace.clone());
                bindings.set(&namespace, Some(bindings.is_good(&found)));
                input.add(namespace);
            }
            Ok(watcher::Event::InitDone) => {
                let known: Vec<_> = bindings.lock().keys().cloned().collect();
                for namespace in known.into_iter().filter(|namespace| !listed.contains(namespace)) {
                    bindings.set(&namespace, None);
                    input.add(namespace);
                }
            }
            Ok(watcher::Event::Delete(found)) => {
                let namespace = found.namespace().unwrap_or_default();
                bindings.set(&namespace, None);
                input.add(namespace);
            }
            Err(error) => warn!(%error, "watching RoleBindings"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_gets_one_and_keeps_it_until_the_last_injected_pod_has_gone() {
        for (exists, opted_in, found, left, expected, why) in [
            (true, true, None, None, Act::Create, "opted in"),
            (true, true, Some(true), Some(3), Act::Nothing, "it has one"),
            (true, true, Some(false), Some(3), Act::Replace, "somebody changed it"),
            (true, false, None, None, Act::Nothing, "never opted in"),
            (true, false, Some(true), None, Act::Ask, "which Pods are left is not known"),
            (true, false, Some(true), Some(2), Act::Nothing, "opted out, Pods still mark"),
            (true, false, Some(true), Some(0), Act::Delete, "opted out, and no Pod left"),
            (false, true, Some(true), Some(0), Act::Nothing, "the namespace is gone"),
        ] {
            assert_eq!(act(exists, opted_in, found, left), expected, "{why}");
        }
    }
}
