//! What is desired, what is known to be on the Pod, and what to send next. Pure: results, observations and answers go in
//! with the time, steps come out. The reporter only carries them out.

use crate::backoff::{Backoff, Trouble};
use crate::chatter::Chatter;
use crate::desired::{Desired, Results, Settled, Unit, Want, desired};
use crate::heal::Heal;
use crate::look::{Awaited, CLOSE_SPAN, LookSettings, Looks};
use crate::observed::Observed;
use crate::patch::{Patch, differing};
use crate::random::Random;
use crate::refusal::Refusals;
use crate::retired::Retired;
use probelet_protocol::plan::{Plan, ProbeId};
use probelet_protocol::setting::Marks;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod next;

/// What stays the same for a sidecar's life.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// The own Pod's.
    pub uid: String,
    /// What is written at all.
    pub marks: Marks,
    /// When to look.
    pub look: LookSettings,
    /// Over how long to come back after trouble with the API server.
    pub retry_spread: Duration,
    /// Nothing is written before the Pod was seen once: the sidecar was started before in this Pod.
    pub observe_first: bool,
}

/// The state of marking one Pod.
pub struct Ledger {
    settings: LedgerSettings,
    plan: Plan,
    results: Results,
    retired: Retired,
    desired: Desired,
    observed: Option<Observed>,
    confirmed: BTreeMap<Unit, Confirmed>,
    in_flight: Option<InFlight>,
    /// Sent, and no answer came: each may or may not have been written.
    doubted: BTreeMap<Unit, Want>,
    not_before: Duration,
    gather_until: Option<Duration>,
    last_write: Option<Duration>,
    overwritten_at: Option<Duration>,
    heal: Heal,
    chatter: Chatter,
    looks: Looks,
    refusals: Refusals,
    backoff: Backoff,
    random: Random,
    counts: Counts,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this, then call [`Ledger::accepted`], [`Ledger::refused`] or [`Ledger::failed`].
    Send(Patch, Purpose),
    /// Nothing before this time; `None`: nothing until something new comes in.
    Wait(Option<Duration>),
}

/// Why a patch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A new result.
    Mark,
    /// A new message only.
    Message,
    /// Marks were overwritten.
    Heal,
    /// To see the Pod.
    Look,
}

/// What is worth telling after something came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// These marks were there and are not any more.
    Overwritten(Vec<Unit>),
    /// Overwrites follow each heal.
    War(Duration),
    /// The API server refuses this one, and why.
    Refused(Unit, String),
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Overwrites seen.
    pub overwrites: u64,
    /// Heals sent.
    pub heals: u64,
}

struct Confirmed {
    want: Want,
    since: Option<u64>,
}

struct InFlight {
    wants: BTreeMap<Unit, Want>,
    since: BTreeMap<Unit, u64>,
    purpose: Purpose,
    /// When the overwrite was found that this heals, and how many there were by then.
    found: Option<Duration>,
    overwrites: u64,
}

/// The first results of a Pod's probes come within this time of each other, and go together.
const GATHER: Duration = Duration::from_millis(30);
/// Between the parts of a refused patch: what refuses them all, at many Pods, is not the keys.
const PARTS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

// === impl Ledger ===

impl Ledger {
    /// Nothing settled, nothing observed.
    pub fn new(settings: LedgerSettings, plan: Plan, mut random: Random) -> Self {
        let looks = Looks::new(settings.look, random.fork());
        let backoff = Backoff::new(settings.retry_spread);
        Self {
            settings,
            plan,
            results: Results::new(),
            retired: Retired::default(),
            desired: Desired::new(),
            observed: None,
            confirmed: BTreeMap::new(),
            in_flight: None,
            doubted: BTreeMap::new(),
            not_before: Duration::ZERO,
            gather_until: None,
            last_write: None,
            overwritten_at: None,
            heal: Heal::default(),
            chatter: Chatter::default(),
            looks,
            refusals: Refusals::default(),
            backoff,
            random,
            counts: Counts::default(),
        }
    }

    /// A probe settled, or has a new message.
    pub fn settle(&mut self, id: ProbeId, settled: Settled, now: Duration) {
        if !self.plan.probes.iter().any(|planned| planned.id == id) {
            return;
        }
        self.results.insert(id, settled);
        if self.last_write.is_none() && self.gather_until.is_none() {
            self.gather_until = Some(now + GATHER);
        }
        self.redraw();
    }

