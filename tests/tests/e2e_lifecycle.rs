//! Containers that start again, hang, complete or are deleted, and the sidecar beside them: on a real kubelet and on both kinds
//! of virtual node. Faults F13, F16, F17, F28.

#[path = "lifecycle/end.rs"]
mod end;
#[path = "lifecycle/hang.rs"]
mod hang;
#[path = "lifecycle/job.rs"]
mod job;
#[path = "lifecycle/restart.rs"]
mod restart;

use anyhow::Result;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use probelet_tests::image::TEST_APP;
use probelet_tests::marker;
use probelet_tests::pod::{Builder, app, has_condition};
use probelet_tests::space::Space;
use serde_json::{Value, json};
use std::time::Duration;

const START: Duration = Duration::from_secs(90);
const FOLLOW: Duration = Duration::from_secs(20);
/// The condition of the httpGet probe and that of the exec probe.
const HTTP: &str = "life.example/Http";
const EXEC: &str = "life.example/Exec";

/// Markers for `web`: the same health by httpGet and by exec.
async fn mark(space: &Space) -> Result<()> {
    let probes = [
        marker::probe("http", json!({"httpGet": {"port": 8080, "path": "/health"}}), HTTP, "life.example/http"),
        marker::probe("exec", json!({"exec": {"command": ["/test-app", "check"]}}), EXEC, "life.example/exec"),
    ];
    marker::create(space, "life", "web", &probes).await.map(drop)
}

/// The Pod `web`, which is injected on any node.
fn web(space: &Space) -> Result<Builder> {
    let builder = app("web", &space.cluster().image(TEST_APP)?);
    Ok(builder.labelled("app", "web").labelled("probelet.io/inject", "enabled"))
}

fn is_marked(pod: &Pod, status: &str) -> bool {
    has_condition(pod, HTTP, status) && has_condition(pod, EXEC, status)
}

/// Creates the Pod and waits until both probes have succeeded.
async fn start(space: &Space, node: &str) -> Result<Pod> {
    space.create_object(&web(space)?.on(node).build()).await?;
    space.wait_for_pod("web", "to succeed by both probes", START, |pod| is_marked(pod, "True")).await
}

/// A container's status, of whatever kind the container is.
fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    all.into_iter().find(|status| status.name == container)
}

/// A handler that runs a command of the test application.
fn command(words: &[&str]) -> Value {
    let words: Vec<_> = std::iter::once("/test-app").chain(words.iter().copied()).collect();
    json!({"exec": {"command": words}})
}
