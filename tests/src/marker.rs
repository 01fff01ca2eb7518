//! PodProbeMarkers for tests.

use crate::pod::CONTAINER;
use crate::space::Space;
use anyhow::{Context, Result};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, Object, Patch, PatchParams, PostParams};
use probelet_protocol::marker::{self, PodProbeMarkerSpec, PodProbeMarkerStatus};
use serde_json::{Value, json};

/// A PodProbeMarker as the API server has it.
pub type PodProbeMarker = Object<PodProbeMarkerSpec, PodProbeMarkerStatus>;

/// PodProbeMarker as a resource of the API server.
pub fn resource() -> ApiResource {
    ApiResource {
        group: marker::GROUP.into(),
        version: marker::VERSION.into(),
        api_version: format!("{}/{}", marker::GROUP, marker::VERSION),
        kind: marker::KIND.into(),
        plural: marker::PLURAL.into(),
    }
}

/// The PodProbeMarkers of a namespace.
pub fn api(space: &Space) -> Api<PodProbeMarker> {
    Api::namespaced_with(space.cluster().client(), space.name(), &resource())
}

/// One probe of the test application: condition, and by state the label `KEY=true` or `KEY=false`.
pub fn probe(name: &str, handler: Value, condition: &str, label: &str) -> Value {
    let mut probe = handler;
    probe["periodSeconds"] = json!(1);
    json!({
        "name": name, "containerName": CONTAINER, "podConditionType": condition, "probe": probe,
        "markerPolicy": [
            {"state": "Succeeded", "labels": {label: "true"}, "annotations": {format!("{label}-healthy"): "yes"}},
            {"state": "Failed", "labels": {label: "false"}},
        ],
    })
}

/// Creates a marker for the Pods with label `app=APP`.
pub async fn create(space: &Space, name: &str, app: &str, probes: &[Value]) -> Result<PodProbeMarker> {
    let object = serde_json::from_value(json!({
        "apiVersion": resource().api_version, "kind": marker::KIND,
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": app}}, "probes": probes},
    }))?;
    let created = api(space).create(&PostParams::default(), &object).await;
    created.with_context(|| format!("cannot create PodProbeMarker {name} in namespace {}", space.name()))
}

/// Replaces a marker's probes.
pub async fn edit(space: &Space, name: &str, probes: &[Value]) -> Result<PodProbeMarker> {
    let patch = Patch::Merge(json!({"spec": {"probes": probes}}));
    Ok(api(space).patch(name, &PatchParams::default(), &patch).await?)
}

/// Deletes a marker.
pub async fn delete(space: &Space, name: &str) -> Result<()> {
    api(space).delete(name, &DeleteParams::default()).await?;
    Ok(())
}
