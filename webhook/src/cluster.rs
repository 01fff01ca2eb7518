//! What admission knows of the cluster: namespaces, markers, nodes and limit ranges, held in memory and fed by the
//! watches. No I/O. Readers take an `Arc` out under a lock that is held for a map look-up only.

use crate::limit_range::LimitRangeItem;
use crate::node::{NodeKind, NodeShape};
use probelet_protocol::marker::PodProbeMarkerSpec;
use probelet_protocol::name::KEEP_MARKS_ANNOTATION;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// The index. Share it as `Arc<Cluster>`: one writer (the watches), any number of readers.
#[derive(Debug, Default)]
pub struct Cluster {
    namespaces: RwLock<HashMap<String, Arc<Namespace>>>,
    nodes: RwLock<Nodes>,
}

/// A namespace with what it holds, as of one moment.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// `None` until the namespace itself was seen: its markers may come first.
    pub labels: Option<BTreeMap<String, String>>,
    /// Markers by name.
    pub markers: BTreeMap<String, Arc<Marker>>,
    /// Items of all its LimitRanges, by the LimitRange's name.
    pub limit_ranges: BTreeMap<String, Arc<[LimitRangeItem]>>,
}

/// A PodProbeMarker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// Its name.
    pub name: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// What it asks for.
    pub spec: PodProbeMarkerSpec,
    /// [`KEEP_MARKS_ANNOTATION`] is `true`.
    pub keep_marks: bool,
}

#[derive(Debug, Default)]
struct Nodes {
    kinds: HashMap<String, NodeKind>,
    /// Virtual nodes only: there are few, and most look alike but for their host name.
    shapes: Arc<BTreeMap<String, NodeShape>>,
}

// === impl Cluster ===

impl Cluster {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// A namespace was seen.
    pub fn set_namespace(&self, name: &str, labels: BTreeMap<String, String>) {
        self.change(name, |namespace| namespace.labels = Some(labels));
    }

    /// A namespace is gone, and with it what it held.
    pub fn remove_namespace(&self, name: &str) {
        write(&self.namespaces).remove(name);
    }

    /// A PodProbeMarker was seen; `annotations` are its own.
    pub fn set_marker(
        &self,
        namespace: &str,
        name: &str,
        generation: i64,
        spec: PodProbeMarkerSpec,
        annotations: &BTreeMap<String, String>,
    ) {
        let keep_marks = annotations.get(KEEP_MARKS_ANNOTATION).is_some_and(|value| value == "true");
        let marker = Arc::new(Marker { name: name.to_owned(), generation, spec, keep_marks });
        self.change(namespace, |namespace| {
            namespace.markers.insert(name.to_owned(), marker);
        });
    }

    /// A PodProbeMarker is gone.
    pub fn remove_marker(&self, namespace: &str, name: &str) {
        self.change(namespace, |namespace| {
            namespace.markers.remove(name);
        });
    }

    /// A LimitRange was seen.
    pub fn set_limit_range(&self, namespace: &str, name: &str, items: impl Into<Arc<[LimitRangeItem]>>) {
        let items = items.into();
        self.change(namespace, |namespace| {
            namespace.limit_ranges.insert(name.to_owned(), items);
        });
    }

    /// A LimitRange is gone.
    pub fn remove_limit_range(&self, namespace: &str, name: &str) {
        self.change(namespace, |namespace| {
            namespace.limit_ranges.remove(name);
        });
    }

    /// A node was seen. Its kind is [`crate::config::VirtualNodes::kind`] of its shape; only virtual nodes' shapes are kept.
    pub fn set_node(&self, name: &str, kind: NodeKind, shape: NodeShape) {
        let mut nodes = write(&self.nodes);
        nodes.kinds.insert(name.to_owned(), kind);
        match kind {
            NodeKind::Virtual if nodes.shapes.get(name) != Some(&shape) => {
                Arc::make_mut(&mut nodes.shapes).insert(name.to_owned(), shape);
            }
            NodeKind::Virtual => {}
            NodeKind::Ordinary => nodes.forget_shape(name),
        }
    }

