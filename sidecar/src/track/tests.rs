use super::*;

#[derive(Debug)]
struct NoAgent;

impl std::fmt::Display for NoAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no agent")
    }
}

impl Reason for NoAgent {
    fn reason(&self) -> &str {
        "AgentMissing"
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn track(delay: u64, failures: u32, has_startup_probe: bool) -> Track {
    track_since(0, delay, failures, has_startup_probe)
}

fn track_since(now: u64, delay: u64, failures: u32, has_startup_probe: bool) -> Track {
    let timing = Timing {
        initial_delay: secs(delay),
        period: secs(10),
        timeout: secs(1),
        success_threshold: 1,
        failure_threshold: failures,
    };
    Track::new("c".into(), timing, has_startup_probe, secs(now), 1.0)
}

fn neighbour(id: &str, life: Life, is_started: bool) -> Neighbour {
    Neighbour { incarnation: (id.into(), 0), life, is_started }
}

fn run(track: &mut Track, letter: char, at: u64) -> Option<(ProbeState, String)> {
    let result = match letter {
        's' => Ok(Outcome::Success("ok".into())),
        'f' => Ok(Outcome::Failure("no".into())),
        _ => Err(NoAgent),
    };
    track.ran(&result, secs(at), secs(at)).map(|verdict| (verdict.state, verdict.message))
}

const RUNNING: Life = Life::Running(None);

#[test]
fn only_a_new_state_or_message_is_told() {
    let mut track = track(0, 2, false);
    assert_eq!(track.next(), Next::RunAt(secs(0)));
    assert_eq!(run(&mut track, 's', 0), Some((ProbeState::Succeeded, "ok".into())));
    assert_eq!(run(&mut track, 's', 10), None);
    assert_eq!(run(&mut track, 'f', 20), None);
    assert_eq!(run(&mut track, 'f', 30), Some((ProbeState::Failed, "no".into())));
    assert_eq!(run(&mut track, 'f', 40), None);
    assert_eq!(run(&mut track, 'e', 50), None);
    assert_eq!(run(&mut track, 'e', 60), None);
    assert_eq!(run(&mut track, 'e', 70), Some((ProbeState::Unknown, "no agent".into())));
}

#[test]
fn the_initial_delay_counts_from_the_container_s_start_once_that_is_known() {
    let mut unseen = track(5, 1, false);
    assert_eq!(unseen.next(), Next::RunAt(secs(5)));
    unseen.see(&neighbour("a", Life::Running(Some(secs(3))), true), secs(4));
    assert_eq!(unseen.next(), Next::RunAt(secs(8)));
    let mut older = track_since(1000, 60, 1, false);
    older.see(&neighbour("a", Life::Running(Some(secs(10))), true), secs(1000));
    assert_eq!(
        older.next(),
        Next::RunAt(secs(70)),
        "a restarted sidecar, an edited probe: the delay has passed long ago"
    );
    let mut settled = track(5, 1, false);
    run(&mut settled, 's', 5);
    let next = settled.next();
    settled.see(&neighbour("a", Life::Running(Some(secs(3))), true), secs(6));
    assert_eq!(settled.next(), next);
}

/// worker.go: `time.Since(c.State.Running.StartedAt.Time)`, whatever was seen of the container before that start.
#[test]
fn the_initial_delay_counts_from_each_start() {
    let see = |track: &mut Track, id: &str, restarts, life, at| {
        track.see(&Neighbour { incarnation: (id.into(), restarts), life, is_started: true }, secs(at))
    };
    let not_running = |verdict: Option<Verdict>| verdict.is_some_and(|verdict| verdict.reason == NOT_RUNNING);
    for (what, life) in [("since then", Life::Running(Some(secs(60)))), ("nobody knows since when", RUNNING)] {
        // Seen before it was created, by a sidecar that waited its own delay before.
        let mut first = track(30, 1, false);
        assert_eq!(see(&mut first, "", 0, Life::Stopped, 1), None);
        assert_eq!(first.next(), Next::RunAt(secs(30)), "not before the delay");
        assert!(run(&mut first, 'f', 30).is_some_and(|(_, message)| message.ends_with("Non-running")));
        see(&mut first, "x1", 0, life, 60);
        assert_eq!(first.next(), Next::RunAt(secs(90)), "{what}");
        first.hurry(secs(61));
        assert_eq!(first.next(), Next::RunAt(secs(90)), "{what}");
        // The same without ids.
        let mut nameless = track(30, 1, false);
        see(&mut nameless, "", 0, Life::Stopped, 1);
        run(&mut nameless, 'f', 30);
        see(&mut nameless, "", 0, life, 60);
        assert_eq!(nameless.next(), Next::RunAt(secs(90)), "{what}");
        // A waiting status without an id comes between two runs, or comes not.
        for waits in [true, false] {
            let mut again = track(30, 1, false);
            see(&mut again, "a", 0, RUNNING, 0);
            run(&mut again, 's', 30);
            if waits {
                assert_eq!(see(&mut again, "", 1, Life::Stopped, 50), None);
                assert_eq!(again.next(), Next::RunAt(secs(40)), "now");
                assert!(run(&mut again, 'f', 50).is_some());
            }
            see(&mut again, "b", 1, life, 60);
            assert_eq!(again.next(), Next::RunAt(secs(90)), "{what}, {waits}");
        }
    }
    // It died within its delay: nothing may ask it.
    let mut dead = track(30, 1, false);
    see(&mut dead, "a", 0, Life::Running(Some(secs(1))), 1);
    assert!(not_running(see(&mut dead, "a", 0, Life::Stopped, 5)));
    assert_eq!(dead.next(), Next::RunAt(secs(31)));
}

/// In patch mode nothing else is seen for long.
#[test]
fn an_agent_that_comes_with_its_container_starts_the_initial_delay() {
    let mut track = track(30, 3, false);
    assert_eq!(track.started(secs(7)), None);
    assert_eq!(track.next(), Next::RunAt(secs(37)));
    run(&mut track, 's', 37);
    let verdict = track.started(secs(100)).expect("verdict");
    assert_eq!((verdict.state, verdict.reason.as_str()), (ProbeState::Unknown, RESTARTED));
    track.hurry(secs(100));
    assert_eq!(track.next(), Next::RunAt(secs(130)));
    run(&mut track, 'f', 130);
    run(&mut track, 'f', 140);
    assert_eq!(track.started(secs(150)), None, "no success is left to be taken back");
    let mut prompt = self::track(0, 1, false);
    run(&mut prompt, 's', 0);
    prompt.started(secs(3));
    prompt.hurry(secs(3));
    assert_eq!(prompt.next(), Next::RunAt(secs(3)));
}

#[test]
fn a_startup_probe_that_has_not_passed_holds_the_probe_back() {
    let mut track = track(0, 1, true);
    assert_eq!(track.next(), Next::Hold);
    track.see(&neighbour("a", RUNNING, false), secs(1));
    assert_eq!(track.next(), Next::Hold);
    track.see(&neighbour("a", RUNNING, true), secs(2));
    assert_eq!(track.next(), Next::RunAt(secs(0)));
}

#[test]
fn a_container_that_does_not_run_is_failed_unless_its_probe_still_succeeds() {
    let stopped = neighbour("a", Life::Stopped, false);
    let not_running = Some((ProbeState::Failed, "Container(c) is Non-running".to_owned()));
    let mut lagging = track(0, 3, false);
    run(&mut lagging, 's', 0);
    assert_eq!(lagging.see(&stopped, secs(2)), None);
    assert_eq!(lagging.next(), Next::RunAt(secs(2)));
    assert_eq!(run(&mut lagging, 's', 2), None);
    let mut stopping = track(0, 3, false);
    run(&mut stopping, 's', 0);
    stopping.see(&stopped, secs(2));
    assert_eq!(run(&mut stopping, 'f', 2), not_running);
    assert_eq!(run(&mut stopping, 'e', 12), None);
    assert_eq!(run(&mut stopping, 's', 22), Some((ProbeState::Succeeded, "ok".into())));
    let mut ended = track(0, 3, false);
    let verdict = ended.see(&neighbour("a", Life::Ended, false), secs(1));
    assert_eq!(verdict.map(|verdict| (verdict.state, verdict.message)), not_running);
    assert_eq!(ended.next(), Next::Hold);
}

/// kubelet says of each container that does not run that it has not started.
#[test]
fn a_container_that_does_not_run_is_failed_at_once_where_a_startup_probe_forbids_to_ask_it() {
    let failed = Some((ProbeState::Failed, NOT_RUNNING.to_owned()));
    let see = |track: &mut Track, id: &str, restarts, life, is_started, at| {
        let neighbour = Neighbour { incarnation: (id.into(), restarts), life, is_started };
        track.see(&neighbour, secs(at)).map(|verdict| (verdict.state, verdict.reason))
    };
    for (result, id, restarts) in [
        // It crashed and waits.
        (Some('s'), "a", 0),
        (Some('e'), "a", 0),
        // Restarted and crashed again in between, by its new id or by the count alone.
        (Some('s'), "b", 1),
        (Some('s'), "", 1),
        // The sidecar is new.
        (None, "a", 3),
    ] {
        let mut track = track(0, 1, true);
        if let Some(result) = result {
            see(&mut track, "a", 0, RUNNING, true, 1);
            run(&mut track, result, 2);
        }
        assert_eq!(see(&mut track, id, restarts, Life::Stopped, false, 4), failed, "{result:?} {id} {restarts}");
        assert_eq!(track.next(), Next::Hold);
        assert_eq!(see(&mut track, id, restarts, Life::Stopped, false, 5), None, "told once");
        let unknown = Some((ProbeState::Unknown, RESTARTED.to_owned()));
        assert_eq!(see(&mut track, "c", restarts + 1, RUNNING, false, 9), unknown);
    }
    // Not created yet: nothing is known of it.
    let mut track = track(0, 1, true);
    assert_eq!(see(&mut track, "", 0, Life::Stopped, false, 1), None);
    // An older copy of the status.
    see(&mut track, "a", 0, RUNNING, true, 2);
    run(&mut track, 's', 2);
    assert_eq!(see(&mut track, "", 0, Life::Stopped, false, 3), None);
}

/// An observation is as old as the last write: a probe that has shown the container to run is no longer bound by it.
#[test]
fn a_container_that_has_shown_life_is_not_called_stopped() {
    let mut track = track(0, 1, false);
    track.see(&neighbour("a", Life::Stopped, false), secs(0));
    assert_eq!(run(&mut track, 'e', 0), Some((ProbeState::Failed, "Container(c) is Non-running".into())));
    let mut seen = track.clone();
    seen.see(&neighbour("a", RUNNING, true), secs(3));
    assert_eq!(seen.next(), Next::RunAt(secs(3)), "to be told right soon");
    track.lives();
    assert_eq!(run(&mut track, 'f', 10), Some((ProbeState::Failed, "no".into())));
    assert_eq!(run(&mut track, 'e', 20), None);
    assert_eq!(run(&mut track, 'e', 30), Some((ProbeState::Unknown, "no agent".into())));
    // It is seen again, stopped.
    track.see(&neighbour("a", Life::Stopped, false), secs(31));
    assert_eq!(track.next(), Next::RunAt(secs(31)));
    assert_eq!(run(&mut track, 'f', 31), Some((ProbeState::Failed, "Container(c) is Non-running".into())));
    let mut ended = self::track(0, 1, false);
    ended.see(&neighbour("a", Life::Ended, false), secs(0));
    ended.lives();
    assert_eq!(ended.next(), Next::Hold);
}

#[test]
fn a_restarted_container_starts_all_counting_again() {
    let mut track = track(0, 3, false);
    track.see(&neighbour("a", RUNNING, true), secs(0));
    run(&mut track, 's', 0);
    run(&mut track, 'f', 10);
    run(&mut track, 'f', 20);
    assert_eq!(track.see(&neighbour("b", Life::Running(Some(secs(21))), true), secs(22)), None);
    assert_eq!(run(&mut track, 'f', 22).map(|(state, _)| state), Some(ProbeState::Unknown));
    assert_eq!(run(&mut track, 'f', 32), None);
    assert_eq!(run(&mut track, 'f', 42), Some((ProbeState::Failed, "no".into())));
}

/// kruise-daemon says Unknown until the new container has a result, kubelet takes it for not ready: neither lets the success of the
/// one before stand. Here the new one is asked at once, so that one that answers changes nothing.
#[test]
fn a_success_of_the_container_before_stands_only_until_the_new_one_answers() {
    const S: ProbeState = ProbeState::Succeeded;
    const F: ProbeState = ProbeState::Failed;
    const U: ProbeState = ProbeState::Unknown;
    for (success, failure, before, runs, told) in [
        (1, 1, "s", "ss", [None, None]),
        (1, 1, "s", "fs", [Some(F), Some(S)]),
        (1, 3, "s", "fs", [Some(U), Some(S)]),
        (3, 1, "sss", "ss", [Some(U), None]),
        // Its agent is a moment late, or does not come.
        (1, 3, "s", "es", [None, None]),
        (1, 3, "s", "ee", [None, Some(U)]),
        // A failure is no claim that could be outdated.
        (1, 3, "fff", "fs", [None, Some(S)]),
        (3, 1, "f", "ss", [None, None]),
    ] {
        let mut track = track(0, failure, false);
        track.timing.success_threshold = success;
        track.threshold.reset(&track.timing);
        track.see(&neighbour("a", RUNNING, true), secs(0));
        before.chars().zip([0, 10, 20]).for_each(|(letter, at)| drop(run(&mut track, letter, at)));
        assert_eq!(track.see(&neighbour("b", RUNNING, true), secs(27)), None, "{before} {runs}");
        assert!(matches!(track.next(), Next::RunAt(at) if at <= secs(27)), "asked at once");
        let states = runs.chars().zip([27, 37]).map(|(letter, at)| run(&mut track, letter, at).map(|(state, _)| state));
        assert_eq!(states.collect::<Vec<_>>(), told, "{before} {runs}");
    }
}

#[test]
fn a_restarted_container_that_may_not_be_probed_yet_is_unknown() {
    for (startup, started) in [(false, true), (true, false)] {
        let mut track = track(60, 1, startup);
        track.see(&neighbour("a", RUNNING, true), secs(0));
        run(&mut track, 's', 60);
        let verdict = track.see(&neighbour("b", Life::Running(Some(secs(70))), started), secs(71)).expect("verdict");
        assert_eq!((verdict.state, verdict.reason.as_str()), (ProbeState::Unknown, RESTARTED));
        assert_eq!(track.next(), if startup { Next::Hold } else { Next::RunAt(secs(130)) });
    }
}

#[test]
fn the_first_id_of_a_container_is_no_restart() {
    let mut track = track(60, 1, false);
    track.see(&neighbour("", Life::Stopped, false), secs(0));
    run(&mut track, 's', 1);
    assert_eq!(track.see(&neighbour("a", Life::Running(Some(secs(1))), false), secs(2)), None);
}

/// virtual-kubelet may write back a status from before the start, labels and all.
#[test]
fn an_older_copy_of_the_status_neither_stops_nor_restarts_a_container() {
    let mut track = track(0, 2, false);
    track.see(&neighbour("a", RUNNING, true), secs(0));
    run(&mut track, 's', 0);
    run(&mut track, 'f', 10);
    assert_eq!(track.see(&neighbour("", Life::Stopped, false), secs(12)), None);
    assert_eq!(track.next(), Next::RunAt(secs(20)), "not hurried");
    assert_eq!(run(&mut track, 'f', 20), Some((ProbeState::Failed, "no".into())), "counted on");
    // A restart that is counted is one.
    let mut again = neighbour("", Life::Stopped, false);
    again.incarnation.1 += 1;
    track.see(&again, secs(22));
    assert_eq!(run(&mut track, 'f', 22), Some((ProbeState::Failed, "Container(c) is Non-running".into())));
}

#[test]
fn a_hurried_probe_runs_now_but_never_before_its_time() {
    let mut track = track(5, 1, false);
    track.hurry(secs(1));
    assert_eq!(track.next(), Next::RunAt(secs(5)));
    run(&mut track, 's', 5);
    track.hurry(secs(7));
    assert_eq!(track.next(), Next::RunAt(secs(7)));
}
