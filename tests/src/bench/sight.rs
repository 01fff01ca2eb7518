//! What a watcher of Pods sees, and when.

use super::local::LABEL;
use anyhow::{Result, bail};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The bench label of each Pod, with the moment at which that value was first seen.
pub struct Sight {
    seen: watch::Receiver<BTreeMap<String, (String, Instant)>>,
}

impl Sight {
    /// Watches all Pods of a namespace from now on.
    pub fn start(client: Client, namespace: &str) -> Self {
        let (sender, seen) = watch::channel(BTreeMap::new());
        let pods = Api::<Pod>::namespaced(client, namespace);
        tokio::spawn(async move {
            while !sender.is_closed() {
                let Ok(stream) = pods.watch(&WatchParams::default().timeout(290), "0").await else { break };
                let mut stream = pin!(stream);
                while let Some(Ok(event)) = stream.next().await {
                    let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else { continue };
                    note(&sender, &pod);
                }
            }
        });
        Self { seen }
    }

    /// When the Pod's label was first seen with this value, after at most `deadline`.
    pub async fn of(&mut self, pod: &str, value: &str, deadline: Duration) -> Result<Instant> {
        let seen = self.seen.wait_for(|seen| seen.get(pod).is_some_and(|last| last.0 == value));
        match tokio::time::timeout(deadline, seen).await {
            Ok(seen) => Ok(seen?[pod].1),
            Err(_) => bail!("{pod}: label {LABEL} was not seen as {value:?} within {deadline:?}"),
        }
    }
}

fn note(sender: &watch::Sender<BTreeMap<String, (String, Instant)>>, pod: &Pod) {
    let now = Instant::now();
    let value = pod.labels().get(LABEL).cloned().unwrap_or_default();
    sender.send_if_modified(|seen| {
        let changed = seen.get(&pod.name_any()).is_none_or(|last| last.0 != value);
        if changed {
            seen.insert(pod.name_any(), (value, now));
        }
        changed
    });
}
