//! PodProbeMarkers for tests.

use crate::pod::{CONTAINER, has_container};
use crate::space::Space;
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, Object, Patch, PatchParams, PostParams};
use probelet_protocol::marker::{self, PodProbeMarkerSpec, PodProbeMarkerStatus};
use probelet_protocol::name::SIDECAR_CONTAINER;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SETTLED: Duration = Duration::from_secs(60);
const IN_A_ROW: usize = 10;

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
    create_for(space, name, json!({"matchLabels": {"app": app}}), probes).await
}

/// Creates a marker for the Pods that a label selector takes.
pub async fn create_for(space: &Space, name: &str, selector: Value, probes: &[Value]) -> Result<PodProbeMarker> {
    let object = serde_json::from_value(json!({
        "apiVersion": resource().api_version, "kind": marker::KIND,
        "metadata": {"name": name},
        "spec": {"selector": selector, "probes": probes},
    }))?;
    let created = api(space).create(&PostParams::default(), &object).await;
    created.with_context(|| format!("cannot create PodProbeMarker {name} in namespace {}", space.name()))
}

/// Waits until such a Pod is injected whichever replica is asked: the watch of a new marker reaches them within moments,
/// and nobody promises it before. Nothing is created.
pub async fn settled(space: &Space, pod: &Pod) -> Result<()> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let begin = Instant::now();
    let mut row = 0;
    while row < IN_A_ROW {
        let shown = space.api::<Pod>().create(&dry, pod).await?;
        row = if has_container(&shown, SIDECAR_CONTAINER) { row + 1 } else { 0 };
        ensure!(begin.elapsed() < SETTLED, "no Pod is injected in namespace {}", space.name());
    }
    Ok(())
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
