//! Overwrites by both styles of virtual nodes.

use super::*;

/// A virtual-kubelet that polls: its status goes back at the next fifth second after a foreign write.
fn polled(now: Duration) -> Duration {
    secs(5 * (now.as_secs() / 5 + 1))
}

/// A provider that pushes right after each foreign write.
fn pushed(now: Duration) -> Duration {
    now + Duration::from_millis(50)
}

/// The same a while later, as a readiness probe makes it.
fn pushed_late(now: Duration) -> Duration {
    now + Duration::from_millis(2300)
}

type Style = fn(Duration) -> Duration;
const STYLES: [Style; 3] = [polled, pushed, pushed_late];

impl World {
    /// Switches the probe's state.
    fn flip(&mut self, number: u64) {
        self.settle(if number.is_multiple_of(2) { ProbeState::Failed } else { ProbeState::Succeeded }, "flip");
    }

    fn heals(&self) -> Vec<u128> {
        self.writes().into_iter().filter(|(_, purpose)| *purpose == Purpose::Heal).map(|(at, _)| at).collect()
    }

    /// From each loss of a new state's marks to the write that brought them back.
    fn waits(&self) -> Vec<u128> {
        let writes = self.writes();
        let mut waits = Vec::new();
        for (at, _) in writes.iter().filter(|(_, purpose)| *purpose == Purpose::Mark).skip(1) {
            let lost = self.wiped.iter().map(Duration::as_millis).find(|lost| lost > at);
            let Some(lost) = lost else { continue };
            waits.extend(writes.iter().map(|(at, _)| *at).find(|at| *at >= lost).map(|healed| healed - lost));
        }
        waits
    }
}

#[test]
fn one_overwrite_is_healed_at_once_with_the_time_that_it_had() {
    let mut world = world(settings());
    world.settle(ProbeState::Succeeded, "ok");
    world.run(Duration::from_millis(100));
    world.wipe();
    world.run(secs(20));
    let writes = world.writes();
    assert_eq!(writes.len(), 2);
    assert_eq!(writes[1].1, Purpose::Heal);
    assert!(writes[1].0 < 1000, "{writes:?}");
    assert_eq!((world.condition(), world.pod.labels["up"].as_str()), (("True", 0), "yes"));
    assert_eq!(world.ledger.counts(), Counts { overwrites: 1, heals: 1 });
}

#[test]
fn in_a_war_there_is_at_most_one_write_in_thirty_seconds() {
    for overwrite in STYLES {
        let mut world = world(settings());
        world.overwrite_after = Some(overwrite);
        world.settle(ProbeState::Succeeded, "ok");
        world.run(secs(3600));
        let writes: Vec<_> = world.writes().into_iter().map(|(at, _)| at).collect();
        // The mark, the burst, and then ever fewer.
        assert!(writes[4..].windows(2).all(|pair| pair[1] - pair[0] >= 30_000), "{writes:?}");
        assert!(writes.len() <= 14, "{writes:?}");
        assert!(world.looks() <= 50, "{} looks", world.looks());
        let wars = world.findings.iter().filter(|finding| matches!(finding, Finding::War(_))).count();
        assert_eq!(wars, 1, "{:?}", world.findings);
        // A real transition is written at once all the same.
        world.settle(ProbeState::Failed, "no");
        let before = world.now.as_millis();
        world.run(Duration::from_millis(10));
        assert_eq!(world.writes().last(), Some(&(before, Purpose::Mark)));
    }
}

#[test]
fn an_older_observation_is_no_overwrite() {
    let mut world = world(settings());
    let before = world.pod.clone();
    world.settle(ProbeState::Succeeded, "ok");
    world.run(Duration::from_millis(1));
    assert_eq!(world.ledger.observe(before, world.now), []);
    assert!(world.ledger.is_settled());
}

#[test]
fn a_watched_overwrite_is_healed_in_the_same_moment() {
    let mut settings = settings();
    settings.look.has_watch = true;
    let mut world = world(settings);
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(100));
    world.wipe();
    let findings = world.ledger.observe(world.pod.clone(), world.now);
    assert!(matches!(&findings[..], [Finding::Overwritten(units)] if units.len() == 2), "{findings:?}");
    world.run(Duration::from_millis(1));
    assert_eq!(world.writes(), [(0, Purpose::Mark), (100_000, Purpose::Heal)]);
    assert_eq!(world.looks(), 0);
}

#[test]
fn the_first_overwrite_after_each_transition_is_healed_within_a_second() {
    for overwrite in STYLES {
        let mut world = world(settings());
        world.overwrite_after = Some(overwrite);
        world.settle(ProbeState::Succeeded, "ok");
        // Past the burst and the first heal of the war, so that each transition has its own thirty seconds.
        world.run(secs(80));
        for number in 0..200 {
            world.flip(number);
            world.run(Duration::from_millis(37_000 + 613 * (number % 8)));
        }
        let mut waits = world.waits();
        waits.sort_unstable();
        assert!(waits.len() >= 199, "{}", waits.len());
        assert!(waits[waits.len() - 1] <= 800, "{waits:?}");
        assert!(world.heals()[3..].windows(2).all(|pair| pair[1] - pair[0] >= 30_000), "{:?}", world.heals());
        // Of a poll about half of the looks are saved by finding it.
        assert!(world.looks() <= 200 * 14, "{} looks", world.looks());
    }
}

