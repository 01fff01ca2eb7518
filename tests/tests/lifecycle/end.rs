//! The end of a Pod (fault F28): the sidecar goes at once, and writes nothing to a Pod that is gone.

use super::{FOLLOW, mark, start};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use probelet_protocol::environment;
use probelet_tests::audit::AuditLog;
use probelet_tests::bench::local::{LABEL, Pair};
use probelet_tests::pod::has_label;
use probelet_tests::space::{self, Labels};
use probelet_tests::wait;
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// As a plain container the sidecar ends with SIGTERM. A node ends all containers at once, but not in the same instant, so a
/// last failure of each probe may still be written to the Pod while it is there; nothing is written after that.
async fn a_deleted_pod_is_not_written_to_on(node: &'static str) -> Result<()> {
    space::with("deleted", Labels::opted_in(), move |space| async move {
        mark(&space).await?;
        start(&space, node).await?;
        let log = space.cluster().lab().map(AuditLog::of);
        let mark = log.as_ref().map(AuditLog::mark).transpose()?;
        let pods = space.api::<Pod>();
        let deleted = Instant::now();
        pods.delete("web", &DeleteParams::default().grace_period(30)).await?;
        wait::until_gone(&pods, "web", 2 * FOLLOW).await?;
        let took = deleted.elapsed();
        println!("{node}: the Pod was gone after {took:?}");
        // The application ends at once too; a sidecar that waited would be killed after 30 s.
        ensure!(took < Duration::from_secs(25), "the Pod was gone after {took:?}");
        let (Some(log), Some(mark)) = (log, mark) else {
            println!("skipped: only the lab has an audit log");
            return Ok(());
        };
        let namespace = space.name().to_owned();
        let removed =
            |request: &probelet_tests::audit::Request| request.verb == "delete" && request.is_on_pod(&namespace, "web");
        log.until(mark, 1, FOLLOW, removed).await.context("the deletion is in the audit log")?;
        let written = log.since(mark, |request| request.is_by(&namespace, "default"))?;
        println!("{node}: {} requests by the Pod's identity after its deletion", written.len());
        ensure!(written.len() <= 2, "requests by the Pod's identity after its deletion: {written:#?}");
        ensure!(written.iter().all(|request| request.code == 200), "written to a Pod that is gone: {written:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_is_not_written_to_under_kubelet() -> Result<()> {
    a_deleted_pod_is_not_written_to_on("node-1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_is_not_written_to_on_a_virtual_node() -> Result<()> {
    a_deleted_pod_is_not_written_to_on("virtual-push").await
}

/// SIGTERM: over within a second, with exit code 0, as a plain container and as a native sidecar.
#[tokio::test(flavor = "multi_thread")]
async fn a_sigterm_ends_the_program_within_a_second() -> Result<()> {
    space::with("sigterm", Labels::opted_in(), |space| async move {
        let Some(lab) = space.cluster().lab() else {
            println!("skipped: only the lab has the image's program at hand");
            return Ok(());
        };
        let binary = lab.layout().path("stage/sidecar/build/out/probelet");
        let config = space.cluster().config().await?;
        for is_native in ["false", "true"] {
            let name = format!("native-{is_native}");
            let environment = [(environment::NATIVE_SIDECAR, is_native)];
            let client = space.cluster().client();
            let mut pair = Pair::start(&client, &config, (space.name(), &name), &binary, &environment).await?;
            let is_marked = |pod: &Pod| has_label(pod, LABEL, "true");
            space.wait_for_pod(&name, "to be marked", FOLLOW, is_marked).await?;
            let pid = Pid::from_raw(i32::try_from(pair.sidecar.child.id())?).context("process id")?;
            let begin = Instant::now();
            kill_process(pid, Signal::TERM)?;
            let status = tokio::task::spawn_blocking(move || pair.sidecar.child.wait()).await??;
            ensure!(status.code() == Some(0), "{status}");
            ensure!(begin.elapsed() < Duration::from_secs(1), "{:?} after SIGTERM", begin.elapsed());
        }
        Ok(())
    })
    .await
}
