//! How long to wait after a request that did not go through: full jitter, so that sidecars that saw the same outage do
//! not come back together.

use std::time::Duration;

/// Why a request is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection, a reset or no answer in time: the API server is away.
    Unreachable,
    /// 429: it is there and has too much to do.
    Throttled,
    /// 5xx, or an answer that makes no sense: it is there and not well.
    Unwell,
    /// 401, 403: the token or the RoleBinding is not there yet.
    Forbidden,
}

/// Counts tries and gives waits.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    spread: Duration,
    tries: u32,
    /// Tries that ended in the same trouble; a wait for a server that was away says nothing about one that throttles.
    same: u32,
    trouble: Option<Trouble>,
}

/// Longest wait that a server may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

impl Trouble {
    /// First and longest upper bound of the wait. Where the server is away, a short longest wait gets a transition through
    /// within seconds of its return. Where it throttles, a herd is there: the first wait is long enough to spread ten
    /// thousand sidecars over what one API server can take.
    fn bounds(self) -> (Duration, Duration) {
        match self {
            Self::Unreachable => (Duration::from_millis(500), Duration::from_secs(4)),
            Self::Throttled => (Duration::from_secs(20), Duration::from_secs(30)),
            Self::Unwell => (Duration::from_secs(1), Duration::from_secs(30)),
            Self::Forbidden => (Duration::from_secs(1), Duration::from_secs(30)),
        }
    }
}

impl Backoff {
    /// `spread` is over how long at least the waits of a herd are spread: nobody can know by itself how many others saw the
    /// same outage.
    pub fn new(spread: Duration) -> Self {
        Self { spread, ..Self::default() }
    }

    /// The wait before the next try: a random part (`random`, 0 to 1) of a bound that doubles with each try. A
    /// Retry-After is waited in full, with the random part on top of it.
    pub fn next(&mut self, trouble: Trouble, retry_after: Option<Duration>, random: f64) -> Duration {
        let (first, longest) = trouble.bounds();
        if self.trouble.replace(trouble) != Some(trouble) {
            self.same = 0;
        }
        let mut bound = first.saturating_mul(1 << self.same.min(16)).min(longest);
        if trouble != Trouble::Forbidden {
            bound = bound.max(self.spread);
        }
        self.same = self.same.saturating_add(1);
        self.tries = self.tries.saturating_add(1);
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        asked + bound.mul_f64(random.clamp(0.0, 1.0))
    }

    /// Over how long at least a herd is spread.
    pub fn spread(&self) -> Duration {
        self.spread
    }

    /// Failed tries in a row.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// A request went through.
    pub fn reset(&mut self) {
        *self = Self::new(self.spread);
    }
}

#[cfg(test)]
mod tests;
