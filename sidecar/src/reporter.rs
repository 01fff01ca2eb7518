//! The only writer: one task that owns what is desired and what was observed, and sends one request at a time.

use crate::api::Api;
use crate::clock::Clock;
use crate::config::PodName;
use crate::desired::Settled;
use crate::dial::REFUSED;
use crate::event::Note;
use crate::fleet::Fleet;
use crate::ledger::{Ledger, Step};
use crate::look::Awaited;
use crate::neighbour::neighbours;
use crate::observed::{Observed, PlanText};
use crate::repeat::Repeat;
use crate::stats::{Stats, add};
use crate::threshold::ProbeState;
use crate::track::NOT_RUNNING;
use crate::worker::Report;
use probelet_protocol::name::{NODE_KIND_ORDINARY, SIDECAR_CONTAINER};
use probelet_protocol::plan::{Plan, ProbeId};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

mod flight;
mod told;
use flight::{Flight, land};

/// What the reporter is made of.
pub struct Parts {
    /// The own Pod.
    pub pod: PodName,
    /// A restartable init container: marking goes on to the Pod's end.
    pub is_native: bool,
    /// The texts that the running plan was made from.
    pub plan_text: PlanText,
    /// Decides.
    pub ledger: Ledger,
    /// Probes.
    pub fleet: Fleet,
    /// Clock.
    pub clock: Clock,
    /// Counters.
    pub stats: Arc<Stats>,
    /// From the workers.
    pub reports: mpsc::Receiver<Report>,
    /// From the watch, or from the volume where there is none.
    pub sights: mpsc::Receiver<Sight>,
    /// To the writer of Events, where there is one.
    pub events: Option<mpsc::Sender<Note>>,
}

/// What is told of the own Pod without being asked.
#[derive(Debug)]
pub enum Sight {
    /// The Pod, as it is now.
    Pod(Box<Observed>),
    /// The watch began to tell of every change, or ended.
    Watching(bool),
    /// The node wrote an edited plan into the sidecar's volume.
    Edited,
    /// The Pod was deleted.
    Gone,
}

/// Why the reporter ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM.
    Stopped,
    /// The Pod is not there any more.
    Gone,
    /// Every other container has ended for good: a Job is done.
    Done,
    /// A node agent probes on this node.
    StandBy,
}

/// The only writer.
pub struct Reporter {
    parts: Parts,
    api: Option<Api>,
    in_flight: Option<Flight>,
    sent_at: Duration,
    last_call: Duration,
    states: BTreeMap<ProbeId, (ProbeState, u64)>,
    waiting: Vec<Report>,
    riding: Vec<Report>,
    wrote: String,
    repeat: Repeat,
    refused_plan: Option<PlanText>,
    restart_at: Option<Duration>,
}

/// Most transitions that wait to be told of as written; while nothing can be written an older one is told of without.
const WAITING: usize = 64;
/// How long a native sidecar may go on writing after SIGTERM.
const FLUSH: Duration = Duration::from_millis(900);
/// A worker that ended by a fault is started again after this, so that a fault in every run makes no loop.
const RESTART: Duration = Duration::from_secs(1);

// === impl Reporter ===

impl Reporter {
    /// Starts the workers of the ledger's plan.
    pub fn new(mut parts: Parts, api: Api) -> Self {
        parts.fleet.apply(&parts.ledger.plan().clone(), &BTreeMap::new());
        Self {
            parts,
            api: Some(api),
            in_flight: None,
            sent_at: Duration::ZERO,
            last_call: Duration::ZERO,
            states: BTreeMap::new(),
            waiting: Vec::new(),
            riding: Vec::new(),
            wrote: String::new(),
            repeat: Repeat::default(),
            refused_plan: None,
            restart_at: None,
        }
    }

