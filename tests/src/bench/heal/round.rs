//! One Pod's transitions, and what became of each.

use super::bare;
use super::case::{Case, Mode, Style};
use super::tally::{self, Tally};
use crate::exec;
use crate::history::{History, Marks};
use crate::pod::CONTAINER;
use crate::space::Space;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Longer than the 5 s of a poll, and than a readiness probe takes.
const OVERWRITTEN_WITHIN: Duration = Duration::from_millis(7500);
/// An overwrite that is not healed by then is counted as lost.
const HEALED_WITHIN: Duration = Duration::from_secs(25);
const MARKED_WITHIN: Duration = Duration::from_secs(15);

/// A Pod.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) space: Space,
    pub(super) name: String,
    pub(super) case: Case,
    pub(super) has_shield: bool,
}

/// What followed one transition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) case: Case,
    pub(super) has_shield: bool,
    pub(super) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nobody took the new marks away.
    Left,
    /// They were taken away, and were back after this.
    Healed(Duration),
    /// They were taken away and did not come back in time.
    Lost,
    /// A war's own rare heal came between the switch and its mark, so that for thirty seconds none may follow: no first overwrite.
    Crossed,
    /// The transition itself could not be made or seen.
    Unknown,
}

/// A Pod's start makes overwrites of its own: a pushing provider tells of each container.
const STARTED: Duration = Duration::from_secs(40);
/// A polled Pod is in a war from its start: the mark, three heals within 20 s, the next 30 s later, and after that one for a
/// minute none. The time from 31 s after it on is free for transitions whose overwrites are the first of their state.
const WAR_WRITES: usize = 5;
const WAR_BEGUN: Duration = Duration::from_secs(40);
const WAR_FREE: Duration = Duration::from_secs(31);

/// When the first transition can come.
async fn free(subject: &Subject, history: &mut History) -> Result<Instant> {
    if subject.has_shield {
        return Ok(Instant::now());
    }
    if subject.case.style == Style::Push || subject.case.mode == Mode::Bare {
        return Ok(Instant::now() + STARTED);
    }
    let mut index = 0;
    let mut last = Instant::now();
    for _ in 0..WAR_WRITES {
        let found =
            history.find(&subject.name, index, Instant::now() + WAR_BEGUN, |marks| marks != Marks::Broken).await?;
        // Left alone, so there is no war: it is free now.
        let Some((found, entry)) = found else { return Ok(Instant::now()) };
        (index, last) = (found + 1, entry.at);
    }
    Ok(last + WAR_FREE)
}

/// Switches the health `count` times, from `delay` after the first free moment on; and the sidecar's counters at that moment.
pub(super) async fn rounds(
    subject: Subject,
    mut history: History,
    delay: Duration,
    apart: Duration,
    count: usize,
) -> Result<(Vec<Round>, Tally)> {
    let pods = subject.space.api();
    let mut at = free(&subject, &mut history).await? + delay;
    let (mut before, mut rounds) = (Tally::new(), Vec::new());
    for number in 0.. {
        until_free(&subject, &history, at).await;
        if rounds.len() == count {
            break;
        }
        let is_bare = subject.case.mode == Mode::Bare;
        let mut counts = subject.has_shield || is_bare;
        if !is_bare {
            // Transitions before the Pod's very first overwrite do not count here; that one has a row of its own.
            let tally = tally::of(&subject.space, &subject.name).await?;
            counts |= tally.get("probelet_overwrites_total").is_some_and(|count| *count > 0);
            if rounds.is_empty() {
                before = tally;
            }
        }
        let healthy = number % 2 == 1;
        let known = history.len(&subject.name);
        let order = if healthy { "heal" } else { "fail" };
        let fate = match exec::switch(&pods, &subject.name, CONTAINER, order).await {
            Ok(_) if is_bare => {
                let work = bare::mark_and_heal(pods.clone(), history.clone(), subject.name.clone(), known, healthy);
                let work = tokio::spawn(work);
                let fate = follow(&mut history, &subject.name, known, healthy).await;
                work.abort();
                fate
            }
            Ok(_) => follow(&mut history, &subject.name, known, healthy).await,
            Err(error) => Err(error),
        };
        let fate = fate.unwrap_or_else(|error| {
            eprintln!("{}: {error:#}", subject.name);
            Fate::Unknown
        });
        rounds.extend(counts.then_some(Round { case: subject.case, has_shield: subject.has_shield, fate }));
        at += apart;
    }
    Ok((rounds, before))
}

/// Waits until `at`, and longer where marks were put back shortly before: a polled node that left them alone once is no war any
/// more, so what it overwrites next is healed three times in 15 s, and nothing for thirty seconds then.
async fn until_free(subject: &Subject, history: &History, mut at: Instant) {
    loop {
        tokio::time::sleep_until(at.into()).await;
        let last = history.since(&subject.name, 0).last().map(|entry| entry.at + WAR_FREE);
        match last {
            Some(free) if !subject.has_shield && free > Instant::now() => at = free,
            _ => return,
        }
    }
}

async fn follow(history: &mut History, pod: &str, before: usize, healthy: bool) -> Result<Fate> {
    let whole = Marks::Whole(healthy);
    let (index, marked) = history.until(pod, before, MARKED_WITHIN, whole).await?;
    if history.since(pod, before)[..index - before].iter().any(|entry| entry.marks == Marks::Whole(!healthy)) {
        return Ok(Fate::Crossed);
    }
    let deadline = marked.at + OVERWRITTEN_WITHIN;
    let Some((index, lost)) = history.find(pod, index + 1, deadline, |marks| marks != whole).await? else {
        return Ok(Fate::Left);
    };
    if lost.marks != Marks::Broken {
        bail!("the probe found another state by itself; this is no overwrite");
    }
    let back = history.find(pod, index + 1, lost.at + HEALED_WITHIN, |marks| marks != Marks::Broken).await?;
    match back {
        Some((_, back)) if back.marks == whole => Ok(Fate::Healed(back.at - lost.at)),
        Some(_) => bail!("the probe found another state by itself before the heal"),
        None => Ok(Fate::Lost),
    }
}
