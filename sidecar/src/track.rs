//! One probe's course: when it may run, and what it settles on. Pure: times go in, decisions come out; the worker runs
//! the handler.

use crate::neighbour::{Life, Neighbour};
use crate::outcome::Outcome;
use crate::schedule::Schedule;
use crate::threshold::{ProbeState, Run, SHORTEST_UNKNOWN, Threshold};
use crate::timing::Timing;
use std::time::Duration;

/// The course of one probe.
#[derive(Clone, Debug)]
pub struct Track {
    container: String,
    timing: Timing,
    has_startup_probe: bool,
    threshold: Threshold,
    schedule: Schedule,
    born: Duration,
    incarnation: Option<(String, u64)>,
    life: Option<Life>,
    is_started: bool,
    told: Option<Verdict>,
    /// What was told is a success of the container before; this one was seen then.
    outdated: Option<Duration>,
}

/// A state with its words, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: ProbeState,
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Runs in a row that agree.
    pub run: u32,
}

/// What to do with the probe now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run it at this time, or when a neighbour changes.
    RunAt(Duration),
    /// Wait until a neighbour changes.
    Hold,
}

/// Reason of Succeeded.
pub const SUCCEEDED: &str = "ProbeSucceeded";
/// Reason of Failed.
pub const FAILED: &str = "ProbeFailed";
/// Reason of Failed where the container does not run.
pub const NOT_RUNNING: &str = "ContainerNotRunning";
/// Reason of Unknown where the container is a new one of which nothing has been settled.
pub const RESTARTED: &str = "ContainerRestarted";

// === impl Track ===

impl Track {
    /// A probe of a container that is taken to be running: its initial delay counts from `now` until an observation says
    /// when it started. `spread` is random, 0 to 1.
    pub fn new(container: String, timing: Timing, has_startup_probe: bool, now: Duration, spread: f64) -> Self {
        let schedule = Schedule::new(now + timing.initial_delay, timing.period, spread);
        Self {
            container,
            timing,
            has_startup_probe,
            threshold: Threshold::new(&timing),
            schedule,
            born: now,
            incarnation: None,
            life: None,
            is_started: false,
            told: None,
            outdated: None,
        }
    }

    /// What to do next.
    pub fn next(&self) -> Next {
        if self.life == Some(Life::Ended) || self.is_held() {
            return Next::Hold;
        }
        Next::RunAt(self.schedule.next())
    }

    /// Whether it waits for the container's startupProbe.
    pub fn is_held(&self) -> bool {
        self.has_startup_probe && !self.is_started
    }

    /// The container was seen.
    ///
    /// - A new incarnation starts all counting again, and no success of the one before counts for it: worker.go `doProbe` of
    ///   kubelet and of kruise-daemon set the state back to Failure and Unknown. It is probed as soon as it may be. Where that
    ///   is later, or where its first answer settles nothing, the state is Unknown until one does.
    /// - A container that has ended for good is Failed at once.
    /// - One that does not run is probed once more at once, and Failed when that run does not succeed: on a virtual node
    ///   the status may lag behind what the probe itself sees. Where its startupProbe or the initial delay forbid that run, it
    ///   is Failed at once: whether it runs comes before whether it has started, which no stopped container has (worker.go,
    ///   pkg/kubelet/prober/prober_manager.go `isContainerStarted`).
    /// - One that has lost the id that it had, without a restart, is an older copy: virtual-kubelet writes such back
    ///   (virtual-kubelet/virtual-kubelet:node/podcontroller.go `lastPodStatusUpdateSkipped`).
    pub fn see(&mut self, neighbour: &Neighbour, now: Duration) -> Option<Verdict> {
        let (id, restarts) = &neighbour.incarnation;
        let is_copy = |before: &(String, u64)| id.is_empty() && !before.0.is_empty() && *restarts <= before.1;
        if neighbour.life == Life::Stopped && self.incarnation.as_ref().is_some_and(is_copy) {
            return None;
        }
        let before = self.incarnation.replace(neighbour.incarnation.clone());
        let is_new = before.as_ref().is_some_and(|before| {
            // An id that was still empty says only that the container had not started.
            (!before.0.is_empty() || before.1 != *restarts) && *before != neighbour.incarnation
        });
        let was_running = !matches!(self.life, Some(Life::Stopped | Life::Ended));
        // What was seen waiting has started.
        let has_started = before.as_ref().is_some_and(|before| before.0.is_empty() && (!id.is_empty() || !was_running));
        self.life = Some(neighbour.life);
        self.is_started = neighbour.is_started;
        match neighbour.life {
            Life::Running(Some(since)) if is_new || has_started || before.is_none() || self.told.is_none() => {
                self.starts(since);
            }
            Life::Running(None) if is_new || has_started => self.starts(now),
            _ => {}
        }
        if is_new {
            self.renew(now);
        }
        let must_wait = self.must_wait(now);
        // Before its first id it has yet to be created (worker.go: "Wait for more information").
        let was_created = self.told.is_some() || !id.is_empty();
        match neighbour.life {
            Life::Ended => self.tell_not_running(),
            // No probe may be run that could say otherwise.
            Life::Stopped if must_wait && was_created => self.tell_not_running(),
            Life::Stopped if was_running && !must_wait => {
                self.schedule.hurry(now);
                None
            }
            Life::Running(_) => {
                let is_outdated = is_new || self.outdated.is_some();
                if is_new || self.has_told_not_running() {
                    self.hurry(now);
                }
                if is_outdated && must_wait && self.told.is_some() {
                    self.tell_restarted("may not be probed")
                } else {
                    None
                }
            }
            Life::Stopped => None,
        }
    }

