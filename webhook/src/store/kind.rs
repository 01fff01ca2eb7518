//! What of each kind of object is needed, and where in the index it goes.

use super::status::Statuses;
use super::{Change, Kind};
use crate::cluster::{Cluster, Marker};
use crate::config::VirtualNodes;
use crate::limit_range::LimitRangeItem;
use crate::node::{NodeShape, Taint};
use crate::view::{kind, lean};
use k8s_openapi::api::core::v1::{LimitRange, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use probelet_protocol::marker::{GROUP, KIND, PLURAL, PodProbeMarkerSpec, PodProbeMarkerStatus, VERSION};
use serde::Deserialize;
use std::sync::Arc;
use tracing::warn;

/// Namespaces: their labels.
pub struct Namespaces;
/// PodProbeMarkers, whole.
pub struct Markers {
    statuses: Arc<Statuses>,
}
/// LimitRanges, whole.
pub struct LimitRanges;
/// Nodes: their labels and taints.
pub struct Nodes {
    rules: VirtualNodes,
}

/// A node without its images, addresses and conditions, which are most of it.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeView {
    #[serde(deserialize_with = "lean")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NodeSpecView,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NodeSpecView {
    #[serde(default)]
    taints: Option<Vec<Taint>>,
}

/// A PodProbeMarker whose `spec` may be anything: one bad object must not hide the others.
#[derive(Clone, Debug, Deserialize)]
pub struct MarkerView {
    #[serde(deserialize_with = "lean")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: serde_json::Value,
    #[serde(default)]
    status: serde_json::Value,
}

// === impl Namespaces ===

impl Kind for Namespaces {
    type Object = PartialObjectMeta<Namespace>;
    const NAME: &'static str = "namespaces";
    const PAGE: Option<u32> = None;

    fn api(&self, client: &Client) -> Api<Self::Object> {
        Api::all(client.clone())
    }

    fn set(&self, object: Self::Object, cluster: &Cluster) -> Option<Change> {
        let name = object.name_any();
        let labels = object.metadata.labels.unwrap_or_default();
        let before = cluster.namespace(&name);
        let same = before.is_some_and(|before| before.labels.as_ref() == Some(&labels));
        if !same {
            cluster.set_namespace(&name, labels);
        }
        (!same).then_some(Change::Namespace(name))
    }

    fn remove(&self, _: &str, name: &str, cluster: &Cluster) -> Option<Change> {
        cluster.remove_namespace(name);
        Some(Change::Namespace(name.to_owned()))
    }
}

// === impl Markers ===

impl Markers {
    /// `statuses` is told what each marker's is.
    pub fn new(statuses: Arc<Statuses>) -> Self {
        Self { statuses }
    }
}

impl Kind for Markers {
    type Object = MarkerView;
    const NAME: &'static str = "podprobemarkers";
    const PAGE: Option<u32> = None;

    fn api(&self, client: &Client) -> Api<Self::Object> {
        Api::all(client.clone())
    }

    fn set(&self, object: Self::Object, cluster: &Cluster) -> Option<Change> {
        let (namespace, name) = (object.namespace()?, object.name_any());
        let generation = object.metadata.generation.unwrap_or_default();
        let annotations = object.metadata.annotations.unwrap_or_default();
        let status = serde_json::from_value::<PodProbeMarkerStatus>(object.status).ok();
        self.statuses.set(&namespace, &name, status);
        let before = marker(cluster, &namespace, &name);
        match serde_json::from_value::<PodProbeMarkerSpec>(object.spec) {
            Ok(spec) => cluster.set_marker(&namespace, &name, generation, spec, &annotations),
            Err(error) => {
                warn!(namespace, name, %error, "a PodProbeMarker that cannot be read is left out");
                cluster.remove_marker(&namespace, &name);
            }
        }
        // Its status changes by our own hand; Pods have nothing to do with it.
        (before != marker(cluster, &namespace, &name)).then_some(Change::Marker { namespace, name })
    }

    fn remove(&self, namespace: &str, name: &str, cluster: &Cluster) -> Option<Change> {
        cluster.remove_marker(namespace, name);
        self.statuses.set(namespace, name, None);
        Some(Change::Marker { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

fn marker(cluster: &Cluster, namespace: &str, name: &str) -> Option<Arc<Marker>> {
    cluster.namespace(namespace)?.markers.get(name).cloned()
}

kind!(MarkerView, NamespaceResourceScope, GROUP, VERSION, KIND, PLURAL);

// === impl LimitRanges ===

impl Kind for LimitRanges {
    type Object = LimitRange;
    const NAME: &'static str = "limitranges";
    const PAGE: Option<u32> = None;

    fn api(&self, client: &Client) -> Api<Self::Object> {
        Api::all(client.clone())
    }

    fn set(&self, object: Self::Object, cluster: &Cluster) -> Option<Change> {
        let (namespace, name) = (object.namespace()?, object.name_any());
        let limits = object.spec.map(|spec| spec.limits).unwrap_or_default();
        // Both sides are the API's own JSON.
        let items = serde_json::to_value(limits).and_then(serde_json::from_value::<Vec<LimitRangeItem>>);
        match items {
            Ok(items) => cluster.set_limit_range(&namespace, &name, items),
            Err(error) => warn!(namespace, name, %error, "a LimitRange that cannot be read is left out"),
        }
        None
    }

    fn remove(&self, namespace: &str, name: &str, cluster: &Cluster) -> Option<Change> {
        cluster.remove_limit_range(namespace, name);
        None
    }
}

// === impl Nodes ===

impl Nodes {
    /// Judged by these rules.
    pub fn new(rules: VirtualNodes) -> Self {
        Self { rules }
    }
}

impl Kind for Nodes {
    type Object = NodeView;
    const NAME: &'static str = "nodes";
    // A node can have 20 KiB: thousands at once would cost more memory than all the rest.
    const PAGE: Option<u32> = Some(100);

    fn api(&self, client: &Client) -> Api<Self::Object> {
        Api::all(client.clone())
    }

    fn set(&self, object: Self::Object, cluster: &Cluster) -> Option<Change> {
        let name = object.name_any();
        let taints = object.spec.taints.unwrap_or_default();
        let shape = NodeShape { labels: object.metadata.labels.unwrap_or_default(), taints };
        cluster.set_node(&name, self.rules.kind(&shape), shape);
        None
    }

    fn remove(&self, _: &str, name: &str, cluster: &Cluster) -> Option<Change> {
        cluster.remove_node(name);
        None
    }

    fn known(&self, cluster: &Cluster) -> Vec<String> {
        cluster.node_names()
    }
}

kind!(NodeView, ClusterResourceScope, "", "v1", "Node", "nodes");
