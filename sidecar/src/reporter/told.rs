//! Lines that the reporter logs. Messages are constant, everything else is a field; no header, token or body is among them.

use super::Reporter;
use crate::desired::{Unit, Want};
use crate::event::Note;
use crate::ledger::Finding;
use crate::patch::Patch;
use crate::repeat::Repeat;
use crate::stats::add;
use crate::worker::Report;
use probelet_protocol::limit::cut_message;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

impl Reporter {
    pub(super) fn tell_written(&mut self, now: Duration) {
        let took = now.saturating_sub(self.sent_at);
        for report in std::mem::take(&mut self.riding) {
            if !self.wrote.is_empty() {
                self.parts.stats.marked(now.saturating_sub(report.at));
            }
            transition(&report, &self.wrote, took);
            self.note(Note::Transition(report));
        }
        if self.repeat.over("api") {
            tracing::info!("the API server takes marks again");
        }
    }

    pub(super) fn tell_trouble(&mut self, error: &str, wait: Duration, now: Duration) {
        add(&self.parts.stats.failures, 1);
        if let Some(left_out) = self.repeat.may("api", now) {
            let (waiting, tries) = (self.waiting.len(), self.parts.ledger.tries());
            tracing::warn!(error, waiting, tries, next_try = ?wait, left_out, "marks are not written yet");
        }
    }

    pub(super) fn tell(&mut self, findings: Vec<Finding>, now: Duration) {
        for finding in findings {
            self::finding(&finding, &mut self.repeat, now);
            if let Finding::War(_) = finding {
                self.parts.stats.war.store(1, Relaxed);
                self.note(Note::War);
            }
        }
        let (stats, counts) = (&self.parts.stats, self.parts.ledger.counts());
        stats.overwrites.store(counts.overwrites, Relaxed);
        stats.heals.store(counts.heals, Relaxed);
        stats.refused.store(self.parts.ledger.refused_count() as u64, Relaxed);
        if !self.parts.ledger.is_war() {
            stats.war.store(0, Relaxed);
        }
    }

    /// As an Event, where there are any.
    fn note(&self, note: Note) {
        if let Some(events) = &self.parts.events {
            // Full: Events are best effort.
            let _ = events.try_send(note);
        }
    }
}

/// One transition, with what was written for it; `wrote` is empty where nothing was to be written.
pub(super) fn transition(report: &Report, wrote: &str, took: Duration) {
    let verdict = &report.verdict;
    tracing::info!(
        container = report.id.container,
        probe = report.id.name,
        handler = report.handler,
        from = report.from.map_or("none", |state| state.word()),
        to = verdict.state.word(),
        reason = verdict.reason,
        run = verdict.run,
        latency = ?report.latency,
        output = cut_message(&verdict.message),
        wrote = if wrote.is_empty() { "nothing" } else { wrote },
        patch = ?if wrote.is_empty() { Duration::ZERO } else { took },
        "transition"
    );
}

/// New words for the same state.
pub(super) fn message(report: &Report) {
    let (id, verdict) = (&report.id, &report.verdict);
    let (state, output) = (verdict.state.word(), cut_message(&verdict.message));
    tracing::debug!(container = id.container, probe = id.name, state, output, "new message");
}

pub(super) fn finding(finding: &Finding, repeat: &mut Repeat, now: Duration) {
    match finding {
        Finding::Overwritten(units) => {
            if let Some(left_out) = repeat.may("overwritten", now) {
                let lost = units.iter().map(name).collect::<Vec<_>>().join(" ");
                tracing::warn!(lost, left_out, "marks were overwritten by someone else; they are put back");
            }
        }
        Finding::War(gap) => tracing::warn!(
            next_heal = ?gap,
            "marks are overwritten again and again, by the virtual node's provider most likely; they are put back ever more \
             rarely. Installing the shield ends this"
        ),
        Finding::Refused(unit, error) => {
            tracing::error!(
                mark = name(unit),
                error,
                "the API server refuses this mark; the others are written without it"
            );
        }
    }
}

/// What a patch changes: `condition:T=True label:up=yes -label:down`.
pub(super) fn units(patch: &Patch) -> String {
    let word = |(unit, change): (&Unit, &crate::patch::Change)| match &change.want {
        Want::Condition(condition) => format!("{}={}", name(unit), condition.status),
        Want::Text(value) => format!("{}={value}", name(unit)),
        Want::Absent => format!("-{}", name(unit)),
    };
    patch.changes.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn name(unit: &Unit) -> String {
    match unit {
        Unit::Condition(name) => format!("condition:{name}"),
        Unit::Label(name) => format!("label:{name}"),
        Unit::Annotation(name) => format!("annotation:{name}"),
    }
}
