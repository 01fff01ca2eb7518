//! `make bench`: every figure beside the thing it is compared with, in one run.

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, PostParams};
use probelet_tests::audit::AuditLog;
use probelet_tests::bench::{footprint, kinds, latency, mark, request};
use probelet_tests::cluster::Cluster;
use std::path::PathBuf;
use std::time::Duration;

/// Measures the sidecar against the API server of the cluster under test.
#[derive(Parser)]
struct Arguments {
    /// The sidecar's binary; the one in the lab's image where left out.
    #[arg(long)]
    sidecar: Option<PathBuf>,
    /// The test application's binary; the one in the lab's image where left out.
    #[arg(long)]
    application: Option<PathBuf>,
    /// Only these parts; all where left out.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Switches of health per series.
    #[arg(long, default_value_t = 400)]
    flips: usize,
    /// Seconds over which the idle sidecar is measured.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Seconds over which one probe of each kind is run.
    #[arg(long, default_value_t = 60)]
    kinds: u64,
    /// Runs of each kind of probe whose time is taken.
    #[arg(long, default_value_t = 400)]
    runs: u32,
    /// Seconds of quiet in which requests are counted.
    #[arg(long, default_value_t = 30)]
    quiet: u64,
    /// Starts that are measured.
    #[arg(long, default_value_t = 20)]
    starts: usize,
}

/// A part of the bench.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Size, memory, CPU, start.
    Footprint,
    /// Memory and CPU with one probe of each kind.
    Kinds,
    /// What one run takes, beside curl and kubelet's own prober.
    Latency,
    /// Requests of a transition and of a quiet span.
    Request,
    /// From an outcome to the label.
    Mark,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cluster = Cluster::connect().await?;
    let config = cluster.config().await?;
    let namespaces = Api::<Namespace>::all(cluster.client());
    let name = format!("probelet-bench-{}", std::process::id());
    // Opted in as a user's namespace is, so that the policies and the RoleBinding are those of real Pods.
    let namespace = serde_json::from_value(serde_json::json!({
        "metadata": {"name": name, "labels": {"probelet.io/inject": "enabled"}}
    }))?;
    namespaces.create(&PostParams::default(), &namespace).await.context("cannot create the bench's namespace")?;
    let outcome = measure(&arguments, &cluster, &config, &name).await;
    let _ = namespaces.delete(&name, &DeleteParams::background()).await;
    outcome
}

async fn measure(arguments: &Arguments, cluster: &Cluster, config: &kube::Config, namespace: &str) -> Result<()> {
    let client = cluster.client();
    let staged = |path| cluster.lab().map(|lab| lab.layout().path(path));
    let given = |given: &Option<PathBuf>, path, flag| {
        given.clone().or_else(|| staged(path)).with_context(|| format!("{flag} must name the binary: there is no lab"))
    };
    let binary = given(&arguments.sidecar, "stage/sidecar/build/out/probelet", "--sidecar")?;
    let has = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    if has(Part::Footprint) {
        let span = (Duration::from_secs(arguments.idle), arguments.starts);
        footprint::run(&client, config, namespace, &binary, span).await?;
        if let Some(lab) = cluster.lab() {
            footprint::image(lab)?;
        }
    }
    if has(Part::Kinds) || has(Part::Latency) {
        let application = given(&arguments.application, "stage/test-app/build/out/test-app", "--application")?;
        let programs = kinds::Programs { sidecar: &binary, application: &application };
        if has(Part::Kinds) {
            kinds::run(&client, config, namespace, &programs, Duration::from_secs(arguments.kinds)).await?;
        }
        if has(Part::Latency) {
            latency::run(&client, config, namespace, &programs, arguments.runs).await?;
        }
    }
    if let Some(lab) = cluster.lab().filter(|_| has(Part::Request)) {
        let quiet = Duration::from_secs(arguments.quiet);
        request::run(&client, config, namespace, &binary, &AuditLog::of(lab), quiet).await?;
    }
    if has(Part::Mark) {
        mark::run(&client, config, namespace, &binary, arguments.flips).await?.print();
    }
    Ok(())
}
