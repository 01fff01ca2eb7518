//! The deployed webhook as something that can be hit: its processes, its replicas, what the API server does without it.

use anyhow::{Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use probelet_tests::cluster::Cluster;
use probelet_tests::deploy::NAMESPACE;
use probelet_tests::lab::Lab;
use probelet_tests::pod::{app, is_ready};
use probelet_tests::space::Space;
use probelet_tests::{marker, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub(crate) const LIMIT: Duration = Duration::from_secs(90);
const NAME: &str = "probelet-webhook";

/// Bound for a virtual node, and never scheduled.
pub(crate) fn pod(name: &str) -> Pod {
    app(name, "none")
        .on_a_virtual_node()
        .labelled("app", "web")
        .with(|spec| spec.scheduler_name = Some("none".to_owned()))
        .build()
}

/// A marker for such Pods, known to every replica.
pub(crate) async fn mark(space: &Space) -> Result<()> {
    let http = json!({"httpGet": {"port": "http", "path": "/health"}});
    let probe = marker::probe("healthy", http, "games.example/Healthy", "games.example/healthy");
    marker::create(space, "health", "web", &[probe]).await?;
    marker::settled(space, &pod("first")).await
}

/// The webhook's processes in a lab, as the host sees them: the children of its containerd's shims.
pub(crate) fn processes(lab: &Lab) -> Result<Vec<Pid>> {
    let folder = format!("{}/", lab.layout().dir().display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // `1 (name) S 2 ...`: the kernel cuts names to 15 bytes; the number after the state is the parent's.
        let Some((head, rest)) = stat.rsplit_once(')') else { continue };
        let parent = rest.split_whitespace().nth(1).unwrap_or_default();
        let shim = std::fs::read_to_string(format!("/proc/{parent}/cmdline")).unwrap_or_default();
        if head.split_once('(').is_some_and(|(_, name)| name == &NAME[..15]) && shim.contains(&folder) {
            found.extend(entry.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw));
        }
    }
    Ok(found)
}

/// Sends a signal to processes that may have ended.
pub(crate) fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        let _ = kill_process(*process, signal);
    }
}

/// Stops processes, and waits until none of their threads runs: a thread that has work in hand, or waits for a core, goes on
/// for a while after the signal.
pub(crate) async fn freeze(processes: &[Pid]) -> Result<()> {
    signal(processes, Signal::STOP);
    let begin = Instant::now();
    while !processes.iter().all(|process| is_stopped(*process)) {
        ensure!(begin.elapsed() < LIMIT, "the webhook's processes cannot be stopped");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn is_stopped(process: Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()));
    threads.into_iter().flatten().flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
    })
}

/// The webhook's Pods.
pub(crate) async fn replicas(cluster: &Cluster) -> Result<Vec<Pod>> {
    let labels = ListParams::default().labels("app.kubernetes.io/component=webhook");
    Ok(Api::<Pod>::namespaced(cluster.client(), NAMESPACE).list(&labels).await?.items)
}

/// Sets the number of replicas, and waits until there are so many and no more.
pub(crate) async fn scale(cluster: &Cluster, count: i32) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"replicas": count}}));
    deployments(cluster).patch(NAME, &PatchParams::default(), &patch).await?;
    whole(cluster, count).await
}

/// Waits until there are so many replicas, all ready, and no more.
pub(crate) async fn whole(cluster: &Cluster, count: i32) -> Result<()> {
    let what = format!("{NAME} to have {count} ready replicas");
    wait::until(&deployments(cluster), NAME, &what, LIMIT, |found: Option<&Deployment>| {
        found
            .and_then(|found| found.status.as_ref())
            .is_some_and(|status| status.ready_replicas.unwrap_or(0) == count && status.replicas.unwrap_or(0) == count)
    })
    .await?;
    let begin = Instant::now();
    loop {
        // One that drains answers on, and is not counted.
        let found = replicas(cluster).await?;
        if found.len() == usize::try_from(count)? && found.iter().all(is_ready) {
            return Ok(());
        }
        ensure!(begin.elapsed() < LIMIT, "the webhook has {} Pods", found.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until both replicas are ready and one of them may be evicted. What a test before did to them (frozen, killed) shows
/// only with kubelet's next readiness probe, so every test begins with this. One that was killed is replaced: kubelet lets
/// its container wait for minutes when that comes again.
pub(crate) async fn steady(cluster: &Cluster) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    for replica in replicas(cluster).await?.into_iter().filter(|replica| restarts(replica) > 0) {
        let name = replica.metadata.name.unwrap_or_default();
        pods.delete(&name, &DeleteParams::default()).await?;
        wait::until_gone(&pods, &name, LIMIT).await?;
    }
    whole(cluster, 2).await?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.client(), NAMESPACE);
    let allowed = |found: Option<&PodDisruptionBudget>| {
        let status = found.and_then(|found| found.status.as_ref());
        status.is_some_and(|status| status.disruptions_allowed >= Some(1) && status.current_healthy == Some(2))
    };
    wait::until(&budgets, NAME, "the budget to allow an eviction", LIMIT, allowed).await.map(drop)
}

/// Waits until kubelet has seen that a replica's process ended: until then its Pod still looks ready.
pub(crate) async fn restarted(cluster: &Cluster) -> Result<()> {
    let begin = Instant::now();
    while replicas(cluster).await?.iter().all(|replica| restarts(replica) == 0) {
        ensure!(begin.elapsed() < LIMIT, "no replica was started again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// How often kubelet started its containers again.
fn restarts(replica: &Pod) -> i32 {
    let statuses = replica.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).sum()
}

/// The API server's own words on the last calls of the webhook that failed; its log names no namespace.
pub(crate) fn failures(cluster: &Cluster) -> String {
    let Some(lab) = cluster.lab() else { return "(only of the lab is the API server's log at hand)".to_owned() };
    let log = std::fs::read_to_string(lab.layout().log("kube-apiserver")).unwrap_or_default();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("failing open")).collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

fn deployments(cluster: &Cluster) -> Api<Deployment> {
    Api::namespaced(cluster.client(), NAMESPACE)
}

/// What becomes of a Pod when no replica answers: `Ignore` or `Fail`.
pub(crate) async fn set_failure_policy(cluster: &Cluster, policy: &str) -> Result<()> {
    let hooks = json!({"webhooks": [
        {"name": "pods.probelet.io", "failurePolicy": policy}, {"name": "bindings.probelet.io", "failurePolicy": policy}]});
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(cluster.client());
    configurations.patch(NAME, &PatchParams::default(), &Patch::Strategic(hooks)).await?;
    Ok(())
}

/// Waits until there is an Event `InjectionMissed` for each of these Pods.
pub(crate) async fn told(space: &Space, missed: &BTreeSet<String>, limit: Duration) -> Result<()> {
    let events: Api<Event> = space.api();
    let begin = Instant::now();
    loop {
        let list = events.list(&ListParams::default()).await?.items;
        let told = list.into_iter().filter(|event| event.reason.as_deref() == Some("InjectionMissed"));
        let told: BTreeSet<_> = told.filter_map(|event| event.involved_object.name).collect();
        if missed.is_subset(&told) {
            ensure!(told.is_subset(missed), "told of Pods that were not missed: {told:?}");
            return Ok(());
        }
        ensure!(begin.elapsed() < limit, "missed {missed:?}, told of {told:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
