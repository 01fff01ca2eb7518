//! `pods/binding`: what is annotated on a Binding lands on the Pod. The sidecar of a Pod that could land on either kind
//! of node learns there where it is.

use crate::cluster::Cluster;
use crate::patch;
use crate::pod::{Metadata, Pod};
use json_patch::Patch;
use probelet_protocol::name::NODE_KIND_ANNOTATION;
use serde::Deserialize;

/// core/v1 `Binding`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Binding {
    /// Name and namespace are the Pod's.
    pub metadata: Metadata,
    /// The node.
    pub target: Target,
}

/// What the Pod is bound to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Target {
    /// The node's name.
    pub name: String,
}

/// The node's kind as an annotation; nothing where it is not known, or where no marker could be for the Pod: the sidecar
/// of a Pod that brings its own plan probes on any node, as kruise-daemon knows of markers only.
pub fn annotate(binding: &Binding, namespace: &str, cluster: &Cluster) -> Patch {
    let has_markers = cluster.namespace(namespace).is_some_and(|known| !known.markers.is_empty());
    let Some(kind) = cluster.node_kind(&binding.target.name).filter(|_| has_markers) else { return Patch::default() };
    let before = Pod { metadata: binding.metadata.clone(), ..Pod::default() };
    let mut after = before.clone();
    after
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(NODE_KIND_ANNOTATION.to_owned(), kind.as_str().to_owned());
    patch::diff(&before, &after)
}
