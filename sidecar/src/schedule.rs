//! When a probe runs next. All times are durations since one fixed origin of a monotonic clock, so a step of the wall
//! clock moves nothing.

use std::time::Duration;

/// The ticks of one probe.
///
/// kubelet and kruise-daemon wait a random part of a period before the first run, because they start the probes of many
/// Pods at once (kubernetes/kubernetes:pkg/kubelet/prober/worker.go `run`). A sidecar starts with its own Pod only, and
/// the first result should come at once: here the first run is immediate, and the random part goes into the second tick,
/// which comes after half a period to a whole one. That spreads the probes of a Pod, and those of Pods that start
/// together, from then on.
#[derive(Clone, Debug)]
pub struct Schedule {
    period: Duration,
    next: Duration,
    spread: Option<f64>,
}

impl Schedule {
    /// The first tick is `start`. `spread` is random, from 0 to 1.
    pub fn new(start: Duration, period: Duration, spread: f64) -> Self {
        Self { period, next: start, spread: Some(spread.clamp(0.0, 1.0)) }
    }

    /// The tick that is due next.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// A run was made. Ticks keep their phase; ticks that passed during a long run are dropped but for one, as Go's
    /// ticker does.
    pub fn ran(&mut self, started: Duration) {
        if let Some(spread) = self.spread.take() {
            self.next = started + self.period.div_f64(2.0) + self.period.mul_f64(spread / 2.0);
            return;
        }
        let behind = started.saturating_sub(self.next).as_nanos() / self.period.as_nanos().max(1);
        let behind = u32::try_from(behind).unwrap_or(u32::MAX);
        self.next += self.period.saturating_mul(behind.saturating_add(1));
    }

    /// The next run is now; the period counts from it, as kubelet's manual trigger does.
    pub fn hurry(&mut self, now: Duration) {
        self.next = self.next.min(now);
    }

    /// The first tick is at `at`, whatever was guessed before. Where a run was made already, nothing may run before.
    pub fn start_at(&mut self, at: Duration) {
        self.next = if self.spread.is_some() { at } else { self.next.max(at) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_run_is_immediate_and_the_second_spread() {
        for (spread, second) in [(0.0, 500), (0.5, 750), (1.0, 1000)] {
            let mut schedule = Schedule::new(ms(7), ms(1000), spread);
            assert_eq!(schedule.next(), ms(7));
            schedule.ran(ms(7));
            assert_eq!(schedule.next(), ms(7 + second));
            schedule.ran(ms(7 + second));
            assert_eq!(schedule.next(), ms(7 + second + 1000));
        }
    }

    #[test]
    fn ticks_keep_their_phase_and_long_runs_drop_all_but_one() {
        let mut schedule = Schedule::new(ms(0), ms(100), 1.0);
        schedule.ran(ms(0));
        schedule.ran(ms(100));
        // This run began at 200 and took 350 ms: the tick of 300 is still due, at once.
        schedule.ran(ms(200));
        assert_eq!(schedule.next(), ms(300));
        schedule.ran(ms(550));
        assert_eq!(schedule.next(), ms(600));
    }

    #[test]
    fn a_hurried_run_moves_the_phase_and_a_hold_only_delays() {
        let mut schedule = Schedule::new(ms(0), ms(100), 1.0);
        schedule.ran(ms(0));
        schedule.hurry(ms(30));
        schedule.ran(ms(30));
        assert_eq!(schedule.next(), ms(130));
        schedule.start_at(ms(90));
        assert_eq!(schedule.next(), ms(130));
        schedule.start_at(ms(500));
        assert_eq!(schedule.next(), ms(500));
        let mut unrun = Schedule::new(ms(1000), ms(100), 1.0);
        unrun.start_at(ms(90));
        assert_eq!(unrun.next(), ms(90));
    }
}
