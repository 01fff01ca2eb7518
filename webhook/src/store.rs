//! Watches that keep the `Cluster` index. Admission reads the index and asks nobody (good practice G3).

use crate::client::WATCH_SECONDS;
use crate::cluster::Cluster;
use crate::config::VirtualNodes;
use crate::health::Gate;
use crate::metric::Metrics;
use crate::settings::file::Live;
use futures_util::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tracing::{debug, info, warn};

mod kind;
pub mod status;
pub use kind::{LimitRanges, MarkerView, Markers, Namespaces, Nodes};
use status::Statuses;

/// Changes that wait for a controller; one that falls further behind lists anew.
const BACKLOG: usize = 8192;

/// How soon a kind that is not served is asked for again.
const ABSENT: Duration = Duration::from_secs(10);

/// Something that a controller may have to act on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A namespace's labels, or that it is there.
    Namespace(String),
    /// A PodProbeMarker.
    Marker {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Fills the index.
#[derive(Clone)]
pub struct Store {
    client: Client,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    changes: broadcast::Sender<Change>,
    statuses: Arc<Statuses>,
    waiting: Arc<Waiting>,
}

/// Which watches have not listed everything yet.
struct Waiting {
    kinds: Mutex<BTreeSet<&'static str>>,
    gate: Gate,
}

/// What one kind of object does to the index.
pub trait Kind: Send + Sync + 'static {
    /// The object, reduced to what is needed.
    type Object: Resource<DynamicType: Default + Clone + Debug + Eq + std::hash::Hash>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync;
    /// For people and metrics.
    const NAME: &'static str;
    /// How many objects are listed at once; `None`: all, from the API server's cache.
    const PAGE: Option<u32>;

    /// Where they are.
    fn api(&self, client: &Client) -> Api<Self::Object>;
    /// One was seen.
    fn set(&self, object: Self::Object, cluster: &Cluster) -> Option<Change>;
    /// One is gone.
    fn remove(&self, namespace: &str, name: &str, cluster: &Cluster) -> Option<Change>;

    /// What an earlier watch of a cluster-wide kind left in the index: what is not listed again is gone.
    fn known(&self, _: &Cluster) -> Vec<String> {
        Vec::new()
    }
}

// === impl Store ===

impl Store {
    /// `gate` opens when everything has been listed once.
    pub fn new(client: Client, cluster: Arc<Cluster>, metrics: Arc<Metrics>, gate: Gate) -> Self {
        let kinds = Mutex::new([Namespaces::NAME, Markers::NAME, Nodes::NAME, LimitRanges::NAME].into());
        let (changes, _) = broadcast::channel(BACKLOG);
        Self { client, cluster, metrics, changes, statuses: Arc::default(), waiting: Arc::new(Waiting { kinds, gate }) }
    }

    /// What changes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// The index.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The status of markers, as it was last seen.
    pub fn statuses(&self) -> &Arc<Statuses> {
        &self.statuses
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.cluster.node_count()
    }

    /// Starts all watches; they run until the process ends.
    pub fn spawn(&self, live: watch::Receiver<Live>) {
        tokio::spawn(self.clone().follow(Namespaces));
        tokio::spawn(self.clone().follow(Markers::new(Arc::clone(&self.statuses))));
        tokio::spawn(self.clone().follow(LimitRanges));
        tokio::spawn(self.clone().follow_nodes(live));
    }

    /// What a virtual node is may change with the settings; then nodes are listed anew.
    async fn follow_nodes(self, mut live: watch::Receiver<Live>) {
        loop {
            let rules: VirtualNodes = live.borrow_and_update().config.virtual_nodes.clone();
            tokio::select! {
                () = self.clone().follow(Nodes::new(rules.clone())) => return,
                changed = live.wait_for(|live| live.config.virtual_nodes != rules) => {
                    if changed.is_err() {
                        return;
                    }
                    info!("nodes are looked at again by new rules");
                }
            }
        }
    }

    async fn follow<K: Kind>(self, kind: K) {
        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let config = match K::PAGE {
            Some(page) => config.page_size(page),
            None => config.any_semantic(),
        };
        let mut events = pin!(watcher(kind.api(&self.client), config).default_backoff());
        let before = kind.known(&self.cluster).into_iter().map(|name| (String::new(), name));
        let (mut known, mut listed) = (before.collect::<HashSet<_>>(), HashSet::new());
        while let Some(event) = events.next().await {
            self.metrics.watched(K::NAME, event.is_ok());
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    listed.insert(key(&object));
                    self.tell(kind.set(object, &self.cluster));
                }
                Ok(watcher::Event::InitDone) => {
                    for (namespace, name) in known.difference(&listed) {
                        self.tell(kind.remove(namespace, name, &self.cluster));
                    }
                    known = std::mem::take(&mut listed);
                    debug!(kind = K::NAME, objects = known.len(), "listed");
                    self.waiting.done(K::NAME);
                }
                Ok(watcher::Event::Apply(object)) => {
                    known.insert(key(&object));
                    self.tell(kind.set(object, &self.cluster));
                }
                Ok(watcher::Event::Delete(object)) => {
                    let (namespace, name) = key(&object);
                    self.tell(kind.remove(&namespace, &name, &self.cluster));
                    known.remove(&(namespace, name));
                }
                Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
                    // The CRD may come later, or never: then there are no markers, and nothing to wait for.
                    for (namespace, name) in known.drain() {
                        self.tell(kind.remove(&namespace, &name, &self.cluster));
                    }
                    debug!(kind = K::NAME, "the API server does not serve this kind");
                    self.waiting.done(K::NAME);
                    // kube's own back-off starts anew with each attempt.
                    tokio::time::sleep(ABSENT).await;
                }
                Err(error) => warn!(kind = K::NAME, %error, "watching"),
            }
        }
    }

    fn tell(&self, change: Option<Change>) {
        if let Some(change) = change {
            // Nobody listens in a replica that does not lead.
            let _ = self.changes.send(change);
        }
    }
}

fn key(object: &impl ResourceExt) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

// === impl Waiting ===

impl Waiting {
    fn done(&self, kind: &'static str) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if !kinds.remove(kind) {
            return;
        }
        if kinds.is_empty() {
            self.gate.open();
        } else {
            let rest: Vec<_> = kinds.iter().copied().collect();
            self.gate.wait(format!("not listed yet: {}", rest.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests;