    /// Marks until `stop` or until there is nothing left to mark.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> End {
        let mut stop = std::pin::pin!(stop);
        self.await_status();
        loop {
            let wake = self.step();
            let idle = self.idle_at();
            let end = tokio::select! {
                biased;
                () = &mut stop => {
                    self.flush().await;
                    return End::Stopped;
                }
                (api, answer) = land(&mut self.in_flight) => self.answered(api, answer),
                Some(report) = self.parts.reports.recv() => self.report_all(report),
                Some(sight) = self.parts.sights.recv() => self.sight(sight),
                id = self.parts.fleet.ended() => self.ended(&id),
                () = self.parts.clock.sleep_until(wake.into_iter().chain(idle).chain(self.restart_at).min()) => None,
            };
            if let Some(end) = end {
                return end;
            }
            self.give_back();
            self.restart();
        }
    }

    /// Begins a request where one is due; else the time of the next.
    fn step(&mut self) -> Option<Duration> {
        let now = self.parts.clock.now();
        match self.parts.ledger.step(now) {
            Step::Wait(wake) => wake,
            Step::Send(patch, purpose) => {
                self.send(&patch, purpose);
                None
            }
        }
    }

    /// Takes this report and those that came with it, so that they share a patch.
    fn report_all(&mut self, first: Report) -> Option<End> {
        self.report(first);
        while let Ok(report) = self.parts.reports.try_recv() {
            self.report(report);
        }
        self.tell_settled();
        None
    }

    /// Where nothing is left to write, because there are no marks or they are there already, nothing is waited for.
    fn tell_settled(&mut self) {
        if self.parts.ledger.is_settled() {
            self.wrote.clear();
            self.riding.append(&mut self.waiting);
            self.tell_written(self.parts.clock.now());
        }
    }

    fn report(&mut self, report: Report) {
        let verdict = &report.verdict;
        let settled = Settled {
            state: verdict.state,
            reason: verdict.reason.clone(),
            message: verdict.message.clone(),
            since: report.since,
            probed: report.probed,
        };
        self.states.insert(report.id.clone(), (verdict.state, report.since));
        // Nobody listens any more, or the agent is gone: the container may have ended.
        if verdict.state == ProbeState::Unknown || verdict.message.contains(REFUSED) {
            self.parts.ledger.hurry(self.parts.clock.now());
        }
        self.parts.ledger.settle(report.id.clone(), settled, self.parts.clock.now());
        self.await_status();
        if report.from == Some(verdict.state) {
            told::message(&report);
            return;
        }
        add(&self.parts.stats.transitions, 1);
        self.waiting.push(report);
        self.let_go();
    }

    /// What rode on a request that failed waits again, before what came meanwhile.
    fn wait_again(&mut self) {
        let newer = std::mem::replace(&mut self.waiting, std::mem::take(&mut self.riding));
        self.waiting.extend(newer);
        self.let_go();
    }

    fn let_go(&mut self) {
        let surplus = self.waiting.len().saturating_sub(WAITING);
        for report in self.waiting.drain(..surplus) {
            told::transition(&report, "", Duration::ZERO);
        }
    }

    fn sight(&mut self, sight: Sight) -> Option<End> {
        let now = self.parts.clock.now();
        match sight {
            Sight::Pod(pod) if pod.uid != self.parts.pod.uid => Some(End::Gone),
            Sight::Pod(pod) => {
                let findings = self.parts.ledger.observe(*pod, now);
                self.tell(findings, now);
                self.observed(now)
            }
            Sight::Watching(is_watching) => {
                self.parts.ledger.watching(is_watching, now);
                self.await_status();
                None
            }
            Sight::Edited => {
                self.parts.ledger.look_now(now);
                None
            }
            Sight::Gone => Some(End::Gone),
        }
    }

    /// A new observation is in the ledger: hands on what it says of containers and plan.
    fn observed(&mut self, now: Duration) -> Option<End> {
        let pod = self.parts.ledger.observed()?;
        if pod.is_over {
            return Some(End::Done);
        }
        if pod.waits_only_for(SIDECAR_CONTAINER) && !self.parts.is_native {
            return Some(End::Done);
        }
        if pod.node_kind.as_deref() == Some(NODE_KIND_ORDINARY) {
            return Some(End::StandBy);
        }
        self.parts.fleet.see(neighbours(pod, now, self.parts.clock.wall()));
        // A Pod that has lost all of its plan was overwritten, not edited: an edit leaves the list of what may be written.
        let is_whole = pod.plan != PlanText::default();
        let text = PlanText { writes: None, ..pod.plan.clone() };
        if is_whole && text != self.parts.plan_text && Some(&text) != self.refused_plan.as_ref() {
            self.replan(text);
        }
        self.await_status();
        None
    }

    /// A live edit of the Pod's annotations.
    fn replan(&mut self, text: PlanText) {
        match Plan::parse(text.probes.as_deref(), text.policies.as_deref()) {
            Ok(plan) => {
                tracing::info!(probes = plan.probes.len(), "the plan was edited");
                self.states.retain(|id, _| plan.probes.iter().any(|planned| planned.id == *id));
                self.waiting.retain(|report| self.states.contains_key(&report.id));
                self.parts.ledger.replan(plan.clone());
                self.parts.fleet.apply(&plan, &self.states);
                self.parts.plan_text = text;
                self.refused_plan = None;
            }
            Err(error) => {
                tracing::error!(%error, "the plan was edited to one that cannot be used; the one before goes on");
                self.refused_plan = Some(text);
            }
        }
    }

    fn ended(&mut self, id: &ProbeId) -> Option<End> {
        tracing::error!(
            container = id.container,
            probe = id.name,
            "a probe's task ended by a fault; it is started again"
        );
        self.restart_at.get_or_insert(self.parts.clock.now() + RESTART);
        None
    }

    fn restart(&mut self) {
        if self.restart_at.is_some_and(|at| at <= self.parts.clock.now()) {
            self.restart_at = None;
            self.parts.fleet.apply(&self.parts.ledger.plan().clone(), &self.states);
        }
    }

    /// Some things only the Pod's status tells: a startupProbe that passed; where the Pod may end and this container would
    /// hold it, the end of the others, which run as long as all their probes succeed; and that a container runs at last
    /// whose probe fails for a reason of its own.
    fn await_status(&mut self) {
        let may_end = self.parts.ledger.observed().is_none_or(Observed::may_end);
        let is_down = self.states.values().any(|(state, _)| *state != ProbeState::Succeeded);
        let awaited = if self.parts.fleet.is_held() || (may_end && is_down && !self.parts.is_native) {
            Awaited::Turn
        } else if self.parts.fleet.sees_stopped() && self.parts.ledger.has_reason(NOT_RUNNING) {
            Awaited::Start
        } else {
            Awaited::Nothing
        };
        self.parts.ledger.await_status(awaited, self.parts.clock.now());
    }

    /// After SIGTERM. As a plain container the Pod is ending and is not written to again; a native sidecar is stopped after its
    /// neighbours, and what they settled on last is still written.
    async fn flush(&mut self) {
        self.parts.fleet.stop();
        if !self.parts.is_native {
            return;
        }
        while let Ok(report) = self.parts.reports.try_recv() {
            self.report(report);
        }
        let write = async {
            while !self.parts.ledger.is_settled() {
                self.step();
                if self.in_flight.is_none() {
                    return;
                }
                let (api, answer) = land(&mut self.in_flight).await;
                if self.answered(api, answer).is_some() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(FLUSH, write).await;
    }
}
