//! What healing takes at least: a client of the bench's own that watches Pods and writes their marks back as soon as it sees
//! them gone, with one request, and thinks about nothing.

use crate::history::{CONDITION, History, LABEL, Marks};
use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than a virtual node takes to overwrite.
const PATIENCE: Duration = Duration::from_secs(20);

/// Marks a Pod, and once more when the marks are taken away; `before` is the number of its entries so far.
pub(super) async fn mark_and_heal(
    pods: Api<Pod>,
    mut history: History,
    pod: String,
    before: usize,
    healthy: bool,
) -> Result<()> {
    let patch = Patch::Strategic(marks(healthy));
    pods.patch_status(&pod, &PatchParams::default(), &patch).await?;
    let (index, _) = history.until(&pod, before, PATIENCE, Marks::Whole(healthy)).await?;
    let deadline = std::time::Instant::now() + PATIENCE;
    if history.find(&pod, index + 1, deadline, |marks| marks == Marks::Broken).await?.is_some() {
        pods.patch_status(&pod, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

/// What [`history::probe`](crate::history::probe) stands for.
fn marks(healthy: bool) -> Value {
    let annotation = if healthy { json!("yes") } else { Value::Null };
    json!({
        "metadata": {"labels": {LABEL: healthy.to_string()}, "annotations": {format!("{LABEL}-healthy"): annotation}},
        "status": {"conditions": [{"type": CONDITION, "status": if healthy { "True" } else { "False" }}]},
    })
}
