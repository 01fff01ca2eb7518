use super::*;
use crate::random::Random;
use std::collections::BinaryHeap;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn bounds_double_up_to_their_longest() {
    for (trouble, expected) in [
        (Trouble::Unreachable, [500_u128, 1000, 2000, 4000, 4000, 4000]),
        (Trouble::Throttled, [20000, 30000, 30000, 30000, 30000, 30000]),
        (Trouble::Unwell, [1000, 2000, 4000, 8000, 16000, 30000]),
        (Trouble::Forbidden, [1000, 2000, 4000, 8000, 16000, 30000]),
    ] {
        let mut backoff = Backoff::default();
        let waits: [u128; 6] = expected.map(|_| backoff.next(trouble, None, 1.0).as_millis());
        assert_eq!(waits, expected);
        backoff.reset();
        assert_eq!(backoff.next(trouble, None, 0.0), Duration::ZERO);
    }
}

#[test]
fn retry_after_is_waited_in_full_and_jitter_comes_on_top() {
    let mut backoff = Backoff::default();
    assert_eq!(backoff.next(Trouble::Throttled, Some(secs(7)), 0.0), secs(7));
    assert_eq!(backoff.next(Trouble::Throttled, Some(secs(7)), 1.0), secs(37));
    assert_eq!(backoff.next(Trouble::Throttled, Some(secs(100_000)), 0.0), secs(300));
}

#[test]
fn the_count_of_tries_never_overflows() {
    let mut backoff =
        Backoff { tries: u32::MAX, same: u32::MAX, trouble: Some(Trouble::Unreachable), ..Backoff::default() };
    assert_eq!(backoff.next(Trouble::Unreachable, None, 1.0), secs(4));
}

/// What a herd of sidecars does to an API server that was away: it queues what it can serve within 15 s
/// (kubernetes/kubernetes:staging/src/k8s.io/apiserver/pkg/util/flowcontrol) and answers 429 beyond.
struct Storm {
    tries: u64,
    refused: u64,
    most_tries: u32,
    all_marked: Duration,
}

fn storm(sidecars: u64, spread: Duration, outage: Duration, per_second: u64) -> Storm {
    let mut random = Random::new(7);
    let mut states: Vec<(Backoff, u32)> = (0..sidecars).map(|_| (Backoff::new(spread), 0)).collect();
    // Each sidecar has a transition at a random time of the outage's first second.
    let mut calls: BinaryHeap<_> =
        (0..states.len()).map(|index| std::cmp::Reverse((random.between(Duration::ZERO, secs(1)), index))).collect();
    let mut served_until = outage;
    let mut storm = Storm { tries: 0, refused: 0, most_tries: 0, all_marked: Duration::ZERO };
    while let Some(std::cmp::Reverse((now, index))) = calls.pop() {
        let (backoff, tries) = &mut states[index];
        let wait = if now < outage {
            backoff.next(Trouble::Unreachable, None, random.unit())
        } else {
            storm.tries += 1;
            *tries += 1;
            storm.most_tries = storm.most_tries.max(*tries);
            served_until = served_until.max(now);
            if served_until - now < secs(15) {
                served_until += Duration::from_secs(1).div_f64(f64::from(u32::try_from(per_second).expect("rate")));
                storm.all_marked = storm.all_marked.max(served_until - outage);
                continue;
            }
            storm.refused += 1;
            backoff.next(Trouble::Throttled, Some(secs(1)), random.unit())
        };
        calls.push(std::cmp::Reverse((now + wait, index)));
    }
    storm
}

#[test]
fn a_restart_seen_by_ten_thousand_sidecars_is_over_within_a_minute() {
    let storm = storm(10_000, Duration::ZERO, secs(10), 333);
    assert!(storm.all_marked <= secs(60), "{:?}", storm.all_marked);
    assert!(storm.most_tries <= 3, "{} tries", storm.most_tries);
    println!("429: {} of {}, all marked after {:?}", storm.refused, storm.tries, storm.all_marked);
}

/// As the README asks of a cluster with so many: fewer than one in twenty tries is answered 429.
#[test]
fn a_herd_that_is_told_to_spread_is_hardly_ever_throttled() {
    for sidecars in [2_500, 10_000, 15_000] {
        for outage in [1, 10, 120] {
            let storm = storm(sidecars, secs(sidecars / 250), secs(outage), 333);
            assert!(storm.refused * 20 < storm.tries, "{sidecars}: {} of {}", storm.refused, storm.tries);
            assert!(storm.all_marked <= secs(60) && storm.most_tries <= 3, "{sidecars}: {:?}", storm.all_marked);
        }
    }
}

#[test]
fn what_is_one_pods_own_trouble_is_not_spread() {
    let mut backoff = Backoff::new(secs(40));
    assert_eq!(backoff.next(Trouble::Forbidden, None, 1.0), secs(1));
    for trouble in [Trouble::Unreachable, Trouble::Throttled, Trouble::Unwell] {
        backoff.reset();
        assert_eq!(backoff.next(trouble, None, 1.0), secs(40));
    }
}

#[test]
fn one_sidecar_is_through_within_five_seconds_of_the_return() {
    for outage in [1, 5, 30, 60] {
        let storm = storm(1, Duration::ZERO, secs(outage), 333);
        assert!(storm.all_marked <= secs(5), "{outage}: {:?}", storm.all_marked);
    }
}
