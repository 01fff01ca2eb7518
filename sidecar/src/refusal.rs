//! Keys that the API server refuses: found by sending less and less at once, then left out so that the others go through,
//! and tried again rarely.

use crate::desired::{Unit, Want};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// First and longest wait before a refused key is tried again; doubles from one to the other. The first is short: what is
/// refused for a cause that passes, such as a policy that is being edited, is not a key's fault.
const RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));

/// What was refused, and what is still being found out.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    refused: BTreeMap<Unit, Refused>,
    parts: VecDeque<BTreeSet<Unit>>,
}

#[derive(Clone, Debug)]
struct Refused {
    want: Want,
    retry_at: Duration,
    wait: Duration,
}

impl Refusals {
    /// A patch of these units was refused. Where it was one alone, that one is the culprit and is returned.
    /// Otherwise the next patches are smaller: the units that the message names apart from the others, or halves.
    pub fn refused(&mut self, sent: &BTreeMap<Unit, Want>, message: &str, now: Duration) -> Option<Unit> {
        if let (1, Some((unit, want))) = (sent.len(), sent.first_key_value()) {
            let before = self.refused.get(unit).map_or(RETRY.0, |refused| refused.wait.saturating_mul(2).min(RETRY.1));
            let refused = Refused { want: want.clone(), retry_at: now + before, wait: before };
            self.refused.insert(unit.clone(), refused);
            return Some(unit.clone());
        }
        let (named, others): (BTreeSet<_>, BTreeSet<_>) =
            sent.keys().cloned().partition(|unit| message.contains(unit.name()));
        if named.is_empty() || others.is_empty() {
            let (left, right) = (sent.keys().take(sent.len() / 2), sent.keys().skip(sent.len() / 2));
            self.parts.push_front(right.cloned().collect());
            self.parts.push_front(left.cloned().collect());
        } else {
            self.parts.push_front(named);
            self.parts.push_front(others);
        }
        None
    }

    /// Of the units that differ, the next part of a patch that was refused; it goes at once.
    pub fn part(&mut self, differing: &BTreeSet<Unit>) -> Option<BTreeSet<Unit>> {
        let parts = std::iter::from_fn(|| self.parts.pop_front());
        let mut open = parts.map(|part| part.intersection(differing).cloned().collect::<BTreeSet<_>>());
        open.find(|part| !part.is_empty())
    }

    /// Of the units that differ, those that may go together: they were not refused as they are wanted now.
    pub fn clean(&self, differing: &BTreeSet<Unit>, wants: &BTreeMap<Unit, Want>) -> BTreeSet<Unit> {
        let is_clean =
            |unit: &&Unit| self.refused.get(*unit).is_none_or(|refused| wants.get(*unit) != Some(&refused.want));
        differing.iter().filter(is_clean).cloned().collect()
    }

    /// Of the units that differ, one that was refused and is to be tried again, alone.
    pub fn suspect(&self, differing: &BTreeSet<Unit>, now: Duration) -> Option<Unit> {
        let is_due = |unit: &&Unit| self.refused.get(*unit).is_some_and(|refused| now >= refused.retry_at);
        differing.iter().find(is_due).cloned()
    }

    /// These were accepted.
    pub fn accepted<'a>(&mut self, units: impl Iterator<Item = &'a Unit>) {
        for unit in units {
            self.refused.remove(unit);
        }
    }

    /// When the next refused one of the units that differ may be tried again. One that is as it should be needs no try: its own
    /// time passes without anything being done.
    pub fn due(&self, differing: &BTreeSet<Unit>) -> Option<Duration> {
        let waits = self.refused.iter().filter(|(unit, _)| differing.contains(unit));
        waits.map(|(_, refused)| refused.retry_at).min()
    }

    /// How many of the units that differ are left out.
    pub fn count(&self, differing: &BTreeSet<Unit>) -> usize {
        self.refused.keys().filter(|unit| differing.contains(unit)).count()
    }

    /// Forgets units that nobody wants any more.
    pub fn keep(&mut self, wants: &BTreeMap<Unit, Want>) {
        self.refused.retain(|unit, _| wants.contains_key(unit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn wants(names: &[&str]) -> BTreeMap<Unit, Want> {
        names.iter().map(|name| (Unit::Label((*name).into()), Want::Text("v".into()))).collect()
    }

    /// Sends until nothing may be sent; the sets that were sent. The server refuses every set with a bad key in it.
    fn sent(keys: &[&str], bad: &[&str], message: &str) -> Vec<String> {
        let mut refusals = Refusals::default();
        let wants = wants(keys);
        let mut differing: BTreeSet<Unit> = wants.keys().cloned().collect();
        let mut log = Vec::new();
        loop {
            let open = refusals.clean(&differing, &wants);
            let chosen = refusals.part(&differing).unwrap_or(open);
            if chosen.is_empty() {
                return log;
            }
            log.push(chosen.iter().map(Unit::name).collect::<Vec<_>>().join(""));
            assert!(log.len() < 20, "{log:?}");
            if chosen.iter().any(|unit| bad.contains(&unit.name())) {
                let sent = chosen.iter().map(|unit| (unit.clone(), wants[unit].clone())).collect();
                refusals.refused(&sent, message, NOW);
            } else {
                refusals.accepted(chosen.iter());
                differing.retain(|unit| !chosen.contains(unit));
            }
        }
    }

    #[test]
    fn one_refused_key_does_not_hold_back_the_others() {
        for (keys, bad, message, expected) in [
            (&["A", "B", "C", "D"][..], &["C"][..], "?", &["ABCD", "AB", "CD", "C", "D"][..]),
            (&["A", "B", "C", "D"], &["C"], "metadata.labels: key \"C\"", &["ABCD", "ABD", "C"]),
            (&["A", "B"], &["A", "B"], "?", &["AB", "A", "B"]),
            (&["A"], &["A"], "?", &["A"]),
            (&["A", "B"], &[], "?", &["AB"]),
        ] {
            assert_eq!(sent(keys, bad, message), expected);
        }
    }

    #[test]
    fn a_refused_key_is_tried_again_rarely_and_alone_or_when_its_value_changes() {
        let mut refusals = Refusals::default();
        let a = wants(&["A"]);
        assert_eq!(refusals.refused(&a, "?", NOW), Some(Unit::Label("A".into())));
        let both = wants(&["A", "B"]);
        let all: BTreeSet<_> = both.keys().cloned().collect();
        let clean = |refusals: &Refusals, wants| {
            let units = refusals.clean(&all, wants);
            units.iter().map(Unit::name).collect::<Vec<_>>().join("")
        };
        assert_eq!(clean(&refusals, &both), "B");
        assert_eq!((refusals.due(&all), refusals.suspect(&all, NOW)), (Some(NOW + RETRY.0), None));
        let later = NOW + RETRY.0;
        assert_eq!(clean(&refusals, &both), "B", "alone, not with the others");
        assert_eq!(refusals.suspect(&all, later), Some(Unit::Label("A".into())));
        refusals.refused(&a, "?", later);
        assert_eq!(refusals.due(&all), Some(later + RETRY.0 * 2));
        assert_eq!((refusals.due(&BTreeSet::new()), refusals.count(&BTreeSet::new())), (None, 0), "nothing differs");
        let changed = BTreeMap::from([(Unit::Label("A".into()), Want::Text("other".into()))]);
        assert_eq!(clean(&refusals, &changed), "AB");
    }
}
