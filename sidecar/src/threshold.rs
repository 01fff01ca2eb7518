//! From single runs to a settled state.

use crate::timing::Timing;
use std::time::Duration;

/// What a probe has settled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeState {
    /// As many successes in a row as asked for.
    Succeeded,
    /// As many failures in a row as asked for, or the container does not run.
    Failed,
    /// The probe could not be run for longer than its failure threshold.
    Unknown,
}

/// One run, as far as counting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The handler succeeded.
    Success,
    /// The handler failed.
    Failure,
    /// The handler could not run.
    Error,
}

/// Counts runs of one probe. As kubernetes/kubernetes:pkg/kubelet/prober/worker.go and
/// openkruise/kruise:pkg/daemon/podprobe/worker.go `doProbe`: results below their threshold leave the state as it is,
/// and a run that could not be made counts neither way. Beyond them, errors that go on for longer than the failure
/// threshold (one more in a row than it, and at least [`SHORTEST_UNKNOWN`]) settle on Unknown.
#[derive(Clone, Debug)]
pub struct Threshold {
    success: u32,
    failure: u32,
    last: Option<Run>,
    count: u32,
    errors: u32,
    errors_since: Duration,
}

/// Errors that last less than this never make a state Unknown, however short the period is.
pub const SHORTEST_UNKNOWN: Duration = Duration::from_secs(1);

// === impl ProbeState ===

impl ProbeState {
    /// The word for logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

// === impl Threshold ===

impl Threshold {
    /// Nothing counted yet.
    pub fn new(timing: &Timing) -> Self {
        Self {
            success: timing.success_threshold,
            failure: timing.failure_threshold,
            last: None,
            count: 0,
            errors: 0,
            errors_since: Duration::ZERO,
        }
    }

    /// Counts one run that ended at `now` (since any fixed origin). The state that this run establishes or confirms;
    /// `None` leaves the state as it is.
    pub fn record(&mut self, run: Run, now: Duration) -> Option<ProbeState> {
        if run == Run::Error {
            if self.errors == 0 {
                self.errors_since = now;
            }
            self.errors = self.errors.saturating_add(1);
            let lasting = now.saturating_sub(self.errors_since) >= SHORTEST_UNKNOWN;
            return (self.errors > self.failure && lasting).then_some(ProbeState::Unknown);
        }
        self.errors = 0;
        if self.last == Some(run) {
            self.count = self.count.saturating_add(1);
        } else {
            self.last = Some(run);
            self.count = 1;
        }
        match run {
            Run::Success => (self.count >= self.success).then_some(ProbeState::Succeeded),
            _ => (self.count >= self.failure).then_some(ProbeState::Failed),
        }
    }

    /// How many runs in a row said the same as the last one.
    pub fn count(&self) -> u32 {
        if self.errors > 0 { self.errors } else { self.count }
    }

    /// Starts again from nothing, with these thresholds: the container is a new one, or the plan was edited.
    pub fn reset(&mut self, timing: &Timing) {
        *self = Self::new(timing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(success: u32, failure: u32, runs: &str) -> String {
        let timing = Timing {
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            success_threshold: success,
            failure_threshold: failure,
        };
        let mut threshold = Threshold::new(&timing);
        let run = |(second, letter)| {
            let run = match letter {
                's' => Run::Success,
                'f' => Run::Failure,
                _ => Run::Error,
            };
            match threshold.record(run, Duration::from_secs(second)) {
                None => '.',
                Some(ProbeState::Succeeded) => 'S',
                Some(ProbeState::Failed) => 'F',
                Some(ProbeState::Unknown) => 'U',
            }
        };
        (0..).zip(runs.chars()).map(run).collect()
    }

    #[test]
    fn runs_below_threshold_keep_the_state() {
        for (success, failure, runs, expected) in [
            (1, 1, "sfsf", "SFSF"),
            (1, 3, "sffsfff", "S..S..F"),
            (3, 1, "ssfsss", "..F..S"),
            (2, 2, "sfsfss", ".....S"),
            (1, 3, "fffff", "..FFF"),
            // An error counts neither way: the failures before and after it are in a row.
            (1, 3, "ffef", "...F"),
            (2, 1, "ses", "..S"),
        ] {
            assert_eq!(states(success, failure, runs), expected, "{success}/{failure} {runs}");
        }
    }

    #[test]
    fn errors_settle_on_unknown_when_they_outlast_the_failure_threshold() {
        for (failure, runs, expected) in
            [(1, "eee", ".UU"), (3, "eeeee", "...UU"), (1, "seeseeS", "S.US.U."), (1, "ese", ".S.")]
        {
            assert_eq!(states(1, failure, &runs.to_lowercase())[..expected.len() - 1], expected[..expected.len() - 1]);
        }
    }

    #[test]
    fn errors_of_a_moment_are_no_unknown_state_at_short_periods() {
        let timing = Timing {
            initial_delay: Duration::ZERO,
            period: Duration::from_millis(50),
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 1,
        };
        let mut threshold = Threshold::new(&timing);
        let unknown_at =
            (0..100).map(|i| Duration::from_millis(50 * i)).find(|now| threshold.record(Run::Error, *now).is_some());
        assert_eq!(unknown_at, Some(SHORTEST_UNKNOWN));
    }
}
