//! Every kind of node runs Pods whose logs and commands go through the API server.

use anyhow::{Result, ensure};
use kube::api::LogParams;
use probelet_tests::audit::AuditLog;
use probelet_tests::image::TEST_APP;
use probelet_tests::lab::node::{ORDINARY, VIRTUAL};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::{exec, pod, wait};
use std::time::Duration;

const START: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn pod_runs_logs_and_takes_commands_on_every_node() -> Result<()> {
    space::with("node", Labels::none().restricted(), |space| async move {
        for node in [ORDINARY, VIRTUAL[0].0, VIRTUAL[1].0] {
            switch_health(&space, node).await?;
        }
        Ok(())
    })
    .await
}

async fn switch_health(space: &Space, node: &str) -> Result<()> {
    let name = format!("app-{node}");
    let image = space.cluster().image(TEST_APP)?;
    space.create_object(&pod::app(&name, &image).on(node).build()).await?;
    space.wait_for_pod(&name, "to be ready", START, pod::is_ready).await?;
    let pods = space.api();

    let failing = exec::switch(&pods, &name, pod::CONTAINER, "fail").await?;
    ensure!(failing.state == "failing");
    let check = exec::run(&pods, &name, pod::CONTAINER, &["/test-app", "check"]).await?;
    ensure!(check.code == 1, "{node}: check of a failing server ended with {check:?}");
    let healed = exec::switch(&pods, &name, pod::CONTAINER, "heal").await?;
    ensure!(healed.monotonic_ns > failing.monotonic_ns);
    let check = exec::run(&pods, &name, pod::CONTAINER, &["/test-app", "check"]).await?;
    ensure!(check.code == 0, "{node}: check of a healthy server ended with {check:?}");

    let log = pods.logs(&name, &LogParams::default()).await?;
    ensure!(log.lines().filter(|line| line.starts_with("switched")).count() == 2, "{node}: log is {log:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduler_puts_pods_on_the_kind_of_node_they_ask_for() -> Result<()> {
    space::with("kind", Labels::none(), |space| async move {
        let image = space.cluster().image(TEST_APP)?;
        space.create_object(&pod::app("virtual", &image).on_a_virtual_node().build()).await?;
        space.create_object(&pod::app("ordinary", &image).on_an_ordinary_node().build()).await?;
        for (name, kind) in [("virtual", "virtual-"), ("ordinary", ORDINARY)] {
            let pod = space.wait_for_pod(name, "to be ready", START, pod::is_ready).await?;
            let node = pod.spec.and_then(|spec| spec.node_name).unwrap_or_default();
            ensure!(node.starts_with(kind), "{name} runs on {node}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_log_tells_who_asked_for_a_pod() -> Result<()> {
    space::with("audit", Labels::none(), |space| async move {
        let Some(lab) = space.cluster().lab() else { return Ok(()) };
        let log = AuditLog::of(lab);
        let mark = log.mark()?;
        let image = space.cluster().image(TEST_APP)?;
        space.create_object(&pod::app("seen", &image).on(ORDINARY).build()).await?;
        let namespace = space.name().to_owned();
        let wanted = |request: &probelet_tests::audit::Request| {
            request.verb == "create" && request.resource == "pods" && request.namespace == namespace
        };
        let found = log.until(mark, 1, Duration::from_secs(5), wanted).await?;
        ensure!(found[0].user == "lab-admin" && found[0].code == 201, "{found:?}");
        let pods: kube::Api<k8s_openapi::api::core::v1::Pod> = space.api();
        pods.delete("seen", &Default::default()).await?;
        wait::until_gone(&pods, "seen", START).await?;
        let kubelet = |request: &probelet_tests::audit::Request| {
            request.user == "system:node:node-1" && request.is_on_pod(&namespace, "seen")
        };
        ensure!(!log.since(mark, kubelet)?.is_empty(), "kubelet wrote no status");
        Ok(())
    })
    .await
}
