//! Keys that the API server refuses, and everything else meanwhile.

use super::*;

#[test]
fn a_refused_key_is_told_and_the_rest_goes_through() {
    let mut world = world(settings());
    world.refuses = &["up"];
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(300));
    assert_eq!(world.condition(), ("True", 0));
    let refused = Finding::Refused(Unit::Label("up".into()), "denied".into());
    assert!(world.findings.contains(&refused), "{:?}", world.findings);
    assert!(world.writes().len() <= 9, "{:?}", world.sent);
    assert_eq!(world.ledger.refused_count(), 1);
    // The next transition is not held back, nor split again.
    let before = world.writes().len();
    world.settle(ProbeState::Failed, "no");
    world.run(secs(1));
    assert_eq!((world.condition(), world.writes().len()), (("False", 300), before + 1));
}

/// A refused key that is no longer wanted has nothing left to be tried.
#[test]
fn refused_keys_cost_a_try_when_they_are_due_and_nothing_between() {
    let mut world = world(settings());
    world.refuses = &["up", "down"];
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(10));
    world.settle(ProbeState::Failed, "no");
    world.run(secs(10));
    assert_eq!(world.ledger.refused_count(), 1, "only the one that is wanted now");
    let before = (world.writes().len(), world.looks());
    world.run(secs(7200));
    let (tries, looks) = (world.writes().len() - before.0, world.looks() - before.1);
    assert!((5..=9).contains(&tries) && looks <= 12, "{tries} tries, {looks} looks in two hours");
}

/// All marks are refused for a cause that passes.
#[test]
fn marks_that_were_all_refused_come_back_soon_and_the_tries_are_apart() {
    let mut world = world(settings());
    world.refuses = &["T", "up", "down"];
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(5));
    let tries: Vec<_> = world.writes().into_iter().map(|(at, _)| at).collect();
    assert_eq!(tries.len(), 5, "the whole, a half and each alone: {:?}", world.sent);
    assert!(tries.windows(2).all(|pair| pair[1] >= pair[0] + 20), "{tries:?}");
    world.refuses = &[];
    world.run(secs(30));
    assert_eq!((world.condition(), world.pod.labels["up"].as_str()), (("True", 0), "yes"));
    assert_eq!(world.ledger.refused_count(), 0);
}

#[test]
fn a_refused_key_lets_no_message_through_sooner() {
    let mut world = world(settings());
    world.refuses = &["down"];
    world.settle(ProbeState::Failed, "one");
    world.run(secs(9));
    for second in 0..600 {
        world.settle(ProbeState::Failed, &format!("now {second}"));
        world.run(secs(1));
    }
    let messages = world.sent.iter().filter(|(_, _, names)| *names == ["T"]).count();
    assert!(messages <= 10, "{:?}", world.sent);
}

#[test]
fn a_refused_key_ends_no_truce() {
    for has_watch in [false, true] {
        let mut settings = settings();
        settings.look.has_watch = has_watch;
        let mut world = world(settings);
        world.refuses = &["up"];
        world.settle(ProbeState::Succeeded, "ok");
        world.run(secs(1));
        // The node takes the condition away at every fifth second.
        for round in 1..200 {
            world.wipe();
            if has_watch {
                let findings = world.ledger.observe(world.pod.clone(), world.now);
                world.findings.extend(findings);
            }
            world.run(secs(5 * round + 1) - world.now);
        }
        let heals: Vec<_> =
            world.sent.iter().filter(|(_, _, names)| *names == ["T"]).map(|(at, ..)| *at).skip(1).collect();
        assert!(heals[3..].windows(2).all(|pair| pair[1] - pair[0] >= 30_000), "watch {has_watch}: {heals:?}");
        assert!((4..12).contains(&heals.len()), "watch {has_watch}: {heals:?}");
        assert!(world.findings.iter().any(|finding| matches!(finding, Finding::War(_))), "{:?}", world.findings);
        assert!(world.ledger.counts().heals >= 4);
    }
}

#[test]
fn what_was_refused_is_not_waited_for() {
    let mut world = world(settings());
    world.refuses = &["up"];
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(2));
    assert!(world.ledger.is_settled());
}
