//! A container that starts again.

use super::{FOLLOW, START, is_marked, mark, start, status_of};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use probelet_tests::exec;
use probelet_tests::pod::CONTAINER;
use probelet_tests::space::{self, Labels, Space};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

fn restarts(pod: &Pod) -> i32 {
    status_of(pod, CONTAINER).map_or(0, |status| status.restart_count)
}

fn is_running(pod: &Pod) -> bool {
    status_of(pod, CONTAINER).and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some())
}

/// Ends the application with an error. What is answered is not looked at: the connection ends with the container.
async fn crash(space: &Space) {
    let _ = exec::run(&space.api(), "web", CONTAINER, &["/test-app", "exit", "1"]).await;
}

/// Faults F16, F17: the agent of the new container answers for it, and both probes follow the new one.
async fn a_restarted_container_is_probed_again_on(node: &'static str) -> Result<()> {
    space::with("restart", Labels::opted_in(), move |space| async move {
        mark(&space).await?;
        start(&space, node).await?;
        crash(&space).await;
        let again = |pod: &Pod| restarts(pod) == 1 && is_running(pod) && is_marked(pod, "True");
        space.wait_for_pod("web", "to succeed again after its restart", START, again).await?;
        for (order, status) in [("fail", "False"), ("heal", "True")] {
            exec::switch(&space.api(), "web", CONTAINER, order).await?;
            space.wait_for_pod("web", "to follow the new container", FOLLOW, |pod| is_marked(pod, status)).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_container_is_probed_again_under_kubelet() -> Result<()> {
    a_restarted_container_is_probed_again_on("node-1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_container_is_probed_again_on_a_virtual_node() -> Result<()> {
    a_restarted_container_is_probed_again_on("virtual-push").await
}

/// Fault F16: with a sidecar that does not move, a container starts no later, and its exec probe comes back with the sidecar.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sidecar_holds_no_container_up() -> Result<()> {
    space::with("stopped", Labels::opted_in(), |space| async move {
        if space.cluster().lab().is_none() {
            println!("skipped: only on the lab are the containers' processes at hand");
            return Ok(());
        }
        mark(&space).await?;
        let pod = start(&space, "node-1").await?;
        let uid = pod.metadata.uid.context("uid")?;
        let pids = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let sidecar = pids.into_iter().find(|pid| is_sidecar_of(*pid, &uid));
        let sidecar = Pid::from_raw(sidecar.context("no process of the sidecar")?).context("process id")?;
        kill_process(sidecar, Signal::STOP)?;
        let crashed = std::time::Instant::now();
        crash(&space).await;
        let runs = |pod: &Pod| restarts(pod) == 1 && is_running(pod);
        let started = space.wait_for_pod("web", "to run again beside a stopped sidecar", FOLLOW, runs).await;
        let took = crashed.elapsed();
        kill_process(sidecar, Signal::CONT)?;
        started?;
        // kubelet alone takes a second or two to see that a container has ended; the hook's own limit is a second.
        ensure!(took < Duration::from_secs(10), "the container was back after {took:?}");
        exec::switch(&space.api(), "web", CONTAINER, "fail").await?;
        space.wait_for_pod("web", "to follow again", FOLLOW, |pod| is_marked(pod, "False")).await?;
        Ok(())
    })
    .await
}

fn is_sidecar_of(pid: i32, uid: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let expected = format!("PROBELET_POD_UID={uid}");
    environment.split(|byte| *byte == 0).any(|variable| variable == expected.as_bytes())
        && std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("probelet"))
}
