//! No admission is lost while the webhook's replicas are exchanged (F7). A binary of its own: it restarts the webhook.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use probelet_protocol::name;
use probelet_tests::cluster::Cluster;
use probelet_tests::deploy::NAMESPACE;
use probelet_tests::pod::{app, has_container};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::{marker, wait};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const WEBHOOK: &str = "probelet-webhook";
const LIMIT: Duration = Duration::from_secs(120);
const ROLLOUTS: usize = 2;
const CREATORS: usize = 4;

/// What happened to the Pods that were created meanwhile.
#[derive(Default)]
struct Count {
    injected: AtomicU64,
    missed: AtomicU64,
    ended: AtomicBool,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pod_is_refused_or_missed_while_replicas_are_exchanged() -> Result<()> {
    space::with("rollout", Labels::opted_in(), |space| async move {
        let http = json!({"httpGet": {"port": "http", "path": "/health"}});
        let probe = marker::probe("healthy", http, "games.example/Healthy", "games.example/healthy");
        marker::create(&space, "health", "web", &[probe]).await?;
        first_injected(&space).await?;
        let count = Arc::new(Count::default());
        let creators: Vec<_> =
            (0..CREATORS).map(|creator| tokio::spawn(create(space.clone(), creator, count.clone()))).collect();
        for _ in 0..ROLLOUTS {
            roll_out(space.cluster()).await?;
        }
        count.ended.store(true, Ordering::SeqCst);
        for creator in creators {
            creator.await??;
        }
        let (injected, missed) = (count.injected.load(Ordering::SeqCst), count.missed.load(Ordering::SeqCst));
        println!("{ROLLOUTS} rollouts: {injected} Pods injected, {missed} missed");
        ensure!(injected > 100, "only {injected} Pods were created");
        ensure!(missed == 0, "{missed} of {} Pods were not injected", injected + missed);
        Ok(())
    })
    .await
}

/// The watch of a new marker reaches both replicas within moments; nobody promises it before.
async fn first_injected(space: &Space) -> Result<()> {
    let begin = std::time::Instant::now();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let mut row = 0;
    while row < 10 {
        let shown = space.api::<Pod>().create(&dry, &pod("first")).await?;
        row = if has_container(&shown, name::SIDECAR_CONTAINER) { row + 1 } else { 0 };
        ensure!(begin.elapsed() < LIMIT, "no Pod is injected");
    }
    Ok(())
}

/// Bound for a virtual node, and never scheduled.
fn pod(name: &str) -> Pod {
    app(name, "none")
        .on_a_virtual_node()
        .labelled("app", "web")
        .with(|spec| spec.scheduler_name = Some("none".to_owned()))
        .build()
}

async fn create(space: Space, creator: usize, count: Arc<Count>) -> Result<()> {
    let pods = space.api::<Pod>();
    let mut serial = 0;
    while !count.ended.load(Ordering::SeqCst) {
        serial += 1;
        let created = pods.create(&PostParams::default(), &pod(&format!("web-{creator}-{serial}"))).await;
        let created = created.context("a Pod was refused")?;
        let counter = if has_container(&created, name::SIDECAR_CONTAINER) { &count.injected } else { &count.missed };
        counter.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(40)).await; // the rate: about a hundred a second in all
    }
    Ok(())
}

/// `kubectl rollout restart`, until every old replica has ended.
async fn roll_out(cluster: &Cluster) -> Result<()> {
    let deployments = Api::<Deployment>::namespaced(cluster.client(), NAMESPACE);
    let restarted = deployments.restart(WEBHOOK).await?;
    let generation = restarted.metadata.generation;
    wait::until(&deployments, WEBHOOK, "the rollout to end", LIMIT, |found: Option<&Deployment>| {
        found.and_then(|found| found.status.as_ref()).is_some_and(|status| {
            status.observed_generation >= generation
                && status.updated_replicas == Some(2)
                && status.ready_replicas == Some(2)
                && status.replicas == Some(2)
        })
    })
    .await?;
    Ok(())
}
