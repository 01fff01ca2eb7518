use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn record(holder: &str, version: &str) -> Option<Record> {
    Some(Record { holder: holder.into(), duration: DURATION, version: version.into() })
}

#[test]
fn an_absent_or_released_lease_is_acquired_at_once() {
    let now = Instant::now();
    assert_eq!(Election::new("a".into()).decide(None, now), Act::Acquire);
    assert_eq!(Election::new("a".into()).decide(record("", "1"), now), Act::Acquire);
}

#[test]
fn another_holder_is_left_alone_until_it_is_silent_for_its_duration() {
    let start = Instant::now();
    let mut election = Election::new("a".into());
    assert_eq!(election.decide(record("b", "1"), start), Act::Wait);
    assert_eq!(election.decide(record("b", "1"), start + 15 * SECOND), Act::Wait);
    assert_eq!(election.decide(record("b", "2"), start + 15 * SECOND), Act::Wait, "a renewal starts anew");
    assert_eq!(election.decide(record("b", "2"), start + 30 * SECOND), Act::Wait);
    assert_eq!(election.decide(record("b", "2"), start + 31 * SECOND), Act::Acquire);
}

#[test]
fn a_term_lasts_from_the_beginning_of_the_write_that_was_taken() {
    let start = Instant::now();
    let mut election = Election::new("a".into());
    let term = election.term();
    assert!(!term.allows(start, Duration::ZERO));
    election.held(start);
    assert!(term.allows(start + 10 * SECOND, 5 * SECOND));
    assert!(!term.allows(start + 11 * SECOND, 5 * SECOND), "it might end after the term");
    assert!(!term.allows(start + 60 * SECOND, Duration::ZERO), "stopped for a minute");
}

#[test]
fn our_own_hold_is_renewed_also_after_a_restart_of_the_watch() {
    let start = Instant::now();
    let mut election = Election::new("a".into());
    assert_eq!(election.decide(record("a", "1"), start), Act::Renew);
}

#[test]
fn a_term_ends_when_another_holder_is_seen_or_was_faster() {
    let start = Instant::now();
    let mut election = Election::new("a".into());
    election.held(start);
    election.decide(record("b", "1"), start + SECOND);
    assert!(!election.term().allows(start + SECOND, Duration::ZERO));
    election.held(start + SECOND);
    election.lost();
    assert!(!election.term().allows(start + SECOND, Duration::ZERO));
}

#[test]
fn two_replicas_never_lead_at_once() {
    // Whatever one sees and when: the other's term begins only after a whole duration of silence, and silence begins
    // after the last write that was taken.
    let start = Instant::now();
    let (mut a, mut b) = (Election::new("a".into()), Election::new("b".into()));
    a.held(start);
    for second in 0..40 {
        let now = start + SECOND * second;
        if b.decide(record("a", "1"), now) == Act::Acquire {
            assert!(!a.term().allows(now, Duration::ZERO), "at {second} s");
            b.held(now);
            return;
        }
    }
    panic!("nobody took over");
}
