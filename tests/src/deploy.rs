//! Images and chart, put into the cluster under test.

use crate::image::{SIDECAR, TEST_APP, WEBHOOK};
use crate::lab::Lab;
use crate::{binary, cluster, command, progress, work_tree};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Where probelet is installed.
pub const NAMESPACE: &str = "probelet-system";

/// Builds what has changed, and installs or upgrades the release `probelet`.
pub fn run(lab: &Lab) -> Result<()> {
    let kubeconfig = cluster::kubeconfig(lab)?;
    cluster::reachable(&kubeconfig)?;
    let (sidecar, webhook) = if cluster::named().is_some() {
        (cluster::from_registry(SIDECAR)?, cluster::from_registry(WEBHOOK)?)
    } else {
        TEST_APP.provide(lab)?;
        (SIDECAR.provide(lab)?, WEBHOOK.provide(lab)?)
    };
    let chart = work_tree().join("manifests/chart");
    ensure!(chart.is_dir(), "there is no chart at {}", chart.display());
    let mut command = Command::new(binary::program("helm")?);
    command.args(["upgrade", "--install", "probelet"]).arg(&chart).arg("--kubeconfig").arg(&kubeconfig).args([
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--wait",
        "--timeout",
        "3m",
    ]);
    for (name, reference) in [("sidecar", &sidecar), ("webhook", &webhook)] {
        let (repository, tag) = reference.rsplit_once(':').with_context(|| format!("{reference} has no tag"))?;
        command.args(["--set-string", &format!("image.{name}.repository={repository}")]);
        command.args(["--set-string", &format!("image.{name}.tag={tag}")]);
    }
    // The user's own helm settings stay out of it.
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(name, binary::cache().join("helm-home"));
    }
    progress::say(format!("installing probelet into namespace {NAMESPACE}"));
    command::run_long("helm upgrade --install probelet", &mut command).with_context(|| {
        format!(
            "the chart was not installed; `cargo run -q -p probelet-tests --bin lab -- kubectl -n \
             {NAMESPACE} get pods,events` shows why"
        )
    })?;
    Ok(())
}
