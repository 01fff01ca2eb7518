//! What a watcher saw of the marks of a namespace's Pods, one entry a change.

use crate::marker;
use crate::pod::{HTTP, has_condition, has_label};
use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The condition that [`probe`] writes.
pub const CONDITION: &str = "games.example/Healthy";
/// The label that [`probe`] writes: `true` or `false`; while healthy also an annotation.
pub const LABEL: &str = "games.example/healthy";

/// The marks of one Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Condition, label and annotation are all as for this health.
    Whole(bool),
    /// Something is missing or of another state.
    Broken,
}

/// From when on marks were seen like that.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// When the watcher got it.
    pub at: Instant,
    /// The marks.
    pub marks: Marks,
}

type Seen = BTreeMap<String, Vec<Entry>>;

/// Every Pod's entries so far.
#[derive(Clone)]
pub struct History {
    seen: watch::Receiver<Seen>,
}

/// The probe of the test application's health that [`History`] knows.
pub fn probe() -> Value {
    marker::probe("healthy", json!({"httpGet": {"port": HTTP, "path": "/health"}}), CONDITION, LABEL)
}

/// The marks of a Pod as they are.
pub fn marks(pod: &Pod) -> Marks {
    let has_annotation = pod.annotations().contains_key(&format!("{LABEL}-healthy"));
    for (healthy, status, value) in [(true, "True", "true"), (false, "False", "false")] {
        if has_condition(pod, CONDITION, status) && has_label(pod, LABEL, value) && has_annotation == healthy {
            return Marks::Whole(healthy);
        }
    }
    Marks::Broken
}

impl History {
    /// Watches all Pods of a namespace from now on.
    pub fn start(client: Client, namespace: &str) -> Self {
        let (sender, seen) = watch::channel(Seen::new());
        let pods = Api::<Pod>::namespaced(client, namespace);
        tokio::spawn(async move {
            let mut version = "0".to_owned();
            while !sender.is_closed() {
                match pods.watch(&WatchParams::default().timeout(290), &version).await {
                    Ok(stream) => follow(stream, &sender, &mut version).await,
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Self { seen }
    }

    /// How many entries a Pod has.
    pub fn len(&self, pod: &str) -> usize {
        self.seen.borrow().get(pod).map_or(0, Vec::len)
    }

    /// A Pod's entries from the given one on.
    pub fn since(&self, pod: &str, index: usize) -> Vec<Entry> {
        self.seen.borrow().get(pod).and_then(|entries| entries.get(index..)).unwrap_or_default().to_vec()
    }

    /// The first entry from `index` on that is `wanted`, and its index; waits until `deadline` for it.
    pub async fn find(
        &mut self,
        pod: &str,
        index: usize,
        deadline: Instant,
        wanted: impl Fn(Marks) -> bool,
    ) -> Result<Option<(usize, Entry)>> {
        let place = |seen: &Seen| {
            let entries = seen.get(pod).and_then(|entries| entries.get(index..)).unwrap_or_default();
            entries.iter().position(|entry| wanted(entry.marks)).map(|place| (index + place, entries[place]))
        };
        let met = self.seen.wait_for(|seen| place(seen).is_some());
        match tokio::time::timeout_at(deadline.into(), met).await {
            Ok(seen) => {
                let seen = seen.context("the watch of the Pods ended")?;
                Ok(place(&seen))
            }
            Err(_) => Ok(None),
        }
    }

    /// The same where it has to come.
    pub async fn until(&mut self, pod: &str, index: usize, limit: Duration, wanted: Marks) -> Result<(usize, Entry)> {
        match self.find(pod, index, Instant::now() + limit, |marks| marks == wanted).await? {
            Some(found) => Ok(found),
            None => bail!("{pod}: marks were not seen as {wanted:?} within {limit:?}: {:?}", self.since(pod, index)),
        }
    }
}

async fn follow(
    stream: impl futures_util::Stream<Item = kube::Result<WatchEvent<Pod>>>,
    sender: &watch::Sender<Seen>,
    version: &mut String,
) {
    let mut stream = pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => {
                *version = pod.resource_version().unwrap_or_default();
                note(sender, &pod);
            }
            Ok(WatchEvent::Deleted(_) | WatchEvent::Bookmark(_)) => {}
            Ok(WatchEvent::Error(_)) | Err(_) => {
                // Too old, or broken: from the present state on.
                *version = "0".to_owned();
                return;
            }
        }
    }
}

fn note(sender: &watch::Sender<Seen>, pod: &Pod) {
    let entry = Entry { at: Instant::now(), marks: marks(pod) };
    sender.send_if_modified(|seen| {
        let entries = seen.entry(pod.name_any()).or_default();
        let is_new = entries.last().is_none_or(|last| last.marks != entry.marks);
        if is_new {
            entries.push(entry);
        }
        is_new
    });
}
