//! The workers of a plan: started, kept, replaced and stopped as the plan is edited.

use crate::clock::Clock;
use crate::handler::{Handler, Target};
use crate::knock::Knock;
use crate::neighbour::{Life, Neighbours};
use crate::random::Random;
use crate::stats::Stats;
use crate::threshold::ProbeState;
use crate::timing::{Timing, TimingSettings};
use crate::track::{Track, Verdict};
use crate::worker::{Ears, Report, Worker};
use probelet_protocol::plan::{Plan, PlannedProbe, ProbeId};
use probelet_protocol::probe::Probe;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

/// Reason of a probe whose handler can never run.
pub const INVALID: &str = "InvalidProbe";

/// What all workers share.
pub struct FleetSettings {
    /// Where probes go.
    pub target: Target,
    /// Their times.
    pub timing: TimingSettings,
    /// Containers with a startupProbe.
    pub startup_probes: BTreeSet<String>,
}

/// The running workers.
pub struct Fleet {
    settings: FleetSettings,
    clock: Clock,
    random: Random,
    stats: Arc<Stats>,
    reports: mpsc::Sender<Report>,
    neighbours: watch::Sender<Arc<Neighbours>>,
    knocks: broadcast::Sender<Knock>,
    running: BTreeMap<ProbeId, Running>,
    tasks: JoinSet<()>,
}

struct Running {
    probe: Probe,
    task: AbortHandle,
}

// === impl Fleet ===

impl Fleet {
    /// Nothing runs yet.
    pub fn new(
        settings: FleetSettings,
        clock: Clock,
        random: Random,
        stats: Arc<Stats>,
        reports: mpsc::Sender<Report>,
        knocks: broadcast::Sender<Knock>,
    ) -> Self {
        let (neighbours, _) = watch::channel(Arc::default());
        Self {
            settings,
            clock,
            random,
            stats,
            reports,
            neighbours,
            knocks,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Makes the running workers those of this plan. Workers of unchanged probes go on undisturbed. `states` are those
    /// that were told before, so that a replaced worker continues from them.
    pub fn apply(&mut self, plan: &Plan, states: &BTreeMap<ProbeId, (ProbeState, u64)>) {
        let stays = |id: &ProbeId, running: &Running| {
            plan.probes.iter().any(|planned| planned.id == *id && planned.probe == running.probe)
        };
        let stats = &self.stats;
        self.running.retain(|id, running| {
            let stays = stays(id, running);
            if !stays {
                running.task.abort();
                stats.forget(id);
            }
            stays
        });
        for planned in &plan.probes {
            if !self.running.contains_key(&planned.id) {
                let task = self.start(planned, states.get(&planned.id).copied());
                self.running.insert(planned.id.clone(), Running { probe: planned.probe.clone(), task });
            }
        }
    }

    /// Tells the workers what their containers do.
    pub fn see(&self, neighbours: Neighbours) {
        self.neighbours.send_if_modified(|last| {
            let is_new = **last != neighbours;
            if is_new {
                *last = Arc::new(neighbours);
            }
            is_new
        });
    }

    /// Whether some probe waits for a startupProbe that has not passed.
    pub fn is_held(&self) -> bool {
        let neighbours = self.neighbours.borrow();
        self.running.keys().any(|id| {
            self.settings.startup_probes.contains(&id.container)
                && !neighbours.get(&id.container).is_some_and(|neighbour| neighbour.is_started)
        })
    }

    /// Whether some container is stopped, but may run again, by what was last seen.
    pub fn sees_stopped(&self) -> bool {
        self.neighbours.borrow().values().any(|neighbour| neighbour.life == Life::Stopped)
    }

    /// Waits for a worker that ends without being told to: a fault of ours. It is forgotten, so that the next
    /// [`Self::apply`] starts it again; the others are not disturbed.
    pub async fn ended(&mut self) -> ProbeId {
        loop {
            let ended = match self.tasks.join_next_with_id().await {
                Some(Ok((task, ()))) => task,
                Some(Err(error)) if error.is_cancelled() => continue,
                Some(Err(error)) => error.id(),
                None => std::future::pending().await,
            };
            if let Some(id) =
                self.running.iter().find(|(_, running)| running.task.id() == ended).map(|(id, _)| id.clone())
            {
                self.running.remove(&id);
                return id;
            }
        }
    }

    /// Stops all probing.
    pub fn stop(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            running.task.abort();
        }
    }

    fn start(&mut self, planned: &PlannedProbe, told: Option<(ProbeState, u64)>) -> AbortHandle {
        let timing = Timing::of(planned, &self.settings.timing);
        let has_startup_probe = self.settings.startup_probes.contains(&planned.id.container);
        let (now, spread) = (self.clock.now(), self.random.unit());
        let track = Track::new(planned.id.container.clone(), timing, has_startup_probe, now, spread);
        let handler = planned.probe.handler().map_or("none", |handler| handler.name());
        tracing::info!(
            container = planned.id.container,
            probe = planned.id.name,
            marker = planned.marker,
            handler,
            delay = ?timing.initial_delay,
            period = ?timing.period,
            timeout = ?timing.timeout,
            thresholds = format_args!("{}/{}", timing.success_threshold, timing.failure_threshold),
            "probe starts"
        );
        match Handler::try_new(planned, &self.settings.target) {
            Ok(runs) => {
                let worker = self.worker(planned, handler, runs, track, told);
                self.tasks.spawn(worker.work())
            }
            Err(error) => {
                let reports = self.reports.clone();
                let report = self.rejected(planned, handler, &error.to_string(), told);
                self.tasks.spawn(async move {
                    let _ = reports.send(report).await;
                    std::future::pending().await
                })
            }
        }
    }

    fn worker(
        &self,
        planned: &PlannedProbe,
        handler: &'static str,
        runs: Handler,
        track: Track,
        told: Option<(ProbeState, u64)>,
    ) -> Worker<Handler> {
        Worker {
            id: planned.id.clone(),
            handler,
            runs,
            track,
            clock: self.clock,
            ears: Ears { neighbours: self.neighbours.subscribe(), knocks: self.knocks.subscribe() },
            reports: self.reports.clone(),
            stats: self.stats.clone(),
            told,
            last: (0, Duration::ZERO),
            ran_at: Duration::ZERO,
        }
    }

    fn rejected(
        &self,
        planned: &PlannedProbe,
        handler: &'static str,
        message: &str,
        told: Option<(ProbeState, u64)>,
    ) -> Report {
        let (state, reason) = (ProbeState::Unknown, INVALID.to_owned());
        let verdict = Verdict { state, reason, message: message.to_owned(), run: 0 };
        self.stats.settled(&planned.id, state);
        let wall = self.clock.wall();
        let (id, from) = (planned.id.clone(), told.map(|(state, _)| state));
        Report { id, handler, verdict, from, since: wall, probed: wall, latency: Duration::ZERO, at: self.clock.now() }
    }
}
