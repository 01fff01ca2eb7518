//! What kind of node: whether a node agent such as kruise-daemon can run there.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a Pod runs, or may come to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// No DaemonSet runs there: Pods need the sidecar.
    Virtual,
    /// A kubelet with node agents.
    Ordinary,
}

/// core/v1 `Taint`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Taint key.
    pub key: String,
    /// Taint value, often empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// What the scheduler compares a Pod's wishes with.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeShape {
    /// The node's labels.
    pub labels: BTreeMap<String, String>,
    /// The node's taints.
    pub taints: Vec<Taint>,
}

impl NodeKind {
    /// Value of [`probelet_protocol::name::NODE_KIND_ANNOTATION`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Virtual => probelet_protocol::name::NODE_KIND_VIRTUAL,
            Self::Ordinary => probelet_protocol::name::NODE_KIND_ORDINARY,
        }
    }
}
