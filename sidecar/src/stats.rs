//! Counters and states, for `/metrics` and nothing else.

use crate::outcome::Outcome;
use crate::threshold::ProbeState;
use probelet_protocol::plan::ProbeId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Totals since the start. All relaxed: they are told, never decided on.
#[derive(Debug, Default)]
pub struct Stats {
    /// Runs by result: success, failure, error.
    pub runs: [AtomicU64; 3],
    /// Nanoseconds that runs took, all together.
    pub run_nanos: AtomicU64,
    /// State changes.
    pub transitions: AtomicU64,
    /// Patches that wrote something.
    pub patches: AtomicU64,
    /// Patches that only looked.
    pub looks: AtomicU64,
    /// Requests that did not go through.
    pub failures: AtomicU64,
    /// Overwrites of marks that were seen.
    pub overwrites: AtomicU64,
    /// Patches that put marks back.
    pub heals: AtomicU64,
    /// Keys that the API server refuses now.
    pub refused: AtomicU64,
    /// Nanoseconds from verdict to accepted patch, all together, and how many.
    pub mark_nanos: AtomicU64,
    /// How many marks [`Self::mark_nanos`] is about.
    pub marks: AtomicU64,
    /// 1 while marks are overwritten again and again.
    pub war: AtomicU64,
    /// What each probe has settled on, as far as it has.
    states: Mutex<BTreeMap<ProbeId, ProbeState>>,
}

impl Stats {
    /// One run ended.
    pub fn ran(&self, result: &Result<&Outcome, ()>, latency: Duration) {
        let index = match result {
            Ok(Outcome::Success(_)) => 0,
            Ok(Outcome::Failure(_)) => 1,
            Err(()) => 2,
        };
        add(&self.runs[index], 1);
        add(&self.run_nanos, nanos(latency));
    }

    /// A probe has settled on a state.
    pub fn settled(&self, id: &ProbeId, state: ProbeState) {
        self.states().insert(id.clone(), state);
    }

    /// A probe is no more.
    pub fn forget(&self, id: &ProbeId) {
        self.states().remove(id);
    }

    /// What each probe has settled on.
    pub fn states(&self) -> MutexGuard<'_, BTreeMap<ProbeId, ProbeState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A verdict was written, this long after it was reached.
    pub fn marked(&self, latency: Duration) {
        add(&self.marks, 1);
        add(&self.mark_nanos, nanos(latency));
    }
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Relaxed);
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
