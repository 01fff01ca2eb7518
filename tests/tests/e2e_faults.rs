//! What becomes of Pods while the webhook is hurt: stopped, killed, gone. A binary of its own, and one test at a time: all of
//! them take the webhook away from everyone.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use probelet_protocol::name;
use probelet_tests::cluster::Cluster;
use probelet_tests::deploy::NAMESPACE;
use probelet_tests::pod::{app, has_container};
use probelet_tests::space::{self, Labels, Space};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

#[path = "faults/cert_manager.rs"]
mod cert_manager;
#[path = "faults/lab.rs"]
mod lab;
#[path = "faults/webhook.rs"]
mod webhook;

static TURN: Mutex<()> = Mutex::const_new(());

/// What one Pod's creation may take where nothing answers: two calls of two seconds and one more pass.
const DEAD: Duration = Duration::from_millis(6500);
/// The same for its binding: one call of two seconds, and what two busy cores need beside it.
const DEAD_BINDING: Duration = Duration::from_secs(4);
/// How many of the Pods are bound to a node: its provider has to bear them.
const BOUND: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_webhook_delays_a_pod_by_seconds_and_the_pod_is_told_of_it_later() -> Result<()> {
    let _turn = TURN.lock().await;
    space::with("frozen", Labels::opted_in(), |space| async move {
        let Some(lab) = space.cluster().lab() else {
            println!("skipped: only of the lab are the webhook's processes at hand");
            return Ok(());
        };
        webhook::steady(space.cluster()).await?;
        webhook::mark(&space).await?;
        let processes = webhook::processes(lab)?;
        ensure!(processes.len() == 2, "the webhook's processes: {processes:?}");
        let created = match webhook::freeze(&processes).await {
            Ok(()) => create_at_once(&space, 20).await,
            Err(error) => Err(error),
        };
        let bound = match &created {
            Ok(created) => bind_at_once(&space, &created[..BOUND]).await,
            Err(_) => Ok(Vec::new()),
        };
        webhook::signal(&processes, Signal::CONT);
        let (created, bound) = (created?, bound?);
        let slowest = created.iter().map(|(_, took)| *took).max().unwrap_or_default();
        println!("20 Pods with both replicas stopped: the slowest took {slowest:?}");
        ensure!(slowest <= DEAD, "a Pod took {slowest:?}");
        ensure!(slowest >= Duration::from_secs(1), "the replicas were not stopped: {slowest:?}");
        println!("{BOUND} of them bound to a node: {bound:?}");
        ensure!(bound.iter().all(|took| *took <= DEAD_BINDING), "a binding took too long: {bound:?}");
        ensure!(bound.iter().all(|took| *took >= Duration::from_secs(1)), "the hook was not asked: {bound:?}");
        let missed: BTreeSet<_> = created.iter().filter_map(|(pod, _)| pod.metadata.name.clone()).collect();
        ensure!(created.iter().all(|(pod, _)| !has_container(pod, name::SIDECAR_CONTAINER)), "somebody answered");
        webhook::told(&space, &missed, Duration::from_secs(30)).await
    })
    .await
}

/// So many Pods at the same time, each with how long it took.
async fn create_at_once(space: &Space, count: usize) -> Result<Vec<(Pod, Duration)>> {
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let pods = space.api::<Pod>();
            tokio::spawn(async move {
                let begin = Instant::now();
                let pod = pods.create(&PostParams::default(), &webhook::pod(&format!("web-{number}"))).await;
                anyhow::Ok((pod.context("a Pod was refused")?, begin.elapsed()))
            })
        })
        .collect();
    let mut created = Vec::new();
    for task in tasks {
        created.push(task.await??);
    }
    Ok(created)
}

/// Binds these Pods to a virtual node at the same time, as a scheduler does: how long each took.
async fn bind_at_once(space: &Space, created: &[(Pod, Duration)]) -> Result<Vec<Duration>> {
    let bind = async |(pod, _): &(Pod, Duration)| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let target = json!({"apiVersion": "v1", "kind": "Node", "name": "virtual-push"});
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target});
        let (pods, params, begin) = (space.api::<Pod>(), PostParams::default(), Instant::now());
        let answer: kube::Result<Value> = pods.create_subresource("binding", name, &params, &binding).await;
        answer.map(|_| begin.elapsed()).context("a Pod was not bound")
    };
    futures_util::future::try_join_all(created.iter().map(bind)).await
}

/// Names of all Pods that were made, and of those that were not injected.
type Made = (BTreeSet<String>, BTreeSet<String>);

/// Creates Pods, about a hundred a second, until it is told to end; names of all, and of those that were not injected.
struct Load {
    ended: Arc<AtomicBool>,
    creators: Vec<tokio::task::JoinHandle<Result<Made>>>,
}