    /// The container runs after all: what was seen of it is older than that. In patch mode nothing may be seen for long.
    pub fn lives(&mut self) {
        if self.life == Some(Life::Stopped) {
            self.life = Some(Life::Running(None));
        }
    }

    /// A run began at `started` and ended at `now`. The verdict, where there is something new to tell.
    pub fn ran<E: Reason>(&mut self, result: &Result<Outcome, E>, started: Duration, now: Duration) -> Option<Verdict> {
        self.schedule.ran(started);
        let (run, reason, message) = match result {
            Ok(Outcome::Success(message)) => (Run::Success, SUCCEEDED, message.clone()),
            Ok(Outcome::Failure(message)) => (Run::Failure, FAILED, message.clone()),
            Err(error) => (Run::Error, error.reason(), error.to_string()),
        };
        let state = self.threshold.record(run, now);
        if run != Run::Success && matches!(self.life, Some(Life::Stopped | Life::Ended)) {
            return self.tell_not_running();
        }
        match (state, self.outdated) {
            (Some(state), _) => self.tell(state, reason, message),
            (None, Some(_)) if run != Run::Error => self.tell_restarted("has not settled"),
            // Its exec agent comes a moment later than itself.
            (None, Some(since)) if now >= since + SHORTEST_UNKNOWN => self.tell(ProbeState::Unknown, reason, message),
            _ => None,
        }
    }

    /// Someone asks for a run now: it comes as soon as it may.
    pub fn hurry(&mut self, now: Duration) {
        self.schedule.hurry(now.max(self.born + self.timing.initial_delay));
    }

    /// The container starts now, as its exec agent says, which comes with it. In patch mode nothing else may tell so for long.
    pub fn started(&mut self, now: Duration) -> Option<Verdict> {
        self.lives();
        self.starts(now);
        self.renew(now);
        if self.outdated.is_some() && self.must_wait(now) { self.tell_restarted("may not be probed") } else { None }
    }

    /// For one whole run.
    pub fn timeout(&self) -> Duration {
        self.timing.timeout
    }

    /// worker.go `doProbe`: the initial delay counts from the start of the container that runs.
    fn starts(&mut self, since: Duration) {
        self.born = since;
        self.schedule.start_at(since + self.timing.initial_delay);
    }

    fn must_wait(&self, now: Duration) -> bool {
        self.is_held() || now < self.born + self.timing.initial_delay
    }

    fn renew(&mut self, now: Duration) {
        self.threshold.reset(&self.timing);
        self.outdated = self.told.as_ref().filter(|told| told.state == ProbeState::Succeeded).map(|_| now);
    }

    fn has_told_not_running(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.reason == NOT_RUNNING)
    }

    fn tell_restarted(&mut self, why: &str) -> Option<Verdict> {
        let message = format!("Container({}) was restarted and {why} yet", self.container);
        self.tell(ProbeState::Unknown, RESTARTED, message)
    }

    fn tell_not_running(&mut self) -> Option<Verdict> {
        // OpenKruise's own words: openkruise/kruise:pkg/daemon/podprobe/worker.go.
        let message = format!("Container({}) is Non-running", self.container);
        self.tell(ProbeState::Failed, NOT_RUNNING, message)
    }

    fn tell(&mut self, state: ProbeState, reason: &str, message: String) -> Option<Verdict> {
        let run = self.threshold.count();
        self.outdated = None;
        if let Some(told) = &self.told
            && (told.state, told.reason.as_str(), told.message.as_str()) == (state, reason, message.as_str())
        {
            return None;
        }
        let verdict = Verdict { state, reason: reason.to_owned(), message, run };
        self.told = Some(verdict.clone());
        Some(verdict)
    }
}

/// An error that a condition can carry.
pub trait Reason: std::fmt::Display {
    /// CamelCase.
    fn reason(&self) -> &str;
}

#[cfg(test)]
mod tests;
