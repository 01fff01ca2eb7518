//! The webhook is not on the way from a probe to its mark. A binary of its own: it takes the webhook away from everyone.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use probelet_tests::cluster::Cluster;
use probelet_tests::deploy::NAMESPACE;
use probelet_tests::image::TEST_APP;
use probelet_tests::pod::{CONTAINER, app, has_container, has_label};
use probelet_tests::space::{self, Labels};
use probelet_tests::{exec, marker, wait};
use serde_json::json;
use std::time::{Duration, Instant};

const LABEL: &str = "games.example/healthy";
const LIMIT: Duration = Duration::from_secs(90);

async fn scale(cluster: &Cluster, replicas: i32) -> Result<()> {
    let deployments = Api::<Deployment>::namespaced(cluster.client(), NAMESPACE);
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments.patch("probelet-webhook", &PatchParams::default(), &patch).await?;
    let what = format!("probelet-webhook to have {replicas} ready replicas");
    wait::until(&deployments, "probelet-webhook", &what, LIMIT, |found: Option<&Deployment>| {
        found.and_then(|found| found.status.as_ref()).is_some_and(|status| {
            status.ready_replicas.unwrap_or(0) == replicas && status.replicas.unwrap_or(0) == replicas
        })
    })
    .await?;
    if replicas == 0 {
        gone(cluster).await?;
    }
    Ok(())
}

/// A replica that drains goes on answering, so that no admission is lost: wait for its end.
async fn gone(cluster: &Cluster) -> Result<()> {
    let pods = Api::<Pod>::namespaced(cluster.client(), NAMESPACE);
    let begin = Instant::now();
    while !pods.list(&ListParams::default()).await?.items.is_empty() {
        ensure!(begin.elapsed() < LIMIT, "the webhook's Pods should have ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn running_pods_go_on_being_marked_and_new_ones_start_without_the_webhook() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let outcome = space::with("down", Labels::opted_in(), |space| async move {
        let http = json!({"httpGet": {"port": "http", "path": "/health"}});
        marker::create(&space, "health", "web", &[marker::probe("healthy", http, "games.example/Healthy", LABEL)])
            .await?;
        let image = space.cluster().image(TEST_APP)?;
        space.create_object(&app("web", &image).on("virtual-push").labelled("app", "web").build()).await?;
        space.wait_for_pod("web", "to be marked", LIMIT, |pod| has_label(pod, LABEL, "true")).await?;
        scale(space.cluster(), 0).await?;
        for (order, value) in [("fail", "false"), ("heal", "true")] {
            exec::switch(&space.api::<Pod>(), "web", CONTAINER, order).await?;
            space.wait_for_pod("web", "to follow", LIMIT, |pod| has_label(pod, LABEL, value)).await?;
        }
        let late = app("late", &image).on("virtual-push").labelled("app", "web").build();
        let late = space.create_object(&late).await?;
        ensure!(!has_container(&late, "probelet"), "nobody could have injected it");
        space.wait_for_pod("late", "to run", LIMIT, probelet_tests::pod::is_ready).await?;
        Ok(())
    })
    .await;
    let restored = scale(&cluster, 2).await;
    outcome.and(restored)
}
