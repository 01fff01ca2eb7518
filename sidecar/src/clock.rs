//! The only place that reads clocks.

use probelet_protocol::limit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The clock's zero is so long before the process's start, so that containers that are older have a time on it too: a restarted
/// sidecar must not count an initial delay again. No delay is longer.
const BEFORE: Duration = Duration::from_secs(limit::SECONDS as u64);

/// A monotonic clock. Steps of the wall clock do not move it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A day is past now.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { origin: now.checked_sub(BEFORE).unwrap_or(now) }
    }

    /// Time since its zero.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Waits until a time of this clock; for ever where there is none.
    pub async fn sleep_until(&self, at: Option<Duration>) {
        match at {
            Some(at) => tokio::time::sleep_until(self.origin + at).await,
            None => std::future::pending().await,
        }
    }

    /// The wall clock in whole seconds since 1970, for times that go into conditions.
    pub fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
    }
}
