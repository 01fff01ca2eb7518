//! What to send next, why, and when.

use super::{InFlight, Ledger, Purpose, Step};
use crate::desired::{Unit, Want};
use crate::patch::{Change, Patch, Times};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Ledger {
    /// What to do now.
    pub fn step(&mut self, now: Duration) -> Step {
        if self.in_flight.is_some() {
            return Step::Wait(None);
        }
        if now < self.not_before {
            return Step::Wait(Some(self.not_before));
        }
        if self.settings.observe_first && self.observed.is_none() {
            return self.look();
        }
        let differing = self.differing();
        if let Some(part) = self.refusals.part(&differing) {
            return self.send(part, Purpose::Mark);
        }
        // What is refused says nothing of how urgent the rest is.
        let open = self.refusals.clean(&differing, &self.desired);
        let purpose = self.purpose(&open);
        let at = purpose.map(|purpose| self.due(purpose, now));
        if let (Some(purpose), Some(at)) = (purpose, at)
            && at <= now
        {
            return self.send(open, purpose);
        }
        if let Some(suspect) = self.refusals.suspect(&differing, now) {
            return self.send(BTreeSet::from([suspect]), Purpose::Mark);
        }
        let due = [at, self.refusals.due(&differing), self.looks.due()].into_iter().flatten().min();
        match due {
            Some(at) if at <= now => self.look(),
            due => Step::Wait(due),
        }
    }

    /// The most urgent reason to write these units.
    fn purpose(&self, differing: &BTreeSet<Unit>) -> Option<Purpose> {
        let urgency = |unit: &Unit| {
            let want = self.desired.get(unit);
            let confirmed = self.confirmed.get(unit).map(|confirmed| &confirmed.want);
            if want == confirmed {
                return Purpose::Heal;
            }
            let status = want.and_then(status);
            let seen = self.observed.as_ref().and_then(|observed| observed.conditions.get(unit.name()));
            match (status, seen) {
                (None, _) => Purpose::Mark,
                (Some(status), Some(seen)) if seen.content.status == status => Purpose::Message,
                (status, _) if confirmed.and_then(self::status) == status => Purpose::Heal,
                _ => Purpose::Mark,
            }
        };
        let purposes: Vec<Purpose> = differing.iter().map(urgency).collect();
        [Purpose::Mark, Purpose::Heal, Purpose::Message].into_iter().find(|purpose| purposes.contains(purpose))
    }

    fn due(&self, purpose: Purpose, now: Duration) -> Duration {
        match purpose {
            Purpose::Heal => self.heal.due(self.overwritten_at.unwrap_or(now)),
            Purpose::Message => self.chatter.due(self.last_write.unwrap_or_default()),
            Purpose::Mark if self.results.len() < self.plan.probes.len() => self.gather_until.unwrap_or(now),
            Purpose::Mark | Purpose::Look => now,
        }
    }

    fn send(&mut self, chosen: BTreeSet<Unit>, purpose: Purpose) -> Step {
        let mut sent = self.flight(purpose);
        let mut changes = BTreeMap::new();
        for unit in chosen {
            let Some(want) = self.desired.get(&unit) else { continue };
            let times = self.times(&unit, want);
            sent.wants.insert(unit.clone(), want.clone());
            sent.since.extend(times.since.map(|since| (unit.clone(), since)));
            changes.insert(unit, Change { want: want.clone(), times });
        }
        self.in_flight = Some(sent);
        Step::Send(Patch { uid: self.settings.uid.clone(), changes }, purpose)
    }

    fn flight(&self, purpose: Purpose) -> InFlight {
        let (found, overwrites) = (self.overwritten_at, self.counts.overwrites);
        InFlight { wants: BTreeMap::new(), since: BTreeMap::new(), purpose, found, overwrites }
    }

    fn look(&mut self) -> Step {
        self.in_flight = Some(self.flight(Purpose::Look));
        Step::Send(Patch::look(&self.settings.uid), Purpose::Look)
    }

    /// lastTransitionTime moves only when the status does, and never backwards; a healed condition gets back the time that
    /// it had.
    fn times(&self, unit: &Unit, want: &Want) -> Times {
        let (Unit::Condition(kind), Want::Condition(want)) = (unit, want) else { return Times::default() };
        let of_kind = |planned: &&probelet_protocol::plan::PlannedProbe| planned.condition_type.as_ref() == Some(kind);
        let planned = self.plan.probes.iter().find(of_kind);
        let Some(settled) = planned.and_then(|planned| self.results.get(&planned.id)) else { return Times::default() };
        let seen = self.observed.as_ref().and_then(|observed| observed.conditions.get(kind));
        let probed = Some(settled.probed);
        // Told again, so that it is there also where somebody has taken the condition away unseen.
        if let Some(since) = seen.filter(|seen| seen.content.status == want.status).and_then(|seen| seen.since) {
            return Times { probed, since: Some(since) };
        }
        let before = self.confirmed.get(unit);
        let same = before.filter(|before| status(&before.want) == Some(&want.status));
        let last = before.and_then(|before| before.since).max(seen.and_then(|seen| seen.since));
        let since = same.and_then(|same| same.since).unwrap_or(settled.since.max(last.unwrap_or_default()));
        Times { probed, since: Some(since) }
    }
}

pub(super) fn status(want: &Want) -> Option<&str> {
    if let Want::Condition(condition) = want { Some(&condition.status) } else { None }
}
