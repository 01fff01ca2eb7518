//! A work queue that keeps order per key: a key waits at most once, is worked on by one worker at a time, and one that
//! changes meanwhile is worked on again. No clock, no task: time is passed in.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

pub mod pool;

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Keys that are due now or later.
#[derive(Debug)]
pub struct Queue<K> {
    /// By time, then by order of arrival.
    order: BTreeMap<(Instant, u64), K>,
    waiting: HashMap<K, (Instant, u64)>,
    working: HashMap<K, Option<Instant>>,
    failures: HashMap<K, u32>,
    arrivals: u64,
}

/// What a worker gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take<K> {
    /// This key; `waited` since it was due.
    Key {
        /// Which.
        key: K,
        /// How long it was due.
        waited: Duration,
    },
    /// Nothing before this time.
    Until(Instant),
    /// Nothing at all.
    Empty,
}

/// How work on a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; nothing more to do until something changes.
    Done,
    /// Done, but to be looked at again after this time.
    Again(Duration),
    /// Not done; to be tried again, later each time.
    Failed,
}

// === impl Queue ===

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            order: BTreeMap::new(),
            waiting: HashMap::new(),
            working: HashMap::new(),
            failures: HashMap::new(),
            arrivals: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Nothing waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// A key is due at a time. One that waits already keeps the earlier time and its place.
    pub fn add(&mut self, key: K, at: Instant) {
        if let Some(again) = self.working.get_mut(&key) {
            *again = Some(again.map_or(at, |before| before.min(at)));
            return;
        }
        if let Some(place) = self.waiting.get(&key) {
            if place.0 <= at {
                return;
            }
            self.order.remove(place);
        }
        self.arrivals += 1;
        let place = (at, self.arrivals);
        self.order.insert(place, key.clone());
        self.waiting.insert(key, place);
    }

    /// The key that has been due longest. The caller must call [`Queue::finish`] with it.
    pub fn take(&mut self, now: Instant) -> Take<K> {
        let Some(first) = self.order.first_entry() else { return Take::Empty };
        let due = first.key().0;
        if due > now {
            return Take::Until(due);
        }
        let key = first.remove();
        self.waiting.remove(&key);
        self.working.insert(key.clone(), None);
        Take::Key { key, waited: now.duration_since(due) }
    }

    /// Work on a key has ended. `jitter` is from 0 to 1 and spreads the keys that failed together.
    pub fn finish(&mut self, key: &K, outcome: Outcome, now: Instant, jitter: f64) {
        let again = self.working.remove(key).flatten();
        let next = match outcome {
            Outcome::Done => {
                self.failures.remove(key);
                None
            }
            Outcome::Again(after) => {
                self.failures.remove(key);
                Some(now + after)
            }
            Outcome::Failed => {
                let failures = self.failures.entry(key.clone()).or_default();
                *failures += 1;
                Some(now + retry_after(*failures, jitter))
            }
        };
        // A change that came meanwhile does not cut a back-off short: the API server has said no.
        let at = match (outcome, next, again) {
            (Outcome::Failed, next, _) => next,
            (_, Some(next), Some(again)) => Some(next.min(again)),
            (_, next, again) => next.or(again),
        };
        if let Some(at) = at {
            self.add(key.clone(), at);
        }
    }

    /// Keys that are due, not those that wait for a later time.
    pub fn due(&self, now: Instant) -> usize {
        self.order.range(..=(now, u64::MAX)).count()
    }

    /// Keys that wait, for now or for later.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing waits and nothing is worked on.
    pub fn is_idle(&self) -> bool {
        self.order.is_empty() && self.working.is_empty()
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// Doubles from half a second to a minute; half of it is jitter.
fn retry_after(failures: u32, jitter: f64) -> Duration {
    let whole = FIRST_RETRY.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_RETRY);
    whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests;
