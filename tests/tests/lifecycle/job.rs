//! Jobs complete (fault F13), whatever kind the sidecar and the node are of.

use super::{FOLLOW, START, mark, web};
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use probelet_protocol::name;
use probelet_tests::pod::{Builder, CONTAINER, has_container};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::wait;

/// Longest time from the main container's end to the sidecar's, in whole seconds, as the API has them. On a quiet machine it is 2 s
/// at most, and on a polled node, whose status is 5 s behind, 7; it is printed, and this is what a busy machine may make of it.
fn allowance(node: &str) -> i64 {
    if node == "virtual-poll" { 15 } else { 10 }
}

/// The Job's Pod, once it is complete.
async fn completes(space: &Space, place: Builder, node: &str, is_native: bool) -> Result<Pod> {
    let place = place.annotated("probelet.io/native-sidecar", if is_native { "true" } else { "false" });
    let mut job = place.running(&["serve", "--http", "8080", "--exit-after", "5"]).job();
    let kind = if is_native { "native" } else { "plain" };
    let name = format!("{kind}-{node}");
    job.metadata.name = Some(name.clone());
    space.create_object(&job).await?;
    let done = wait::until(&space.api::<Job>(), &name, &format!("Job {name} to complete"), START + FOLLOW, |job| {
        job.and_then(|job: &Job| job.status.as_ref()).is_some_and(|status| status.completion_time.is_some())
    })
    .await?
    .context("the Job is gone")?;
    let status = done.status.context("status")?;
    ensure!(status.succeeded == Some(1), "{name}: {status:?}");
    let pods = space.api::<Pod>().list(&ListParams::default().labels(&format!("job-name={name}"))).await?;
    let pod = pods.items.first().with_context(|| format!("{name} has no Pod"))?;
    ensure!(has_container(pod, name::SIDECAR_CONTAINER), "{name}: not injected");
    let inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let found = inits.filter(|init| init.name == name::SIDECAR_CONTAINER).count() == 1;
    ensure!(found == is_native, "{name}: the sidecar is of the other kind");
    let ended = |container: &str| {
        let state = super::status_of(pod, container).and_then(|status| status.state.as_ref());
        let end = state.and_then(|state| state.terminated.as_ref()?.finished_at.as_ref());
        end.map(|end| end.0.as_second()).with_context(|| format!("{name}: {container} has not ended"))
    };
    let main = ended(CONTAINER)?;
    let complete = status.completion_time.context("completed")?.0.as_second() - main;
    let took = ended(name::SIDECAR_CONTAINER)? - main;
    // The Job controller itself takes a second or two from the Pod's end.
    println!("{name}: the sidecar ended {took} s after main, the Job was complete after {complete} s");
    ensure!(took <= allowance(node), "{name}: the sidecar ended {took} s after main");
    Ok(pod.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_complete_on_every_kind_of_node() -> Result<()> {
    space::with("jobs", Labels::opted_in(), |space| async move {
        mark(&space).await?;
        let nodes = ["node-1", "virtual-push", "virtual-poll"];
        let all = nodes.into_iter().flat_map(|node| [false, true].map(|is_native| (node, is_native)));
        let all = all.map(async |(node, is_native)| completes(&space, web(&space)?.on(node), node, is_native).await);
        try_join_all(all).await.map(drop)
    })
    .await
}

/// In a hybrid cluster the scheduler may bind it to an ordinary node, where kruise-daemon probes.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_completes_where_its_sidecar_stands_by() -> Result<()> {
    space::with("jobs", Labels::opted_in(), |space| async move {
        mark(&space).await?;
        // The toleration alone: it may land on either kind. The scheduler is told where.
        let either = web(&space)?.on_a_virtual_node().with(|spec| {
            spec.node_selector = Some([("kubernetes.io/hostname".to_owned(), "node-1".to_owned())].into());
        });
        let pod = completes(&space, either, "node-1", false).await?;
        let kind = pod.metadata.annotations.iter().flatten().find(|(key, _)| *key == name::NODE_KIND_ANNOTATION);
        ensure!(kind.is_some_and(|(_, kind)| kind == name::NODE_KIND_ORDINARY), "node kind: {kind:?}");
        Ok(())
    })
    .await
}