impl Load {
    fn start(space: &Space) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let creators = (0..4).map(|number| tokio::spawn(Self::create(space.clone(), number, Arc::clone(&ended))));
        Self { creators: creators.collect(), ended }
    }

    async fn create(space: Space, creator: usize, ended: Arc<AtomicBool>) -> Result<Made> {
        let (mut all, mut missed) = (BTreeSet::new(), BTreeSet::new());
        while !ended.load(Ordering::SeqCst) {
            let name = format!("web-{creator}-{}", all.len());
            let pod = space.api::<Pod>().create(&PostParams::default(), &webhook::pod(&name)).await;
            if !has_container(&pod.context("a Pod was refused")?, name::SIDECAR_CONTAINER) {
                missed.insert(name.clone());
            }
            all.insert(name);
            tokio::time::sleep(Duration::from_millis(40)).await; // the rate
        }
        Ok((all, missed))
    }

    async fn end(self) -> Result<(usize, BTreeSet<String>)> {
        self.ended.store(true, Ordering::SeqCst);
        let (mut count, mut missed) = (0, BTreeSet::new());
        for creator in self.creators {
            let (all, lost) = creator.await??;
            count += all.len();
            missed.extend(lost);
        }
        Ok((count, missed))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pod_is_missed_while_one_replica_is_evicted() -> Result<()> {
    let _turn = TURN.lock().await;
    space::with("evicted", Labels::opted_in(), |space| async move {
        webhook::steady(space.cluster()).await?;
        webhook::mark(&space).await?;
        let load = Load::start(&space);
        let replica = webhook::replicas(space.cluster()).await?.pop().context("a replica")?;
        let pods: Api<Pod> = Api::namespaced(space.cluster().client(), NAMESPACE);
        let name = replica.metadata.name.unwrap_or_default();
        pods.evict(&name, &Default::default()).await.context("the eviction")?;
        probelet_tests::wait::until_gone(&pods, &name, webhook::LIMIT).await?;
        webhook::whole(space.cluster(), 2).await?;
        let (count, missed) = load.end().await?;
        println!("one replica evicted: {count} Pods created, {} not injected", missed.len());
        ensure!(count > 50, "only {count} Pods were created");
        ensure!(missed.is_empty(), "of {count} Pods: {missed:?}\n{}", webhook::failures(space.cluster()));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_a_killed_replica_had_in_hand_are_admitted_and_told_of() -> Result<()> {
    let _turn = TURN.lock().await;
    space::with("killed", Labels::opted_in(), |space| async move {
        let Some(lab) = space.cluster().lab() else {
            println!("skipped: only of the lab are the webhook's processes at hand");
            return Ok(());
        };
        webhook::steady(space.cluster()).await?;
        webhook::mark(&space).await?;
        let load = Load::start(&space);
        tokio::time::sleep(Duration::from_millis(500)).await; // some requests on their way
        let victim = webhook::processes(lab)?;
        webhook::signal(victim.get(..1).context("the webhook's processes")?, Signal::KILL);
        webhook::restarted(space.cluster()).await?;
        webhook::whole(space.cluster(), 2).await?;
        probelet_tests::marker::settled(&space, &webhook::pod("probe")).await?;
        let (count, missed) = load.end().await?;
        println!("one replica killed by SIGKILL: {count} Pods created, {} not injected", missed.len());
        ensure!(count > 10, "only {count} Pods were created");
        webhook::told(&space, &missed, Duration::from_secs(30)).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fail_the_webhook_comes_back_from_nothing_by_itself() -> Result<()> {
    let _turn = TURN.lock().await;
    let cluster = Cluster::connect().await?;
    let outcome = space::with("nothing", Labels::opted_in(), |space| async move {
        let cluster = space.cluster().clone();
        webhook::steady(&cluster).await?;
        webhook::mark(&space).await?;
        webhook::set_failure_policy(&cluster, "Fail").await?;
        webhook::scale(&cluster, 0).await?;
        let refused = space.create_object(&webhook::pod("web")).await.err().context("nobody could have answered")?;
        ensure!(format!("{refused:#}").contains("failed calling webhook \"pods.probelet.io\""), "{refused:#}");
        // What a cluster needs to get up again is not held back.
        for namespace in ["kube-system", NAMESPACE, "default"] {
            let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
            let dry = PostParams { dry_run: true, ..PostParams::default() };
            let pod = app("plain", "none").labelled(name::INJECT_LABEL, name::INJECT_ENABLED).build();
            pods.create(&dry, &pod).await.with_context(|| format!("in {namespace}"))?;
        }
        webhook::scale(&cluster, 2).await?;
        let made = space.create_object(&webhook::pod("web")).await?;
        ensure!(has_container(&made, name::SIDECAR_CONTAINER), "not injected");
        space.api::<Pod>().delete("web", &DeleteParams::default()).await?;
        Ok(())
    })
    .await;
    let restored = async {
        webhook::set_failure_policy(&cluster, "Ignore").await?;
        webhook::scale(&cluster, 2).await
    };
    outcome.and(restored.await)
}
