//! The deployed webhook as something that can be hit: its processes, its replicas, what the API server does without it.

use anyhow::{Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
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