    /// The plan was edited: results of probes that are still in it stay; what only the old plan wrote is retired, unless
    /// its probe says to keep its marks.
    pub fn replan(&mut self, plan: Plan) {
        self.retired.replan(std::mem::take(&mut self.plan), &plan);
        self.results.retain(|id, _| plan.probes.iter().any(|planned| planned.id == *id));
        self.plan = plan;
        self.redraw();
        self.refusals.keep(&self.desired);
    }

    /// The Pod was seen, at `now`. Older observations than the last one are ignored.
    pub fn observe(&mut self, observed: Observed, now: Duration) -> Vec<Finding> {
        if self.is_outdated(&observed) {
            return Vec::new();
        }
        self.retired.observe(&observed, &self.plan);
        self.looks.observed(now);
        self.observed = Some(observed);
        self.redraw();
        self.compare(now)
    }

    /// The patch in flight was accepted, and this is the Pod after it.
    pub fn accepted(&mut self, answer: Observed, now: Duration) -> Vec<Finding> {
        self.backoff.reset();
        let mut findings = Vec::new();
        if let Some(sent) = self.in_flight.take() {
            self.refusals.accepted(sent.wants.keys());
            findings.extend(self.wrote(&sent, now));
            for (unit, want) in sent.wants {
                let since = sent.since.get(&unit).copied();
                let since = since.or_else(|| self.confirmed.get(&unit).and_then(|before| before.since));
                self.confirmed.insert(unit, Confirmed { want, since });
            }
        }
        if self.is_outdated(&answer) {
            findings.extend(self.compare(now));
        } else {
            findings.extend(self.observe(answer, now));
        }
        self.doubted.clear();
        findings
    }

    /// What a write of this kind means for the looks and writes after it.
    fn wrote(&mut self, sent: &InFlight, now: Duration) -> Option<Finding> {
        if sent.purpose == Purpose::Look {
            return None;
        }
        self.last_write = Some(now);
        self.gather_until = None;
        // A watch may have told of this write, and of its overwrite, before the answer came: that one is not healed yet.
        if self.counts.overwrites == sent.overwrites {
            self.overwritten_at = None;
        }
        if sent.purpose == Purpose::Mark {
            if sent.found.is_none() && self.looks.has_watch() {
                // A watch would have told.
                self.heal.held(now);
            }
            self.heal.marked(sent.found.is_some(), now);
            let is_urgent = self.heal.due(now) < now + CLOSE_SPAN;
            self.looks.marked(is_urgent, now);
            return None;
        }
        self.looks.wrote(now);
        if sent.purpose == Purpose::Message {
            self.chatter.sent(now);
            return None;
        }
        self.counts.heals += 1;
        let found = sent.found.unwrap_or(now);
        self.heal.healed(found, now).then(|| Finding::War(self.heal.gap()))
    }

    /// The patch in flight was refused for what is in it.
    pub fn refused(&mut self, message: &str, now: Duration) -> Vec<Finding> {
        let Some(sent) = self.in_flight.take() else { return Vec::new() };
        self.not_before = now + self.random.between(PARTS.0, PARTS.1);
        let culprit = self.refusals.refused(&sent.wants, message, now);
        culprit.map(|unit| Finding::Refused(unit, message.to_owned())).into_iter().collect()
    }

    /// The request in flight did not go through. How long until the next try.
    pub fn failed(&mut self, trouble: Trouble, retry_after: Option<Duration>, now: Duration) -> Duration {
        let sent = self.in_flight.take().map(|sent| sent.wants).unwrap_or_default();
        // It may have been written all the same, and something else be wanted by the next try.
        if !sent.is_empty() && matches!(trouble, Trouble::Unreachable | Trouble::Unwell) {
            self.doubted.extend(sent);
            self.looks.now(now);
        }
        self.wait_after(trouble, retry_after, now)
    }

