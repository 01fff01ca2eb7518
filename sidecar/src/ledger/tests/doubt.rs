//! Writes of which no answer came: each may be on the Pod or not.

use super::*;

fn settings_with(has_watch: bool, has_shield: bool) -> LedgerSettings {
    let mut settings = settings();
    (settings.look.has_watch, settings.look.has_shield) = (has_watch, has_shield);
    settings
}

/// Marks the Pod True, then lets it be written False with the answer lost, and the probe succeed again.
fn flipped_back(settings: LedgerSettings, trouble: Trouble) -> World {
    let mut world = world(settings);
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(60));
    world.settle(ProbeState::Failed, "no");
    let Step::Send(patch, Purpose::Mark) = world.ledger.step(world.now) else { panic!("not sent") };
    world.apply(&patch);
    world.ledger.failed(trouble, None, world.now);
    world.settle(ProbeState::Succeeded, "ok");
    world
}

#[test]
fn a_state_that_flips_back_before_the_next_try_is_not_lost() {
    for has_shield in [false, true] {
        for trouble in [Trouble::Unreachable, Trouble::Unwell] {
            let mut world = flipped_back(settings_with(false, has_shield), trouble);
            world.run(secs(60));
            assert_eq!((world.condition(), world.pod.labels["up"].as_str()), (("True", 60), "yes"), "{trouble:?}");
            assert_eq!(world.ledger.counts(), Counts::default(), "nobody has overwritten anything");
        }
    }
}

/// What surely was not written needs no look.
#[test]
fn a_write_that_was_turned_away_leaves_no_doubt() {
    for trouble in [Trouble::Throttled, Trouble::Forbidden] {
        let mut world = world(settings_with(false, true));
        world.settle(ProbeState::Succeeded, "ok");
        world.run(secs(60));
        world.settle(ProbeState::Failed, "no");
        let Step::Send(..) = world.ledger.step(world.now) else { panic!("not sent") };
        world.ledger.failed(trouble, None, world.now);
        world.settle(ProbeState::Succeeded, "ok");
        let before = world.sent.len();
        world.run(secs(600));
        assert_eq!(world.sent.len(), before, "{trouble:?}");
    }
}

#[test]
fn a_watch_that_tells_of_a_doubted_write_tells_of_no_overwrite() {
    let mut world = flipped_back(settings_with(true, false), Trouble::Unreachable);
    assert_eq!(world.ledger.observe(world.pod.clone(), world.now), []);
    world.run(secs(60));
    assert_eq!((world.condition(), world.ledger.counts()), (("True", 60), Counts::default()));
    assert_eq!(world.writes().last().map(|(_, purpose)| *purpose), Some(Purpose::Mark));
}

/// No fault at all: the watch is faster than the answer, and the probe too.
#[test]
fn a_watch_that_is_faster_than_the_answer_tells_of_no_overwrite() {
    let mut world = world(settings_with(true, false));
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(60));
    world.settle(ProbeState::Failed, "no");
    let Step::Send(patch, _) = world.ledger.step(world.now) else { panic!("not sent") };
    world.apply(&patch);
    world.settle(ProbeState::Succeeded, "ok");
    assert_eq!(world.ledger.observe(world.pod.clone(), world.now), []);
    world.ledger.accepted(world.pod.clone(), world.now);
    world.run(secs(1));
    assert_eq!((world.condition().0, world.ledger.counts()), ("True", Counts::default()));
}
