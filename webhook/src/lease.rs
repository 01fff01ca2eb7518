//! Who runs the controllers: a Lease, decided by a state machine without clock or I/O. A term ends by the own clock
//! before others may begin theirs, and every write asks first, so that one who was stopped for a minute writes nothing
//! after (fault F21).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub mod elect;

/// How long a holder that says nothing keeps the Lease.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often the holder says that it is alive, and others look.
pub const RENEWAL: Duration = Duration::from_secs(2);

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty: nobody.
    pub holder: String,
    /// How long, without a renewal.
    pub duration: Duration,
    /// Anything that changes with every renewal.
    pub version: String,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Write ourselves into it.
    Acquire,
    /// Renew our hold.
    Renew,
    /// Leave it to the holder.
    Wait,
}

/// One replica's view of the Lease.
#[derive(Debug)]
pub struct Election {
    identity: String,
    seen: Option<(Record, Instant)>,
    term: Term,
}

/// Whether we lead, and for how long that is certain. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Term {
    until: Arc<Mutex<Option<Instant>>>,
}

// === impl Election ===

impl Election {
    /// Nothing seen yet.
    pub fn new(identity: String) -> Self {
        Self { identity, seen: None, term: Term::default() }
    }

    /// Our term, for those who write.
    pub fn term(&self) -> Term {
        self.term.clone()
    }

    /// What to do, having read this at that time. A silent holder is judged by our own clock, from when we first saw
    /// its last renewal: clocks of two replicas are never compared.
    pub fn decide(&mut self, record: Option<Record>, now: Instant) -> Act {
        let Some(record) = record else { return Act::Acquire };
        if record.holder == self.identity {
            return Act::Renew;
        }
        self.term.end();
        if record.holder.is_empty() {
            return Act::Acquire;
        }
        let first_seen = match &self.seen {
            Some((seen, at)) if *seen == record => *at,
            _ => {
                self.seen = Some((record.clone(), now));
                now
            }
        };
        if now.duration_since(first_seen) > record.duration.max(Duration::from_secs(1)) {
            Act::Acquire
        } else {
            Act::Wait
        }
    }

    /// Our write, begun at that time, was taken.
    pub fn held(&mut self, begun: Instant) {
        self.seen = None;
        self.term.extend(begun + DURATION);
    }

    /// Somebody else was faster.
    pub fn lost(&mut self) {
        self.term.end();
    }
}

// === impl Term ===

impl Term {
    /// A term that never ends, for a single replica.
    pub fn forever() -> Self {
        let term = Self::default();
        term.extend(Instant::now() + Duration::from_secs(100 * 365 * 24 * 3600));
        term
    }

    /// Whether a request that begins now and takes `longest` ends within the term.
    pub fn allows(&self, now: Instant, longest: Duration) -> bool {
        self.lock().is_some_and(|until| now + longest <= until)
    }

    /// When it ends, unless it is extended.
    pub fn until(&self) -> Option<Instant> {
        *self.lock()
    }

    fn extend(&self, until: Instant) {
        *self.lock() = Some(until);
    }

    fn end(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
