//! From a known outcome to the label in a watcher's hands, beside a bare PATCH of the same kind by the bench itself.

use super::figure::{Series, ratio};
use super::local::{CONDITION, Identity, LABEL, Pair, plan_for};
use super::sight::Sight;
use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Config, ResourceExt};
use probelet_protocol::environment;
use std::path::Path;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

/// What both ways took, in the same run and in turn.
pub struct Report {
    /// The sidecar's: from its probe's answer to the watcher.
    pub sidecar: Series,
    /// The bench's own: from sending a PATCH to the watcher.
    pub bare: Series,
}

/// Switches the target's health `flips` times.
pub async fn run(client: &Client, config: &Config, namespace: &str, binary: &Path, flips: usize) -> Result<Report> {
    let environment = [(environment::PERIOD, "50ms"), (environment::SHIELD, "true")];
    let mut pair = Pair::start(client, config, (namespace, "marked"), binary, &environment).await?;
    let other = Identity::create(client, namespace, "bare", &plan_for(pair.target.port)).await?;
    let bare = Api::<Pod>::namespaced(other.client(config)?, namespace);
    let mut sight = Sight::start(client.clone(), namespace);
    sight.of("marked", "true", DEADLINE).await.inspect_err(|_| eprintln!("{}", pair.sidecar.log()))?;

    let (mut by_sidecar, mut by_bench) = (Vec::new(), Vec::new());
    for flip in 0..flips {
        let healthy = flip % 2 == 1;
        let value = if healthy { "true" } else { "false" };
        let known = pair.target.switch(healthy).await?;
        let seen = sight.of("marked", value, DEADLINE).await?;
        by_sidecar.push(seen.saturating_duration_since(known));

        let sent = Instant::now();
        let patch = bare_patch(&other.pod.uid().unwrap_or_default(), value);
        bare.patch_status("bare", &PatchParams::default(), &Patch::Strategic(patch)).await?;
        let seen = sight.of("bare", value, DEADLINE).await?;
        by_bench.push(seen.saturating_duration_since(sent));
    }
    Ok(Report { sidecar: Series::new(by_sidecar), bare: Series::new(by_bench) })
}

fn bare_patch(uid: &str, value: &str) -> serde_json::Value {
    let status = if value == "true" { "True" } else { "False" };
    serde_json::json!({
        "metadata": {"uid": uid, "labels": {LABEL: value}},
        "status": {"conditions": [{"type": CONDITION, "status": status, "message": "bench"}]},
    })
}

impl Report {
    /// Prints both series and how they compare.
    pub fn print(&self) {
        println!("mark: outcome known -> label seen by a watcher, sidecar and bare PATCH in turn");
        println!("  sidecar    {}", self.sidecar);
        println!("  bare PATCH {}", self.bare);
        println!(
            "  ratio      p50 {:.2}   p99 {:.2}",
            ratio(&self.sidecar, &self.bare, 0.5),
            ratio(&self.sidecar, &self.bare, 0.99)
        );
    }
}
