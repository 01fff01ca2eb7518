//! PodProbeMarker `apps.kruise.io/v1alpha1`, field for field
//! (openkruise/kruise:apis/apps/v1alpha1/pod_probe_marker_types.go).

use crate::probe::{Probe, null_is_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// API group of PodProbeMarker.
pub const GROUP: &str = "apps.kruise.io";
/// API version of PodProbeMarker.
pub const VERSION: &str = "v1alpha1";
/// Kind.
pub const KIND: &str = "PodProbeMarker";
/// Resource name in URLs and RBAC.
pub const PLURAL: &str = "podprobemarkers";

/// What a PodProbeMarker asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodProbeMarkerSpec {
    /// Pods that it is for; empty matches nothing.
    #[serde(default)]
    pub selector: Option<LabelSelector>,
    /// Its probes.
    #[serde(default, deserialize_with = "null_is_default")]
    pub probes: Vec<PodContainerProbe>,
}

/// metav1 `LabelSelector`: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that must have these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One requirement of a [`LabelSelector`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelSelectorRequirement {
    /// Label key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values of `In` and `NotIn`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub values: Vec<String>,
}

/// One probe of one container, and what its result writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodContainerProbe {
    /// Unique within the marker.
    #[serde(default)]
    pub name: String,
    /// Container, or native sidecar, to probe.
    #[serde(default)]
    pub container_name: String,
    /// What to run and when.
    #[serde(default)]
    pub probe: Probe,
    /// Labels and annotations by state; absent from a Pod's plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub marker_policy: Vec<MarkerPolicy>,
    /// Condition that takes the result; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod_condition_type: String,
}

/// Labels and annotations that hold in one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkerPolicy {
    /// The state that this policy is for: `Succeeded` or `Failed`.
    pub state: PolicyState,
    /// Labels to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
}

/// A settled result that a policy can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PolicyState {
    /// The probe succeeded, as often as its threshold asks.
    Succeeded,
    /// The probe failed, as often as its threshold asks.
    Failed,
}

/// What the cluster is told about a PodProbeMarker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodProbeMarkerStatus {
    /// Generation that the rest of the status is about.
    pub observed_generation: i64,
    /// Pods that it matches.
    #[serde(skip_serializing_if = "is_zero")]
    pub matched_pods: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

// === impl LabelSelector ===

impl LabelSelector {
    /// Whether it names no requirement at all; such a marker matches nothing
    /// (openkruise/kruise:pkg/util/podprobemarker/pod_probe_marker.go).
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether these labels meet every requirement. Empty selectors and unknown operators match nothing.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.is_empty()
            && self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }
}

impl LabelSelectorRequirement {
    /// kubernetes/kubernetes:staging/src/k8s.io/apimachinery/pkg/labels/selector.go `Requirement.Matches`: `NotIn`
    /// holds where the label is absent.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(json: &str) -> LabelSelector {
        serde_json::from_str(json).expect("json")
    }

    #[test]
    fn selectors_match_as_the_api_server_matches() {
        let labels = BTreeMap::from([("app".to_owned(), "game".to_owned()), ("zone".to_owned(), "a".to_owned())]);
        for (json, expected) in [
            ("{}", false),
            (r#"{"matchLabels":{"app":"game"}}"#, true),
            (r#"{"matchLabels":{"app":"game","zone":"b"}}"#, false),
            (r#"{"matchLabels":null,"matchExpressions":[{"key":"app","operator":"Exists"}]}"#, true),
            (r#"{"matchExpressions":[{"key":"app","operator":"In","values":["x","game"]}]}"#, true),
            (r#"{"matchExpressions":[{"key":"app","operator":"NotIn","values":["game"]}]}"#, false),
            (r#"{"matchExpressions":[{"key":"none","operator":"NotIn","values":["game"]}]}"#, true),
            (r#"{"matchExpressions":[{"key":"none","operator":"DoesNotExist"}]}"#, true),
            (r#"{"matchExpressions":[{"key":"app","operator":"Gt","values":["1"]}]}"#, false),
        ] {
            assert_eq!(selector(json).matches(&labels), expected, "{json}");
        }
    }
}
