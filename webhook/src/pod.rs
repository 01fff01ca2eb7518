//! A Pod as admission sees it: metadata as far as it decides something, the spec as raw JSON, so that fields which no
//! type here knows survive.

use probelet_protocol::name::SIDECAR_CONTAINER;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Pod {
    /// The metadata that matters here.
    #[serde(default)]
    pub metadata: Metadata,
    /// `spec`, whole.
    #[serde(default)]
    pub spec: Value,
}

/// The parts of `metadata` that injection reads or writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Name; absent where the API server generates it.
    pub name: Option<String>,
    /// Prefix of the name to generate.
    pub generate_name: Option<String>,
    /// Namespace; the request's wins.
    pub namespace: Option<String>,
    /// Labels.
    #[serde(deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations; `None` where the field is absent or null, as a patch then has to add it.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Go writes an empty map as `null` here and there.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

// === impl Pod ===

impl Pod {
    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.get(key).map(String::as_str)
    }

    /// A text field of the spec.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.spec.get(field)?.as_str().filter(|text| !text.is_empty())
    }

    /// `spec.containers`.
    pub fn containers(&self) -> &[Value] {
        list(&self.spec, "containers")
    }

    /// `spec.initContainers`.
    pub fn init_containers(&self) -> &[Value] {
        list(&self.spec, "initContainers")
    }

    /// Containers that a probe can be for: the plain ones, then the native sidecars, as OpenKruise counts them
    /// (openkruise/kruise:pkg/webhook/pod/mutating/pod_probe_marker.go). Never the injected ones: what a second pass finds
    /// must be what the first found.
    pub fn targets(&self) -> impl Iterator<Item = &Value> {
        let natives = self.init_containers().iter().filter(|container| is_native_sidecar(container));
        self.containers().iter().chain(natives).filter(|container| name(container) != SIDECAR_CONTAINER)
    }

    /// Whether a container or init container has this name.
    pub fn has_container(&self, wanted: &str) -> bool {
        self.containers().iter().chain(self.init_containers()).any(|container| name(container) == wanted)
    }
}

/// A list field of an object; empty where it is absent or something else.
pub fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An object's `name`; empty where it has none.
pub fn name(object: &Value) -> &str {
    object.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Whether an init container is restarted and so runs beside the others.
pub fn is_native_sidecar(container: &Value) -> bool {
    container.get("restartPolicy").and_then(Value::as_str) == Some("Always")
}
