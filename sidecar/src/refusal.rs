//! Keys that the API server refuses: found by sending less and less at once, then left out so that the others go through,
//! and tried again rarely.

use crate::desired::{Unit, Want};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// First and longest wait before a refused key is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(3600));

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

    /// Of the units that differ, those to send next. Empty: nothing may be sent now.
    pub fn choose(&mut self, differing: BTreeSet<Unit>, wants: &BTreeMap<Unit, Want>, now: Duration) -> BTreeSet<Unit> {
        let is_open = |unit: &Unit| match self.refused.get(unit) {
            Some(refused) => now >= refused.retry_at || wants.get(unit) != Some(&refused.want),
            None => true,
        };
        let open: BTreeSet<Unit> = differing.into_iter().filter(is_open).collect();
        while let Some(part) = self.parts.pop_front() {
            let part: BTreeSet<Unit> = part.intersection(&open).cloned().collect();
            if !part.is_empty() {
                return part;
            }
        }
        let (suspect, clean): (BTreeSet<_>, BTreeSet<_>) =
            open.into_iter().partition(|unit| self.refused.contains_key(unit));
        // One that was refused before goes alone, after the others.
        if clean.is_empty() { suspect.into_iter().take(1).collect() } else { clean }
    }

    /// These were accepted.
    pub fn accepted<'a>(&mut self, units: impl Iterator<Item = &'a Unit>) {
        for unit in units {
            self.refused.remove(unit);
        }
    }

    /// Whether parts of a refused patch wait to be sent.
    pub fn is_isolating(&self) -> bool {
        !self.parts.is_empty()
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
            let chosen = refusals.choose(differing.clone(), &wants, NOW);
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
        let names = |units: BTreeSet<Unit>| units.iter().map(Unit::name).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(refusals.choose(all.clone(), &both, NOW)), ["B"]);
        assert_eq!(refusals.due(&all), Some(NOW + RETRY.0));
        let later = NOW + RETRY.0;
        assert_eq!(names(refusals.choose(all.clone(), &both, later)), ["B"]);
        assert_eq!(names(refusals.choose(a.keys().cloned().collect(), &a, later)), ["A"]);
        refusals.refused(&a, "?", later);
        assert_eq!(refusals.due(&all), Some(later + RETRY.0 * 2));
        assert_eq!((refusals.due(&BTreeSet::new()), refusals.count(&BTreeSet::new())), (None, 0), "nothing differs");
        let changed = BTreeMap::from([(Unit::Label("A".into()), Want::Text("other".into()))]);
        assert_eq!(names(refusals.choose(changed.keys().cloned().collect(), &changed, later)), ["A"]);
    }
}
