//! What a watcher of the demo's Pods sees.

use super::{CONDITION, LABEL, flip};
use anyhow::{Result, bail};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;

/// A Pod at one moment.
#[derive(Clone, Debug)]
pub(super) struct Glimpse {
    pub(super) pod: String,
    pub(super) containers: usize,
    label: Option<String>,
    condition: Option<String>,
    /// The machine's monotonic clock, in nanoseconds, when the watcher had it.
    pub(super) seen_ns: i64,
}

/// All changes, in order.
pub(super) struct View {
    glimpses: mpsc::Receiver<Glimpse>,
}

impl View {
    pub(super) fn start(client: Client, namespace: &str) -> Self {
        let (sender, glimpses) = mpsc::channel(1024);
        let pods = Api::<Pod>::namespaced(client, namespace);
        tokio::spawn(async move {
            while let Ok(stream) = pods.watch(&WatchParams::default().timeout(290), "0").await {
                let mut stream = pin!(stream);
                while let Some(Ok(event)) = stream.next().await {
                    let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else { continue };
                    if sender.send(Glimpse::of(&pod)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Self { glimpses }
    }

    /// Waits until a Pod (that one, or any) has the label with this value and the condition that belongs to it.
    pub(super) async fn marked(&mut self, pod: Option<&str>, value: &str, deadline: Duration) -> Result<Glimpse> {
        let mut last = None;
        let wait = async {
            while let Some(glimpse) = self.glimpses.recv().await {
                if pod.is_none_or(|pod| pod == glimpse.pod) && glimpse.is_marked(value) {
                    return Some(glimpse);
                }
                last = Some(glimpse);
            }
            None
        };
        match tokio::time::timeout(deadline, wait).await {
            Ok(Some(glimpse)) => Ok(glimpse),
            Ok(None) => bail!("the watch ended"),
            Err(_) => bail!(
                "label {LABEL} was not {value} within {} s; last seen: {}",
                deadline.as_secs(),
                last.map_or("no Pod".to_owned(), |glimpse| format!("{}, {}", glimpse.pod, glimpse.marks()))
            ),
        }
    }
}

impl Glimpse {
    fn of(pod: &Pod) -> Self {
        let seen_ns = flip::now_ns();
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        Self {
            pod: pod.name_any(),
            containers: pod.spec.as_ref().map_or(0, |spec| spec.containers.len()),
            label: pod.labels().get(LABEL).cloned(),
            condition: conditions.filter(|condition| condition.type_ == CONDITION).map(|one| one.status.clone()).next(),
            seen_ns,
        }
    }

    fn is_marked(&self, value: &str) -> bool {
        let status = if value == "true" { "True" } else { "False" };
        self.label.as_deref() == Some(value) && self.condition.as_deref() == Some(status)
    }

    /// Label and condition in words.
    pub(super) fn marks(&self) -> String {
        let or = |text: &Option<String>| text.clone().unwrap_or("absent".to_owned());
        format!("label {LABEL}={}, condition {CONDITION}={}", or(&self.label), or(&self.condition))
    }
}
