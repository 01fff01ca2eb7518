//! Transitions as Events of the Pod, on request. Best effort: a task and a connection of its own, so that a cluster which
//! refuses or loses them does not delay a mark.

use crate::api::{Api, Call, IDLE};
use crate::clock::Clock;
use crate::config::PodName;
use crate::patch::rfc3339;
use crate::repeat::Repeat;
use crate::threshold::ProbeState;
use crate::worker::Report;
use hyper::Method;
use probelet_protocol::limit::cut_message;
use probelet_protocol::name::FIELD_MANAGER;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Transitions that may wait; more are dropped.
pub const WAITING: usize = 16;

/// Writes Events.
pub struct Events {
    api: Api,
    pod: PodName,
    clock: Clock,
    reports: mpsc::Receiver<Report>,
}

// === impl Events ===

impl Events {
    /// `api` is for Events alone.
    pub fn new(api: Api, pod: PodName, clock: Clock, reports: mpsc::Receiver<Report>) -> Self {
        Self { api, pod, clock, reports }
    }

    /// Writes until nobody reports any more.
    pub async fn run(mut self) {
        let mut repeat = Repeat::default();
        loop {
            let report = match timeout(IDLE, self.reports.recv()).await {
                Ok(Some(report)) => report,
                Ok(None) => return,
                Err(_) => {
                    self.api.close();
                    continue;
                }
            };
            let path = format!("/api/v1/namespaces/{}/events?fieldManager={FIELD_MANAGER}", self.pod.namespace);
            let body = event(&self.pod, &report).to_string().into();
            let call = Call { method: Method::POST, path, content_type: "application/json", body };
            let fault = match self.api.call(&call).await {
                Ok(answer) if answer.status < 300 => continue,
                Ok(answer) => format!("answer {}", answer.status),
                Err(error) => error.to_string(),
            };
            if let Some(left_out) = repeat.may("event", self.clock.now()) {
                tracing::warn!(error = fault, left_out, "an Event was not taken; it needs the verb create on events");
            }
        }
    }
}

/// A core/v1 Event, named as client-go names them: the object and a number that does not repeat.
fn event(pod: &PodName, report: &Report) -> Value {
    let (id, verdict) = (&report.id, &report.verdict);
    let kind = if verdict.state == ProbeState::Succeeded { "Normal" } else { "Warning" };
    let at = rfc3339(report.probed);
    json!({
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": format!("{}.{:x}{:08x}", pod.name, report.probed, report.at.subsec_nanos()), "namespace": pod.namespace},
        "involvedObject": {"kind": "Pod", "apiVersion": "v1", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
        "reason": verdict.reason,
        "message": format!("{} of container {}: {}", id.name, id.container, cut_message(&verdict.message)),
        "type": kind,
        "count": 1,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::Verdict;
    use probelet_protocol::plan::ProbeId;
    use std::time::Duration;

    #[test]
    fn an_event_names_its_pod_probe_and_container() {
        let pod = PodName { namespace: "games".into(), name: "game-0".into(), uid: "u1".into() };
        let verdict = Verdict { state: ProbeState::Failed, reason: "ProbeFailed".into(), message: "no".into(), run: 1 };
        let report = Report {
            id: ProbeId { container: "game".into(), name: "health".into() },
            handler: "httpGet",
            verdict,
            from: None,
            since: 0,
            probed: 16,
            latency: Duration::ZERO,
            at: Duration::from_nanos(1),
        };
        let event = event(&pod, &report);
        assert_eq!(event["metadata"]["name"], "game-0.1000000001");
        assert_eq!(event["involvedObject"]["uid"], "u1");
        assert_eq!((event["type"].as_str(), event["reason"].as_str()), (Some("Warning"), Some("ProbeFailed")));
        assert_eq!(event["message"], "health of container game: no");
    }
}