    /// Whether the request in flight only looks at the Pod.
    pub fn is_looking(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|sent| sent.purpose == Purpose::Look)
    }

    /// Whether a watch tells of every change, so that no looks are needed.
    pub fn watching(&mut self, has_watch: bool, now: Duration) {
        self.looks.watching(has_watch, self.settings.retry_spread, now);
    }

    /// Something was changed that only the Pod tells: look at once.
    pub fn look_now(&mut self, now: Duration) {
        self.looks.now(now);
    }

    /// What is awaited that only the Pod's status tells.
    pub fn await_status(&mut self, awaited: Awaited, now: Duration) {
        self.looks.await_status(awaited, now);
    }

    /// A sign that what is awaited has come about.
    pub fn hurry(&mut self, now: Duration) {
        self.looks.hurry(now);
    }

    /// Whether everything that has settled is on the Pod, as far as is known, but for what is refused.
    pub fn is_settled(&self) -> bool {
        self.in_flight.is_none() && self.refusals.clean(&self.differing(), &self.desired).is_empty()
    }

    /// Whether a probe settled for this reason.
    pub fn has_reason(&self, reason: &str) -> bool {
        self.results.values().any(|settled| settled.reason == reason)
    }

    /// The Pod as it was last seen.
    pub fn observed(&self) -> Option<&Observed> {
        self.observed.as_ref()
    }

    /// The running plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Totals since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether marks are overwritten again and again.
    pub fn is_war(&self) -> bool {
        self.heal.is_war()
    }

    /// Units that the API server refuses now.
    pub fn refused_count(&self) -> usize {
        self.refusals.count(&self.differing())
    }

    /// Failed tries in a row.
    pub fn tries(&self) -> u32 {
        self.backoff.tries()
    }

    /// Whether something newer was seen already.
    fn is_outdated(&self, observed: &Observed) -> bool {
        self.observed.as_ref().is_some_and(|last| is_older(observed, last))
    }

    fn redraw(&mut self) {
        self.desired = desired(&self.plan, &self.results, self.retired.names(), self.settings.marks);
    }

    fn differing(&self) -> BTreeSet<Unit> {
        differing(&self.desired, self.observed.as_ref()).into_keys().cloned().collect()
    }

    /// Learns from the observation what holds, and finds what held before and does not now.
    fn compare(&mut self, now: Duration) -> Vec<Finding> {
        let Some(observed) = &self.observed else { return Vec::new() };
        let mut overwritten = Vec::new();
        for (unit, want) in &self.desired {
            let sent = self.in_flight.as_ref().and_then(|sent| sent.wants.get(unit));
            // What is there was sent by us, though no answer says so: whatever differs from it is still to be written.
            let is_there = |want: &&Want| observed.has(unit, want);
            if let Some(want) = [Some(want), sent, self.doubted.get(unit)].into_iter().flatten().find(is_there) {
                let since = observed.conditions.get(unit.name()).filter(|_| is_condition(unit)).and_then(|c| c.since);
                self.confirmed.insert(unit.clone(), Confirmed { want: want.clone(), since });
            } else if self.confirmed.get(unit).is_some_and(|confirmed| is_lost(unit, &confirmed.want, want, observed)) {
                overwritten.push(unit.clone());
            }
        }
        self.confirmed.retain(|unit, _| self.desired.contains_key(unit));
        // What is whole by a write that is under way says nothing of the one before.
        let is_writing = self.in_flight.as_ref().is_some_and(|sent| sent.purpose != Purpose::Look);
        // And what a watch tells of has only just happened.
        if !is_writing && (overwritten.is_empty() || (self.overwritten_at.is_none() && self.looks.has_watch())) {
            self.heal.held(now);
        }
        if overwritten.is_empty() {
            self.overwritten_at = None;
            return Vec::new();
        }
        if self.overwritten_at.is_some() {
            return Vec::new();
        }
        self.overwritten_at = Some(now);
        self.looks.found();
        self.counts.overwrites += 1;
        vec![Finding::Overwritten(overwritten)]
    }

    fn wait_after(&mut self, trouble: Trouble, retry_after: Option<Duration>, now: Duration) -> Duration {
        let wait = self.backoff.next(trouble, retry_after, self.random.unit());
        self.not_before = now + wait;
        wait
    }
}

/// Whether what was there as `confirmed` and is wanted still was taken away. Of a condition the status counts: it may have new
/// words by now.
fn is_lost(unit: &Unit, confirmed: &Want, want: &Want, observed: &Observed) -> bool {
    let (before, now) = (next::status(confirmed), next::status(want));
    let seen = observed.conditions.get(unit.name()).map(|seen| &*seen.content.status);
    confirmed == want || (now.is_some() && now == before && now != seen)
}

fn is_condition(unit: &Unit) -> bool {
    matches!(unit, Unit::Condition(_))
}

/// Resource versions of one object compare as numbers
/// (kubernetes/enhancements:keps/sig-api-machinery/5504-comparable-resource-version).
fn is_older(new: &Observed, last: &Observed) -> bool {
    match (new.resource_version.parse::<u128>(), last.resource_version.parse::<u128>()) {
        (Ok(new), Ok(last)) => new < last,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
