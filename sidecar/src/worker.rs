//! One task a probe: waits, runs the handler, tells what is new.

use crate::clock::Clock;
use crate::handler::{Handler, ProbeError};
use crate::knock::Knock;
use crate::neighbour::Neighbours;
use crate::outcome::Outcome;
use crate::stats::Stats;
use crate::threshold::ProbeState;
use crate::track::{Next, Reason, Track, Verdict};
use probelet_protocol::plan::ProbeId;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{mpsc, watch};

/// Something that can be run; the handler, or a script in tests.
pub trait Runs: Send + 'static {
    /// Why a run said nothing.
    type Error: Reason + Send;
    /// One run.
    fn run(&self, timeout: Duration) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;
    /// Whether such a result shows that the container runs, whatever was last seen of it.
    fn shows_life(&self, result: &Result<Outcome, Self::Error>) -> bool {
        matches!(result, Ok(Outcome::Success(_)))
    }
}

/// What a probe has to tell.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which one.
    pub id: ProbeId,
    /// `httpGet` and so on.
    pub handler: &'static str,
    /// New state or new words.
    pub verdict: Verdict,
    /// State before; `None` where this is the first.
    pub from: Option<ProbeState>,
    /// Wall clock, seconds since 1970, of the state's begin.
    pub since: u64,
    /// Wall clock, seconds since 1970, of the last run.
    pub probed: u64,
    /// How long the last run took.
    pub latency: Duration,
    /// Our clock, when the verdict was reached.
    pub at: Duration,
}

/// What a worker hears from outside.
pub struct Ears {
    /// Containers as last observed.
    pub neighbours: watch::Receiver<Arc<Neighbours>>,
    /// Requests to probe now.
    pub knocks: broadcast::Receiver<Knock>,
}

/// One probe's task.
pub struct Worker<R> {
    /// Which probe.
    pub id: ProbeId,
    /// `httpGet` and so on.
    pub handler: &'static str,
    /// Runs it.
    pub runs: R,
    /// Its course.
    pub track: Track,
    /// Clock.
    pub clock: Clock,
    /// What comes in.
    pub ears: Ears,
    /// What goes out.
    pub reports: mpsc::Sender<Report>,
    /// Counters.
    pub stats: Arc<Stats>,
    /// State that was told last.
    pub told: Option<(ProbeState, u64)>,
    /// Last run: wall clock and latency.
    pub last: (u64, Duration),
    /// Our clock at the last run's begin.
    pub ran_at: Duration,
}

/// An application may ask for a run this often.
const HURRY: Duration = Duration::from_millis(100);

impl Runs for Handler {
    type Error = ProbeError;

    fn run(&self, timeout: Duration) -> impl Future<Output = Result<Outcome, ProbeError>> + Send {
        Self::run(self, timeout)
    }

    fn shows_life(&self, result: &Result<Outcome, ProbeError>) -> bool {
        match result {
            Ok(Outcome::Success(_)) => true,
            // Whatever a command came to, something in the container answered for it.
            Ok(Outcome::Failure(_)) | Err(ProbeError::CannotStart(_)) => matches!(self, Self::Exec(_)),
            Err(ProbeError::AgentMissing(_) | ProbeError::AgentSilent(_)) => false,
        }
    }
}

impl Reason for ProbeError {
    fn reason(&self) -> &str {
        Self::reason(self)
    }
}

// === impl Worker ===

impl<R: Runs> Worker<R> {
    /// Probes until it is aborted or nobody listens any more.
    pub async fn work(mut self) {
        if !self.see().await {
            return;
        }
        loop {
            let due = match self.track.next() {
                Next::RunAt(at) => Some(at),
                Next::Hold => None,
            };
            let goes_on = tokio::select! {
                biased;
                changed = self.ears.neighbours.changed() => changed.is_ok() && self.see().await,
                knock = self.ears.knocks.recv() => match knock {
                    Err(RecvError::Closed) => return,
                    knock => self.hear(knock.ok()).await,
                },
                () = self.clock.sleep_until(due) => self.run().await,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// `None`: too many to remember while it ran, of which one may have been meant for it.
    async fn hear(&mut self, knock: Option<Knock>) -> bool {
        let is_meant = match &knock {
            Some(Knock::Probes(names)) => names.contains(&self.id.name),
            Some(Knock::Container(container) | Knock::Started(container)) => *container == self.id.container,
            Some(Knock::All) | None => true,
        };
        if !is_meant {
            return true;
        }
        let now = self.clock.now();
        let verdict = if matches!(knock, Some(Knock::Started(_))) { self.track.started(now) } else { None };
        self.track.hurry(now.max(self.ran_at + HURRY));
        self.tell(verdict).await
    }

    async fn run(&mut self) -> bool {
        let (started, wall) = (self.clock.now(), self.clock.wall());
        self.ran_at = started;
        let result = self.runs.run(self.track.timeout()).await;
        let now = self.clock.now();
        self.last = (wall, now.saturating_sub(started));
        self.stats.ran(&result.as_ref().map_err(|_| ()), self.last.1);
        tracing::debug!(
            container = self.id.container,
            probe = self.id.name,
            latency = ?self.last.1,
            result = match &result {
                Ok(Outcome::Success(_)) => "success",
                Ok(Outcome::Failure(_)) => "failure",
                Err(error) => error.reason(),
            },
            "ran"
        );
        if self.runs.shows_life(&result) {
            self.track.lives();
        }
        let verdict = self.track.ran(&result, started, now);
        self.tell(verdict).await
    }

    async fn see(&mut self) -> bool {
        let neighbours = self.ears.neighbours.borrow_and_update().clone();
        let Some(neighbour) = neighbours.get(&self.id.container) else { return true };
        let verdict = self.track.see(neighbour, self.clock.now());
        self.tell(verdict).await
    }

    async fn tell(&mut self, verdict: Option<Verdict>) -> bool {
        let Some(verdict) = verdict else { return true };
        let wall = self.clock.wall();
        let from = self.told.map(|(state, _)| state);
        let since = self.told.filter(|(state, _)| *state == verdict.state).map_or(wall, |(_, since)| since);
        self.told = Some((verdict.state, since));
        self.stats.settled(&self.id, verdict.state);
        let report = Report {
            id: self.id.clone(),
            handler: self.handler,
            verdict,
            from,
            since,
            probed: if self.last.0 == 0 { wall } else { self.last.0 },
            latency: self.last.1,
            at: self.clock.now(),
        };
        self.reports.send(report).await.is_ok()
    }
}

#[cfg(test)]
mod tests;
