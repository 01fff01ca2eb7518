//! Pods that probelet has nothing to do with are left as they were.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use probelet_tests::image::TEST_APP;
use probelet_tests::marker;
use probelet_tests::pod::{Builder, app, is_ready};
use probelet_tests::space::{self, Labels, Space};
use serde_json::{Value, json};
use std::time::Duration;

async fn marker_for(space: &Space, label: &str) -> Result<()> {
    let http = json!({"httpGet": {"port": "http", "path": "/health"}});
    marker::create(
        space,
        "health",
        label,
        &[marker::probe("healthy", http, "games.example/Healthy", "games.example/healthy")],
    )
    .await?;
    Ok(())
}

/// What the API server made of the Pod at creation, without what differs between any two Pods.
fn canonical(pod: &Pod) -> Result<Value> {
    let mut value = json!({"labels": pod.metadata.labels, "annotations": pod.metadata.annotations, "spec": pod.spec});
    let spec = &mut value["spec"];
    let name = spec["volumes"].as_array().into_iter().flatten().find_map(|volume| {
        volume["name"].as_str().filter(|name| name.starts_with("kube-api-access-")).map(str::to_owned)
    });
    match name {
        Some(name) => Ok(serde_json::from_str(&value.to_string().replace(&name, "kube-api-access"))?),
        None => Ok(value),
    }
}

async fn created(space: &Space, builder: Builder) -> Result<Value> {
    canonical(&space.create_object(&builder.labelled("app", "web").build()).await?)
}

/// The same Pod in a namespace of its own without labels, where no webhook of probelet is called.
async fn reference(builder: Builder) -> Result<Value> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    space::with("reference", Labels::none(), |space| async move {
        let _ = sender.send(created(&space, builder).await?);
        Ok(())
    })
    .await?;
    Ok(receiver.await?)
}

fn web(space: &Space) -> Result<Builder> {
    Ok(app("web", &space.cluster().image(TEST_APP)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_outside_an_opted_in_namespace_is_left_alone() -> Result<()> {
    space::with("outside", Labels::none(), |space| async move {
        marker_for(&space, "web").await?;
        let found = created(&space, web(&space)?.on("virtual-push")).await?;
        ensure!(!found.to_string().contains("probelet.io"), "{found:#}");
        ensure!(found["spec"]["containers"].as_array().map(Vec::len) == Some(1), "{found:#}");
        ensure!(found["annotations"].is_null(), "{found:#}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_matching_marker_is_left_byte_for_byte() -> Result<()> {
    space::with("unmatched", Labels::opted_in(), |space| async move {
        marker_for(&space, "something-else").await?;
        let found = created(&space, web(&space)?.on("virtual-push")).await?;
        let expected = reference(web(&space)?.on("virtual-push")).await?;
        ensure!(found == expected, "found {found:#}\nexpected {expected:#}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_for_an_ordinary_node_is_not_injected() -> Result<()> {
    space::with("ordinary", Labels::opted_in(), |space| async move {
        marker_for(&space, "web").await?;
        let found = created(&space, web(&space)?.on_an_ordinary_node()).await?;
        let expected = reference(web(&space)?.on_an_ordinary_node()).await?;
        ensure!(found == expected, "found {found:#}\nexpected {expected:#}");
        space.wait_for_pod("web", "to run", Duration::from_secs(60), is_ready).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_keeps_itself_out_is_not_injected() -> Result<()> {
    space::with("optout", Labels::opted_in(), |space| async move {
        marker_for(&space, "web").await?;
        let out = |builder: Builder| builder.on("virtual-push").labelled("probelet.io/inject", "disabled");
        let found = created(&space, out(web(&space)?)).await?;
        let expected = reference(out(web(&space)?)).await?;
        ensure!(found == expected, "found {found:#}\nexpected {expected:#}");
        Ok(())
    })
    .await
}
