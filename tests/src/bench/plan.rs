//! Plans for the sidecars that run as processes of this machine.

use serde_json::{Value, json};

/// The container that all probes are of.
pub const CONTAINER: &str = "game";

/// What a local sidecar is told to probe. Each probe `NAME` writes the condition `bench.example/NAME`; labels only where asked for.
#[derive(Clone, Debug, Default)]
pub struct LocalPlan {
    probes: Vec<Value>,
    policies: Vec<Value>,
    writes: Vec<String>,
}

impl LocalPlan {
    /// With one more probe; `probe` is its handler with whatever times it sets.
    pub fn and(mut self, name: &str, probe: Value) -> Self {
        self.writes.push(format!("c:{}", condition(name)));
        self.probes.push(json!({
            "name": name, "containerName": CONTAINER, "podConditionType": condition(name), "probe": probe,
        }));
        self
    }

    /// The last probe also writes this label, `true` or `false`.
    pub fn labelled(mut self, label: &str) -> Self {
        let name = self.probes.last().map(|probe| probe["name"].clone()).unwrap_or_default();
        self.policies.push(json!({"name": name, "containerName": CONTAINER, "markerPolicy": [
            {"state": "Succeeded", "labels": {label: "true"}},
            {"state": "Failed", "labels": {label: "false"}},
        ]}));
        self.writes.push(format!("l:{label}"));
        self
    }

    /// As many probes as there are handlers, named `PREFIX-1` and so on.
    pub fn and_all(self, prefix: &str, probes: impl IntoIterator<Item = Value>) -> Self {
        (1..).zip(probes).fold(self, |plan, (number, probe)| plan.and(&format!("{prefix}-{number}"), probe))
    }

    /// The annotation `kruise.io/podprobe`.
    pub fn probes(&self) -> String {
        Value::from(self.probes.clone()).to_string()
    }

    /// The annotation `probelet.io/marker-policies`.
    pub fn policies(&self) -> String {
        Value::from(self.policies.clone()).to_string()
    }

    /// The annotation `probelet.io/writes`.
    pub fn writes(&self) -> String {
        self.writes.join(",")
    }
}

/// The condition of a probe.
pub fn condition(name: &str) -> String {
    format!("bench.example/{name}")
}
