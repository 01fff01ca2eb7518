//! The rows.

use super::Settings;
use super::case::{Case, Mode};
use super::round::{Fate, Round, Subject};
use super::tally::Tally;
use crate::bench::figure::Series;
use crate::history::{Entry, History, Marks};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that was measured.
pub(super) struct Report {
    pub(super) rounds: Vec<Round>,
    pub(super) subjects: Vec<Subject>,
    pub(super) open: History,
    pub(super) before: BTreeMap<String, Tally>,
    pub(super) after: BTreeMap<String, Tally>,
    pub(super) took: Duration,
}

impl Report {
    pub(super) fn print(&self, settings: &Settings) {
        println!(
            "heal: marks gone -> marks back, both seen by a watcher, for the first overwrite after a transition; {} Pods a row, \
             {} transitions each, {} s",
            settings.pods,
            settings.rounds,
            self.took.as_secs()
        );
        for case in settings.cases() {
            self.print_case(case);
        }
        println!("  a Pod's very first overwrite, when nothing is known of its virtual node yet");
        for case in settings.cases().filter(|case| case.mode != Mode::Bare) {
            println!("  {:<11} {}", case.name(), Series::new(self.very_first(case)));
        }
        println!("  war: a provider that overwrites every time, no transition but the first; seconds of writes seen");
        for subject in self.subjects.iter().filter(|subject| subject.name.starts_with("war")) {
            self.print_war(subject);
        }
        let shielded: Vec<_> = self.rounds.iter().filter(|round| round.has_shield).collect();
        let overwritten =
            shielded.iter().filter(|round| !matches!(round.fate, Fate::Left | Fate::Crossed | Fate::Unknown)).count();
        let heals = self.counted("shield", "probelet_heals_total");
        println!(
            "  shield      {} transitions on both nodes, {overwritten} overwrites seen by the watcher, {heals} heals",
            shielded.len()
        );
    }

    fn print_case(&self, case: Case) {
        let rounds: Vec<_> = self.rounds.iter().filter(|round| round.case == case && !round.has_shield).collect();
        let healed = rounds.iter().filter_map(|round| match round.fate {
            Fate::Healed(took) => Some(took),
            Fate::Left | Fate::Lost | Fate::Crossed | Fate::Unknown => None,
        });
        let count = |fate| rounds.iter().filter(|round| round.fate == fate).count();
        let target = match case.mode {
            Mode::Patch => "target p99 < 1 s",
            Mode::Watch => "target p99 < 50 ms",
            Mode::Bare => "no sidecar: one request of the bench's own as soon as its watcher sees them gone",
        };
        println!("  {:<11} {}   ({target})", case.name(), Series::new(healed.collect()));
        if case.mode == Mode::Bare {
            println!("              not overwritten {}, not made {}", count(Fate::Left), count(Fate::Unknown));
            return;
        }
        let prefix = format!("flip-{}", case.name());
        let each = |name| self.counted(&prefix, name) as f64 / rounds.len().max(1) as f64;
        println!(
            "              not overwritten {}, not healed in time {}, within 30 s of another heal {}, not made {}; for each transition {:.2} writes, {:.2} of \
             them heals, and {:.2} looks",
            count(Fate::Left),
            count(Fate::Lost),
            count(Fate::Crossed),
            count(Fate::Unknown),
            each("probelet_patches_total"),
            each("probelet_heals_total"),
            each("probelet_looks_total")
        );
    }

    fn print_war(&self, subject: &Subject) {
        let entries = self.open.since(&subject.name, 0);
        let writes: Vec<_> = entries.iter().filter(|entry| entry.marks == Marks::Whole(true)).collect();
        let Some(first) = writes.first() else { return };
        let seconds: Vec<_> = writes.iter().map(|entry| (entry.at - first.at).as_secs_f64()).collect();
        // The mark, three heals at once, then the war.
        let after_burst = seconds.get(3..).unwrap_or_default();
        let shortest = after_burst.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        let told: Vec<_> = seconds.iter().map(|second| format!("{second:.1}")).collect();
        println!(
            "  {:<11} {}; shortest time between two after the burst {shortest:.1} s (target >= 30 s)",
            subject.case.name(),
            told.join(" ")
        );
    }

    /// From the first time that whole marks were seen to be gone to their coming back.
    fn very_first(&self, case: Case) -> Vec<Duration> {
        let is_of = |subject: &&Subject| subject.case == case && subject.name.starts_with("flip");
        let pods = self.subjects.iter().filter(is_of);
        pods.filter_map(|subject| first_heal(&self.open.since(&subject.name, 0))).collect()
    }

    fn counted(&self, prefix: &str, name: &str) -> u64 {
        let sum = |tallies: &BTreeMap<String, Tally>| -> u64 {
            let is_counted = |pod: &str| pod.starts_with(prefix) && self.before.contains_key(pod);
            let chosen = tallies.iter().filter(|(pod, _)| is_counted(pod));
            chosen.filter_map(|(_, tally)| tally.get(name)).sum()
        };
        sum(&self.after).saturating_sub(sum(&self.before))
    }
}

fn first_heal(entries: &[Entry]) -> Option<Duration> {
    let is_loss = |pair: &[Entry]| pair[0].marks != Marks::Broken && pair[1].marks == Marks::Broken;
    let marked = entries.windows(2).position(is_loss)?;
    let (whole, lost) = (entries[marked].marks, entries[marked + 1].at);
    let back = entries[marked + 1..].iter().find(|entry| entry.marks != Marks::Broken)?;
    (back.marks == whole).then(|| back.at - lost)
}
