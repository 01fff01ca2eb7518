//! Watches the Pods of those namespaces that have something to do with us, one watch each: a cluster's other Pods are
//! never sent to us.

use super::binding::RoleBindings;
use super::pods::{PodView, PodWire, Pods};
use super::{Context, Inputs};
use crate::client::WATCH_SECONDS;
use crate::config::VirtualNodes;
use crate::store::Change;
use futures_util::StreamExt;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, warn};

/// Pods at once in a list: a page of whole Pods is a MB.
const PAGE: u32 = 100;
/// Statuses are counted again this long after a Pod has come or gone.
const SETTLE: Duration = Duration::from_secs(1);

/// Keeps the watches until it is dropped.
pub async fn run(context: Context, pods: Arc<Pods>, bindings: Arc<RoleBindings>, inputs: Inputs) {
    let mut changes = context.store.subscribe();
    let mut bound = bindings.changes();
    let mut live = context.live.clone();
    let mut rules = live.borrow_and_update().config.virtual_nodes.clone();
    let mut tasks = JoinSet::new();
    let mut watched: HashMap<String, AbortHandle> = HashMap::new();
    loop {
        let wanted = wanted(&context, &bindings);
        watched.retain(|namespace, task| {
            let stays = wanted.contains(namespace);
            if !stays {
                task.abort();
                pods.forget(namespace);
            }
            stays
        });
        for namespace in wanted {
            watched.entry(namespace.clone()).or_insert_with(|| {
                debug!(namespace, "watching Pods");
                tasks.spawn(follow(context.clone(), namespace, rules.clone(), Arc::clone(&pods), inputs.clone()))
            });
        }
        tokio::select! {
            change = changes.recv() => match change {
                Ok(Change::Namespace(_)) | Err(RecvError::Lagged(_)) => {}
                Ok(Change::Marker { .. }) => continue,
                Err(RecvError::Closed) => return,
            },
            Ok(()) = bound.changed() => {}
            Ok(()) = live.changed() => {
                let now = live.borrow_and_update().config.virtual_nodes.clone();
                if now != rules {
                    // What of a Pod is kept depends on the rules.
                    rules = now;
                    watched.drain().for_each(|(_, task)| task.abort());
                }
            }
            Some(ended) = tasks.join_next() => debug!(cancelled = ended.is_err(), "a watch of Pods ended"),
        }
    }
}

/// Opted-in namespaces, and those that still have our RoleBinding.
fn wanted(context: &Context, bindings: &RoleBindings) -> HashSet<String> {
    let names = context.store.cluster().namespace_names();
    names.into_iter().filter(|name| bindings.is_opted_in(name) || bindings.has(name)).collect()
}

async fn follow(context: Context, namespace: String, rules: VirtualNodes, pods: Arc<Pods>, inputs: Inputs) {
    let api: Api<PodWire> = Api::namespaced(context.client.clone(), &namespace);
    let config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        context.metrics.watched("pods", event.is_ok());
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(pod)) => {
                listed.insert(pod.key().name);
                seen(pod, &rules, &pods, &inputs);
            }
            Ok(watcher::Event::InitDone) => {
                pods.listed(&namespace, &listed);
                listed = HashSet::new();
                inputs.bindings.add(namespace.clone());
            }
            Ok(watcher::Event::Apply(pod)) => seen(pod, &rules, &pods, &inputs),
            Ok(watcher::Event::Delete(pod)) => {
                let view = pods.remove(&pod.key());
                count(view.as_deref(), &namespace, &inputs);
                inputs.bindings.add(namespace.clone());
            }
            Err(error) => warn!(namespace, %error, "watching Pods"),
        }
    }
}

fn seen(pod: PodWire, rules: &VirtualNodes, pods: &Pods, inputs: &Inputs) {
    let key = pod.key();
    let (new, before) = pods.set(pod, rules);
    if !new {
        return;
    }
    let after = pods.get(&key);
    let same = |a: &PodView, b: &PodView| a.markers == b.markers && a.over == b.over && a.uid == b.uid;
    if !matches!((&before, &after), (Some(before), Some(after)) if same(before, after)) {
        count(before.as_deref(), &key.namespace, inputs);
        count(after.as_deref(), &key.namespace, inputs);
    }
    inputs.pods.add(key);
}

/// The markers of a Pod are counted again, soon.
fn count(view: Option<&PodView>, namespace: &str, inputs: &Inputs) {
    let names = view.into_iter().flat_map(|view| view.markers.split(',')).map(str::trim);
    for name in names.filter(|name| !name.is_empty()) {
        inputs.statuses.add_at((namespace.to_owned(), name.to_owned()), Instant::now() + SETTLE);
    }
}
