//! What Prometheus reads. Names begin with `probelet_`; labels have few values, never names of Pods or namespaces.

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

type Seconds = Gauge<f64, AtomicU64>;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    requests: Family<Admission, Counter>,
    latency: Family<Operation, Histogram, fn() -> Histogram>,
    patch: Histogram,
    expiry: Seconds,
    leader: Gauge,
    workers: Family<Queue, Gauge>,
    depth: Family<Queue, Gauge>,
    wait: Family<Queue, Histogram, fn() -> Histogram>,
    work: Family<QueueResult, Histogram, fn() -> Histogram>,
    watch: Family<Watch, Seconds>,
    watch_errors: Family<Watch, Counter>,
    events: Family<Reason, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Admission {
    operation: &'static str,
    result: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueResult {
    queue: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watch {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

fn quick() -> Histogram {
    Histogram::new([0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0])
}

fn slow() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0])
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("probelet"),
            requests: Family::default(),
            latency: Family::new_with_constructor(quick),
            patch: Histogram::new([256.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 65536.0]),
            expiry: Seconds::default(),
            leader: Gauge::default(),
            workers: Family::default(),
            depth: Family::default(),
            wait: Family::new_with_constructor(slow),
            work: Family::new_with_constructor(slow),
            watch: Family::default(),
            watch_errors: Family::default(),
            events: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("admission_requests", "Admission requests by operation, result and reason", self.requests.clone());
        r.register("admission_duration_seconds", "From a whole request to its answer", self.latency.clone());
        r.register("admission_patch_bytes", "Size of patches", self.patch.clone());
        r.register("certificate_expiry_timestamp_seconds", "End of the serving certificate", self.expiry.clone());
        r.register("leader", "1 in the replica whose controllers run", self.leader.clone());
        r.register("queue_workers", "Workers of a queue", self.workers.clone());
        r.register("queue_depth", "Keys that wait in a queue", self.depth.clone());
        r.register("queue_wait_seconds", "From when a key was due to when it was worked on", self.wait.clone());
        r.register("queue_work_seconds", "Time of work on one key, by result", self.work.clone());
        r.register("watch_last_event_timestamp_seconds", "When a watch last brought something", self.watch.clone());
        r.register("watch_errors", "Watches that broke off or could not be opened", self.watch_errors.clone());
        r.register("events", "Kubernetes Events written, by reason", self.events.clone());
    }

    /// An admission request was answered.
    pub fn admitted(&self, operation: &'static str, result: &'static str, reason: &'static str, took: Duration) {
        self.requests.get_or_create(&Admission { operation, result, reason }).inc();
        self.latency.get_or_create(&Operation { operation }).observe(took.as_secs_f64());
    }

    /// A patch of this size was sent.
    pub fn patched(&self, bytes: usize) {
        self.patch.observe(bytes as f64);
    }

    /// The serving certificate ends then.
    pub fn expires(&self, at: SystemTime) {
        self.expiry.set(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A watch brought something, or an error.
    pub fn watched(&self, kind: &'static str, good: bool) {
        if good {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            self.watch.get_or_create(&Watch { kind }).set(now);
        } else {
            self.watch_errors.get_or_create(&Watch { kind }).inc();
        }
    }

    /// How a queue stands.
    pub fn queue(&self, queue: &'static str, workers: usize, waiting: usize) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.workers.get_or_create(&Queue { queue }).set(count(workers));
        self.depth.get_or_create(&Queue { queue }).set(count(waiting));
    }

    /// A key was worked on.
    pub fn worked(&self, queue: &'static str, result: &'static str, waited: Duration, took: Duration) {
        self.wait.get_or_create(&Queue { queue }).observe(waited.as_secs_f64());
        self.work.get_or_create(&QueueResult { queue, result }).observe(took.as_secs_f64());
    }

    /// A Kubernetes Event was written.
    pub fn event(&self, reason: &'static str) {
        self.events.get_or_create(&Reason { reason }).inc();
    }

    /// In Prometheus' text form.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_as_documented() {
        let metrics = Metrics::new();
        metrics.admitted("mutate-pod", "patched", "", Duration::from_micros(300));
        metrics.queue("pods", 3, 7);
        metrics.expires(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let text = metrics.text();
        for line in [
            r#"probelet_admission_requests_total{operation="mutate-pod",result="patched",reason=""} 1"#,
            r#"probelet_queue_depth{queue="pods"} 7"#,
            r#"probelet_queue_workers{queue="pods"} 3"#,
            "probelet_certificate_expiry_timestamp_seconds 1800000000.0",
            r#"probelet_admission_duration_seconds_bucket{le="0.0005",operation="mutate-pod"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
