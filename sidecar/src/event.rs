//! Transitions, and the begin of a war, as Events of the Pod, on request. Best effort: a task and a connection of its own, so
//! that a cluster which refuses or loses them does not delay a mark.

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
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Events that may wait; more are dropped.
pub const WAITING: usize = 16;
/// A war is told once in this time: one that rests for a minute is the same one to whoever reads of it.
const WAR: Duration = Duration::from_secs(600);
/// So many Events at once, and then one in [`EVERY`]: as client-go writes them for one object
/// (kubernetes/kubernetes:staging/src/k8s.io/client-go/tools/record/events_cache.go `defaultSpamBurst`, `defaultSpamQPS`).
const BURST: u32 = 25;
const EVERY: Duration = Duration::from_secs(300);
/// After an answer that asks for patience without a time.
const PAUSE: Duration = Duration::from_secs(10);

const OVERWRITTEN: &str =
    "marks are overwritten again and again, so they are put back ever more rarely; installing the shield ends this";

/// What is told.
#[derive(Debug)]
pub enum Note {
    /// A transition, once what it writes is written.
    Transition(Report),
    /// Marks are overwritten again and again, and are put back ever more rarely.
    War,
}

/// Writes Events.
pub struct Events {
    api: Api,
    pod: PodName,
    clock: Clock,
    notes: mpsc::Receiver<Note>,
}

// === impl Events ===

impl Events {
    /// `api` is for Events alone.
    pub fn new(api: Api, pod: PodName, clock: Clock, notes: mpsc::Receiver<Note>) -> Self {
        Self { api, pod, clock, notes }
    }

    /// Writes until nobody reports any more.
    pub async fn run(mut self) {
        let mut repeat = Repeat::default();
        let (mut war, mut rate) = (None, Rate::default());
        loop {
            let note = match timeout(IDLE, self.notes.recv()).await {
                Ok(Some(note)) => note,
                Ok(None) => return,
                Err(_) => {
                    self.api.close();
                    continue;
                }
            };
            let now = self.clock.now();
            let is_wanted = !matches!(note, Note::War) || is_due(&mut war, now);
            if !is_wanted || !rate.takes(now) {
                continue;
            }
            let path = format!("/api/v1/namespaces/{}/events?fieldManager={FIELD_MANAGER}", self.pod.namespace);
            let body = event(&self.pod, &note, self.clock.wall(), now).to_string().into();
            let call = Call { method: Method::POST, path, content_type: "application/json", body };
            let fault = match self.api.call(&call).await {
                // 409: it was taken, and only the answer was lost.
                Ok(answer) if answer.status < 300 || answer.status == 409 => continue,
                Ok(answer) => {
                    if answer.status == 429 || answer.status >= 500 {
                        rate.wait(now + answer.retry_after.unwrap_or(PAUSE));
                    }
                    format!("answer {}", answer.status)
                }
                Err(error) => error.to_string(),
            };
            if let Some(left_out) = repeat.may("event", self.clock.now()) {
                tracing::warn!(error = fault, left_out, "an Event was not taken; it needs the verb create on events");
            }
        }
    }
}

/// How fast Events may be written; what comes faster is dropped.
#[derive(Default)]
struct Rate {
    /// When all that was taken is paid for, at one in [`EVERY`].
    paid: Duration,
    not_before: Duration,
}

impl Rate {
    fn takes(&mut self, now: Duration) -> bool {
        let paid = self.paid.max(now);
        let takes = now >= self.not_before && paid <= now + EVERY * (BURST - 1);
        if takes {
            self.paid = paid + EVERY;
        }
        takes
    }

    fn wait(&mut self, until: Duration) {
        self.not_before = until;
    }
}

/// Whether a war that begins now is told, given when one was told last.
fn is_due(last: &mut Option<Duration>, now: Duration) -> bool {
    let is_due = last.is_none_or(|last| now >= last + WAR);
    if is_due {
        *last = Some(now);
    }
    is_due
}

/// A core/v1 Event, named as client-go names them: the object and a number that does not repeat.
fn event(pod: &PodName, note: &Note, wall: u64, now: Duration) -> Value {
    let (kind, reason, message, second, at) = match note {
        Note::Transition(report) => {
            let (id, verdict) = (&report.id, &report.verdict);
            let kind = if verdict.state == ProbeState::Succeeded { "Normal" } else { "Warning" };
            let message = format!("{} of container {}: {}", id.name, id.container, cut_message(&verdict.message));
            (kind, verdict.reason.as_str(), message, report.probed, report.at)
        }
        Note::War => ("Warning", "MarksOverwritten", OVERWRITTEN.into(), wall, now),
    };
    let time = rfc3339(second);
    json!({
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": format!("{}.{second:x}{:08x}", pod.name, at.subsec_nanos()), "namespace": pod.namespace},
        "involvedObject": {"kind": "Pod", "apiVersion": "v1", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
        "reason": reason,
        "message": message,
        "type": kind,
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::Verdict;
    use probelet_protocol::plan::ProbeId;

    #[test]
    fn a_war_that_begins_every_minute_is_told_every_ten() {
        let mut last = None;
        let told: Vec<_> = (0..30).filter(|minute| is_due(&mut last, Duration::from_secs(minute * 60))).collect();
        assert_eq!(told, [0, 10, 20]);
    }

    #[test]
    fn a_probe_that_flaps_is_told_as_often_as_client_go_would() {
        let mut rate = Rate::default();
        let mut taken = |seconds: std::ops::Range<u64>| seconds.filter(|s| rate.takes(Duration::from_secs(*s))).count();
        assert_eq!((taken(0..299), taken(299..3600), taken(90_000..90_100)), (25, 11, 25));
        rate.wait(Duration::from_secs(200_007));
        assert!(!rate.takes(Duration::from_secs(200_006)) && rate.takes(Duration::from_secs(200_007)));
    }

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
        let war = event(&pod, &Note::War, 17, Duration::from_nanos(2));
        let event = event(&pod, &Note::Transition(report), 17, Duration::from_nanos(2));
        assert_eq!(event["metadata"]["name"], "game-0.1000000001");
        assert_eq!(event["involvedObject"]["uid"], "u1");
        assert_eq!((event["type"].as_str(), event["reason"].as_str()), (Some("Warning"), Some("ProbeFailed")));
        assert_eq!(event["message"], "health of container game: no");
        assert_eq!(war["metadata"]["name"], "game-0.1100000002");
        assert_eq!((war["type"].as_str(), war["reason"].as_str()), (Some("Warning"), Some("MarksOverwritten")));
        assert_eq!(war["lastTimestamp"], "1970-01-01T00:00:17Z");
    }
}
