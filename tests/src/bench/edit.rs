//! An edit of a marker that selects thousands of running Pods: how soon all have it, by the number of workers, beside a client
//! that does the same bare writes with as many at once. And what the webhook's memory is with many Pods and markers.

use super::replica::{Cores, Replica};
use super::town::{MARKER, NAMESPACE, Town};
use crate::plane::WEBHOOK;
use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use probelet_protocol::name::PLAN_ANNOTATION;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(300);
/// Where the bare client writes: as long a text, in a place that nobody heeds, but that the webhook's identity may write.
const BARE_ANNOTATION: &str = "probelet.io/bench";

/// What is there to be edited, and around it.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Pods that the edited marker selects.
    pub edited: usize,
    /// Pods of other markers.
    pub others: usize,
    /// Markers in all.
    pub markers: usize,
}

/// Prints the webhook's memory, and Pods a second for each number of workers.
///
/// # Errors
/// Where an edit does not reach all Pods.
pub async fn run(town: &Town, binary: &Path, crowd: Crowd, workers: &[usize]) -> Result<()> {
    let (replica, _) = Replica::webhook(&town.plane, binary, Cores::All).await?;
    replica.register(&town.client).await?;
    eprintln!("bench: making {crowd:?}");
    populate(town, crowd).await?;
    drop(replica);
    let (replica, ready) = Replica::webhook(&town.plane, binary, Cores::All).await?;
    replica.register(&town.client).await?;
    let (resident, _) = replica.resident()?;
    let pods = crowd.edited + crowd.others;
    println!(
        "{pods} Pods, {} markers: ready {:.0} ms after start, resident {resident} KiB",
        crowd.markers,
        ready.as_secs_f64() * 1e3
    );
    println!(
        "an edit of a marker of {} running Pods, Pods a second by workers; the bare client as many at once; both until a watcher has seen all, the webhook watching too",
        crowd.edited
    );
    for (turn, count) in workers.iter().enumerate() {
        set_workers(town, &replica, *count).await?;
        let period = turn + 2;
        let text = format!("\"periodSeconds\":{period}");
        let ticks = replica.ticks()?;
        let seen = watch_all(town, PLAN_ANNOTATION, text, crowd.edited);
        let begin = Instant::now();
        town.marker(NAMESPACE, MARKER, period).await?;
        let ours = seen.await??.saturating_duration_since(begin);
        let between = replica.ticks()?;
        let note = format!("turn {turn}");
        let seen = watch_all(town, BARE_ANNOTATION, note.clone(), crowd.edited);
        let begin = Instant::now();
        bare_writes(town, crowd.edited, *count, &note).await?;
        let bare = seen.await??.saturating_duration_since(begin);
        let after = replica.ticks()?;
        let rate = |took: Duration| crowd.edited as f64 / took.as_secs_f64();
        let each = |ticks: u64| ticks as f64 * 10.0 / crowd.edited as f64;
        println!(
            "  {count:2} workers {:6.0}   bare client {:6.0}   ratio {:.2}   webhook's CPU a Pod {:.2} ms, while it only watches {:.2} ms",
            rate(ours),
            rate(bare),
            rate(ours) / rate(bare),
            each(between - ticks),
            each(after - between),
        );
    }
    println!("  resident afterwards {} KiB", replica.resident()?.0);
    Ok(())
}

async fn populate(town: &Town, crowd: Crowd) -> Result<()> {
    town.pods(NAMESPACE, MARKER, crowd.edited).await?;
    let others = crowd.markers.saturating_sub(1).max(1);
    for index in 0..others {
        let marker = format!("other-{index}");
        town.marker(NAMESPACE, &marker, 1).await?;
        // The rest goes to the last ones.
        let share = crowd.others * (index + 1) / others - crowd.others * index / others;
        town.pods(NAMESPACE, &marker, share).await?;
    }
    Ok(())
}

async fn set_workers(town: &Town, replica: &Replica, count: usize) -> Result<()> {
    let api = Api::<ConfigMap>::namespaced(town.client.clone(), "probelet-system");
    let config = api.get("probelet-config").await?.data.unwrap_or_default();
    let text = config.get("config.yaml").context("no config.yaml")?;
    let kept: Vec<_> = text.lines().filter(|line| !line.starts_with("workers:")).collect();
    let text = format!("{}\nworkers: {count}\n", kept.join("\n"));
    let patch = Patch::Merge(json!({"data": {"config.yaml": text}}));
    api.patch("probelet-config", &PatchParams::default(), &patch).await?;
    let begin = Instant::now();
    let wanted = format!("probelet_queue_workers{{queue=\"pods\"}} {count}");
    while !replica.get("/metrics").lines().any(|line| line == wanted) {
        if begin.elapsed() > PATIENCE {
            bail!("the webhook did not take {count} workers; its metrics:\n{}", replica.get("/metrics"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The watch of [`all_have`], on its way.
fn watch_all(town: &Town, annotation: &'static str, text: String, count: usize) -> JoinHandle<Result<Instant>> {
    tokio::spawn(all_have(town.client.clone(), annotation, text, count))
}

/// When `count` Pods had this text in that annotation.
async fn all_have(client: Client, annotation: &'static str, text: String, count: usize) -> Result<Instant> {
    let api = Api::<PartialObjectMeta<Pod>>::namespaced(client, NAMESPACE);
    let config = watcher::Config::default().labels(&format!("app={MARKER}"));
    let mut events = pin!(watcher::watcher(api, config));
    let mut have = BTreeSet::new();
    let search = async {
        while let Some(event) = events.next().await {
            let (watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) = event? else { continue };
            if pod.annotations().get(annotation).is_some_and(|found| found.contains(&text)) {
                have.insert(pod.name_any());
            }
            if have.len() == count {
                return Ok(Instant::now());
            }
        }
        bail!("the watch ended")
    };
    tokio::time::timeout(PATIENCE, search).await.with_context(|| format!("not all {count} Pods within {PATIENCE:?}"))?
}

async fn bare_writes(town: &Town, count: usize, at_once: usize, note: &str) -> Result<()> {
    // The same identity, so that the same rules are asked whether it may.
    let api = Api::<Pod>::namespaced(town.plane.client_of(WEBHOOK).await?, NAMESPACE);
    let selected = ListParams::default().labels(&format!("app={MARKER}"));
    let found = api.list_metadata(&selected).await?.items;
    let text = found.first().and_then(|pod| pod.annotations().get(PLAN_ANNOTATION)).cloned().unwrap_or_default();
    let text = format!("{note} {text}");
    stream::iter(found.iter().take(count))
        .map(|pod| {
            let (api, text) = (api.clone(), &text);
            async move {
                let metadata = json!({"uid": pod.uid(), "annotations": {BARE_ANNOTATION: text}});
                let patch = Patch::Merge(json!({"metadata": metadata}));
                api.patch_metadata(&pod.name_any(), &PatchParams::default(), &patch).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(at_once)
        .try_collect::<()>()
        .await
}
