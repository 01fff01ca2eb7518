//! Settings through the binary: refused all at once, changed while it runs.

use crate::api::{Lab, eventually};
use crate::replica::Replica;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::process::Command;

/// Writes the file that the webhook reloads.
pub(crate) async fn configure(lab: &Lab, text: &str) {
    let api: Api<ConfigMap> = Api::namespaced(lab.client.clone(), "probelet-system");
    let patch = Patch::Merge(json!({"data": {"config.yaml": text}}));
    api.patch("probelet-config", &PatchParams::default(), &patch).await.expect("configured");
}

#[test]
fn bad_flags_end_the_start_with_code_2_and_every_problem() {
    let output = Command::new(env!("CARGO_BIN_EXE_probelet-webhook"))
        .args(["--workers=0", "--log-format=xml", "--drain=-1s"])
        .output()
        .expect("webhook");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for problem in ["--workers: \"0\" must be auto or a number from 1 to 64", "--log-format", "--drain"] {
        assert!(text.contains(problem), "{problem} in {text}");
    }
}

#[test]
fn every_number_of_workers_outside_the_range_is_refused() {
    for workers in ["0", "-1", "65", "99999999999999999999", "many", ""] {
        let output = Command::new(env!("CARGO_BIN_EXE_probelet-webhook")).arg(format!("--workers={workers}")).output();
        let output = output.expect("webhook");
        assert_eq!(output.status.code(), Some(2), "{workers}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(&format!("--workers: {workers:?} must be auto or a number from 1 to 64")), "{text}");
    }
}

#[tokio::test]
async fn the_config_map_changes_workers_while_it_runs_and_a_bad_one_changes_nothing() {
    let lab = Lab::turn().await;
    configure(&lab, "").await;
    let replica = Replica::ready(&lab, &["--workers=5"]).await;
    let workers = async |count: f64| {
        eventually("workers", async || {
            (replica.metric("probelet_queue_workers{queue=\"pods\"}") == Some(count)).then_some(())
        })
        .await;
    };
    workers(5.0).await;
    configure(&lab, "workers: 12\n").await;
    workers(12.0).await;
    configure(&lab, "workers: 0\nshield: perhaps\n").await;
    eventually("both problems are told", async || {
        let log = replica.log();
        (log.contains("workers: \\\"0\\\" must be") && log.contains("shield: ")).then_some(())
    })
    .await;
    workers(12.0).await;
    configure(&lab, "workers: auto\n").await;
    workers(1.0).await;
    configure(&lab, "").await;
    workers(5.0).await;
}

#[tokio::test]
async fn a_bad_config_map_ends_the_start_with_code_2() {
    let lab = Lab::turn().await;
    configure(&lab, "workers: 0\nnonsense: 1\n").await;
    let mut replica = Replica::start(&lab, &[]);
    let status = eventually("ended", async || replica.has_ended()).await;
    configure(&lab, "").await;
    assert_eq!(status.code(), Some(2));
}