/// F12: a writer of old status stands against 200 transitions that come every second or two.
#[test]
fn two_hundred_flips_under_a_status_writer_lose_no_transition_and_keep_the_rate() {
    for overwrite in STYLES {
        let mut world = world(settings());
        world.overwrite_after = Some(overwrite);
        world.settle(ProbeState::Succeeded, "ok");
        world.run(secs(60));
        let before = world.writes().iter().filter(|(_, purpose)| *purpose == Purpose::Mark).count();
        for number in 0..200 {
            world.flip(number);
            world.run(Duration::from_millis(1));
            let wanted = if number.is_multiple_of(2) { "False" } else { "True" };
            assert_eq!(world.condition().0, wanted, "flip {number} is written at once");
            world.run(Duration::from_millis(1000 + 137 * (number % 8)));
        }
        let marks = world.writes().iter().filter(|(_, purpose)| *purpose == Purpose::Mark).count() - before;
        assert_eq!(marks, 200);
        let heals = world.heals();
        assert!(heals[3..].windows(2).all(|pair| pair[1] - pair[0] >= 30_000), "{heals:?}");
        assert_eq!(world.ledger.counts().heals as usize, heals.len());
        assert!(world.ledger.counts().overwrites as usize >= heals.len());
        // The writer goes: the last state comes back, and stays.
        world.overwrite_after = None;
        world.run(secs(700));
        assert_eq!((world.condition().0, world.pod.labels.get("up").map(String::as_str)), ("True", Some("yes")));
    }
}

/// A watch is often faster than the answer: it tells of the heal, and of its overwrite, before that.
#[test]
fn a_war_goes_on_when_the_watch_tells_of_an_overwrite_before_the_answer_comes() {
    for tells_heal in [true, false] {
        let mut settings = settings();
        settings.look.has_watch = true;
        let mut world = world(settings);
        world.settle(ProbeState::Succeeded, "ok");
        world.run(secs(1));
        let mut heals = Vec::new();
        while world.now < secs(400) {
            world.now = secs(5 * (world.now.as_secs() / 5 + 1));
            if !world.pod.conditions.is_empty() {
                world.wipe();
            }
            world.ledger.observe(world.pod.clone(), world.now);
            let Step::Send(patch, Purpose::Heal) = world.ledger.step(world.now) else { continue };
            heals.push(world.now.as_secs());
            world.apply(&patch);
            let answer = world.pod.clone();
            if tells_heal {
                world.ledger.observe(answer.clone(), world.now);
            }
            world.wipe();
            world.ledger.observe(world.pod.clone(), world.now);
            world.ledger.accepted(answer, world.now);
        }
        assert_eq!(heals, [5, 10, 15, 45, 105, 225], "told of the heal first: {tells_heal}");
        let counts = world.ledger.counts();
        assert_eq!((counts.heals, counts.overwrites), (6, 7), "told of the heal first: {tells_heal}");
    }
}

/// Words that change with each run are no reason to miss that the condition is gone.
#[test]
fn an_overwrite_is_seen_and_a_war_kept_whatever_the_message_says_by_then() {
    for has_watch in [false, true] {
        let mut settings = settings();
        settings.marks = Marks::Conditions;
        settings.look.has_watch = has_watch;
        let mut world = world(settings);
        world.settle(ProbeState::Succeeded, "at 0");
        world.run(secs(1));
        for second in 1..1000_u64 {
            world.settle(ProbeState::Succeeded, &format!("at {second}"));
            if second.is_multiple_of(5) {
                world.wipe();
            }
            if has_watch {
                let findings = world.ledger.observe(world.pod.clone(), world.now);
                world.findings.extend(findings);
            }
            world.run(secs(second + 1) - world.now);
        }
        let heals = world.heals();
        assert!(heals[3..].windows(2).all(|pair| pair[1] - pair[0] >= 30_000), "watch {has_watch}: {heals:?}");
        assert!(world.writes().len() <= 30, "watch {has_watch}: {:?}", world.writes());
        assert!(world.ledger.counts().overwrites >= 4, "watch {has_watch}: {:?}", world.ledger.counts());
    }
}

/// A node that puts a retired key back is healed like any other overwrite, not at once for ever.
#[test]
fn a_retired_key_that_comes_back_is_taken_away_at_the_rate_of_heals() {
    let mut world = world(settings());
    world.pod.plan.writes = Some("c:T,l:down,l:old,l:up".into());
    world.pod.labels.insert("old".into(), "1".into());
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(1));
    assert!(!world.pod.labels.contains_key("old"));
    let before = world.writes().len();
    for second in 1..1000 {
        world.pod.labels.insert("old".into(), "1".into());
        world.touch();
        world.ledger.observe(world.pod.clone(), world.now);
        world.run(secs(second + 1) - world.now);
    }
    let writes = world.writes().len() - before;
    assert!((4..=12).contains(&writes), "{writes} writes");
}
