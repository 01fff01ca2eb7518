use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

fn key<K>(take: Take<K>) -> Option<K> {
    match take {
        Take::Key { key, .. } => Some(key),
        Take::Until(_) | Take::Empty => None,
    }
}

#[test]
fn keys_come_in_the_order_in_which_they_are_due() {
    let now = Instant::now();
    let mut queue = Queue::new();
    queue.add("b", now);
    queue.add("a", now);
    queue.add("early", now - Duration::from_secs(1));
    queue.add("late", now + Duration::from_secs(1));
    assert_eq!(queue.take(now), Take::Key { key: "early", waited: Duration::from_secs(1) });
    assert_eq!(key(queue.take(now)), Some("b"));
    assert_eq!(key(queue.take(now)), Some("a"));
    assert_eq!(queue.take(now), Take::Until(now + Duration::from_secs(1)));
}

#[test]
fn a_key_waits_once_at_its_earliest_time() {
    let now = Instant::now();
    let mut queue = Queue::new();
    queue.add("a", now + Duration::from_secs(5));
    queue.add("a", now);
    queue.add("a", now + Duration::from_secs(9));
    assert_eq!(queue.len(), 1);
    assert_eq!(key(queue.take(now)), Some("a"));
    queue.finish(&"a", Outcome::Done, now, 0.0);
    assert_eq!(queue.take(now), Take::Empty);
}

#[test]
fn a_key_that_changes_while_it_is_worked_on_is_worked_on_again_after() {
    let now = Instant::now();
    let mut queue = Queue::new();
    queue.add("a", now);
    assert_eq!(key(queue.take(now)), Some("a"));
    queue.add("a", now);
    assert_eq!(queue.take(now), Take::Empty, "no second worker gets it");
    queue.finish(&"a", Outcome::Done, now, 0.0);
    assert_eq!(key(queue.take(now)), Some("a"));
}

#[test]
fn failures_back_off_to_a_minute_and_success_forgets_them() {
    let mut now = Instant::now();
    let mut queue = Queue::new();
    queue.add("a", now);
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(key(queue.take(now)), Some("a"));
        queue.finish(&"a", Outcome::Failed, now, 1.0);
        let Take::Until(next) = queue.take(now) else { panic!("waits") };
        waits.push(next.duration_since(now).as_millis());
        now = next;
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    assert_eq!(key(queue.take(now)), Some("a"));
    queue.finish(&"a", Outcome::Done, now, 1.0);
    queue.add("a", now);
    assert_eq!(key(queue.take(now)), Some("a"));
    queue.finish(&"a", Outcome::Failed, now, 0.0);
    assert_eq!(queue.take(now), Take::Until(now + Duration::from_millis(250)));
}

#[test]
fn a_change_does_not_cut_a_back_off_short() {
    let now = Instant::now();
    let mut queue = Queue::new();
    queue.add("a", now);
    queue.take(now);
    queue.add("a", now);
    queue.finish(&"a", Outcome::Failed, now, 1.0);
    assert_eq!(queue.take(now), Take::Until(now + Duration::from_millis(500)));
}

#[derive(Clone, Debug)]
enum Action {
    Add(u8),
    Take,
    Finish(u8),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![(0..6_u8).prop_map(Action::Add), Just(Action::Take), any::<u8>().prop_map(Action::Finish)]
}

proptest! {
    /// Whatever happens: no key is with two workers, and each change is followed by work that began after it.
    #[test]
    fn no_change_is_lost_and_no_key_is_worked_on_twice_at_once(actions in prop::collection::vec(action(), 1..200)) {
        let now = Instant::now();
        let mut queue = Queue::new();
        let (mut working, mut unseen) = (Vec::new(), BTreeMap::new());
        for (step, action) in actions.into_iter().enumerate() {
            match action {
                Action::Add(key) => {
                    queue.add(key, now);
                    unseen.insert(key, step);
                }
                Action::Take => {
                    if let Take::Key { key, .. } = queue.take(now) {
                        prop_assert!(!working.contains(&key));
                        unseen.remove(&key);
                        working.push(key);
                    }
                }
                Action::Finish(index) if !working.is_empty() => {
                    let key = working.swap_remove(usize::from(index) % working.len());
                    queue.finish(&key, Outcome::Done, now, 0.0);
                }
                Action::Finish(_) => {}
            }
        }
        for key in working {
            queue.finish(&key, Outcome::Done, now, 0.0);
        }
        let mut rest = HashSet::new();
        while let Take::Key { key, .. } = queue.take(now) {
            rest.insert(key);
            queue.finish(&key, Outcome::Done, now, 0.0);
        }
        prop_assert!(unseen.keys().all(|key| rest.contains(key)));
        prop_assert!(queue.is_idle());
    }
}