    /// A node is gone.
    pub fn remove_node(&self, name: &str) {
        let mut nodes = write(&self.nodes);
        nodes.kinds.remove(name);
        nodes.forget_shape(name);
    }

    /// A namespace as it is now.
    pub fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        read(&self.namespaces).get(name).cloned()
    }

    /// Names of all namespaces that something is known of.
    pub fn namespace_names(&self) -> Vec<String> {
        read(&self.namespaces).keys().cloned().collect()
    }

    /// A known node's kind.
    pub fn node_kind(&self, name: &str) -> Option<NodeKind> {
        read(&self.nodes).kinds.get(name).copied()
    }

    /// Names of all known nodes.
    pub fn node_names(&self) -> Vec<String> {
        read(&self.nodes).kinds.keys().cloned().collect()
    }

    /// How many nodes are known.
    pub fn node_count(&self) -> usize {
        read(&self.nodes).kinds.len()
    }

    /// All known virtual nodes, by name.
    pub fn virtual_nodes(&self) -> Arc<BTreeMap<String, NodeShape>> {
        read(&self.nodes).shapes.clone()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Namespace)) {
        let mut namespaces = write(&self.namespaces);
        let namespace = namespaces.entry(name.to_owned()).or_default();
        change(Arc::make_mut(namespace));
        if namespace.is_nothing() {
            namespaces.remove(name);
        }
    }
}

// === impl Namespace ===

impl Namespace {
    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref()?.get(key).map(String::as_str)
    }

    fn is_nothing(&self) -> bool {
        self.labels.is_none() && self.markers.is_empty() && self.limit_ranges.is_empty()
    }
}

// === impl Nodes ===

impl Nodes {
    fn forget_shape(&mut self, name: &str) {
        if self.shapes.contains_key(name) {
            Arc::make_mut(&mut self.shapes).remove(name);
        }
    }
}

// No critical section can panic half-way through a change, so a poisoned lock still holds a sound map.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_forgotten_when_nothing_is_left_of_it() {
        let cluster = Cluster::new();
        cluster.set_marker("game", "m", 1, PodProbeMarkerSpec::default(), &BTreeMap::new());
        assert_eq!(cluster.namespace("game").expect("marker came first").labels, None);
        cluster.set_namespace("game", BTreeMap::from([("a".into(), "b".into())]));
        cluster.remove_marker("game", "m");
        assert_eq!(cluster.namespace("game").expect("labels").label("a"), Some("b"));
        cluster.remove_namespace("game");
        cluster.remove_marker("game", "late");
        assert!(cluster.namespace("game").is_none());
        assert!(cluster.namespace_names().is_empty());
    }

    #[test]
    fn a_reader_keeps_what_it_took_while_the_writer_goes_on() {
        let cluster = Cluster::new();
        let kept = BTreeMap::from([(KEEP_MARKS_ANNOTATION.to_owned(), "true".to_owned())]);
        cluster.set_marker("game", "m", 1, PodProbeMarkerSpec::default(), &kept);
        let before = cluster.namespace("game").expect("namespace");
        cluster.set_marker("game", "m", 2, PodProbeMarkerSpec::default(), &BTreeMap::new());
        assert_eq!((before.markers["m"].generation, before.markers["m"].keep_marks), (1, true));
        let after = cluster.namespace("game").expect("namespace");
        assert_eq!((after.markers["m"].generation, after.markers["m"].keep_marks), (2, false));
    }

    #[test]
    fn shapes_are_kept_of_virtual_nodes_only() {
        let cluster = Cluster::new();
        let shape = NodeShape { labels: BTreeMap::from([("a".into(), "b".into())]), taints: vec![] };
        cluster.set_node("v", NodeKind::Virtual, shape.clone());
        cluster.set_node("o", NodeKind::Ordinary, shape.clone());
        assert_eq!(cluster.virtual_nodes().keys().collect::<Vec<_>>(), ["v"]);
        assert_eq!(cluster.node_kind("o"), Some(NodeKind::Ordinary));
        cluster.set_node("v", NodeKind::Ordinary, shape);
        assert!(cluster.virtual_nodes().is_empty());
        cluster.remove_node("o");
        assert_eq!(cluster.node_kind("o"), None);
    }
}
