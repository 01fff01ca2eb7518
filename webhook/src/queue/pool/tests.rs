use super::*;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Records who works on what, and fails when two work on one key.
#[derive(Default)]
struct Recorder {
    /// How long it works on a key; 3 ms where it is zero.
    takes: Duration,
    seen: Mutex<HashMap<u32, Vec<u32>>>,
    working: Mutex<HashSet<u32>>,
    newest: Vec<AtomicUsize>,
    at_once: AtomicUsize,
    most: AtomicUsize,
    clashes: AtomicUsize,
}

impl Work for Recorder {
    type Key = u32;
    type Error = String;
    const NAME: &'static str = "test";

    async fn work(&self, key: &u32) -> Result<Outcome, String> {
        if !self.working.lock().expect("lock").insert(*key) {
            self.clashes.fetch_add(1, Ordering::SeqCst);
        }
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let value = self.newest[*key as usize].load(Ordering::SeqCst) as u32;
        tokio::time::sleep(if self.takes.is_zero() { Duration::from_millis(3) } else { self.takes }).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.working.lock().expect("lock").remove(key);
        if *key == 7 && self.seen.lock().expect("lock").entry(7).or_default().is_empty() {
            self.seen.lock().expect("lock").entry(7).or_default().push(0);
            panic!("once");
        }
        self.seen.lock().expect("lock").entry(*key).or_default().push(value);
        Ok(Outcome::Done)
    }
}

async fn idle(input: &Input<u32>) {
    while !input.is_idle() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn workers_come_and_go_without_losing_or_reordering_a_key() {
    const KEYS: u32 = 50;
    let recorder = Recorder { newest: (0..KEYS).map(|_| AtomicUsize::new(0)).collect(), ..Recorder::default() };
    let (recorder, input) = (Arc::new(recorder), Input::default());
    let (count_out, count) = watch::channel(1);
    let pool = tokio::spawn(run(Arc::clone(&recorder), input.clone(), count, Arc::new(Metrics::new())));
    for round in 1..=40_usize {
        count_out.send_replace([1, 8, 2, 64, 3][round % 5]);
        for key in 0..KEYS {
            recorder.newest[key as usize].store(round, Ordering::SeqCst);
            input.add(key);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    idle(&input).await;
    pool.abort();
    assert_eq!(recorder.clashes.load(Ordering::SeqCst), 0, "one key, one worker");
    assert!(recorder.most.load(Ordering::SeqCst) > 8, "more workers were of use");
    let seen = recorder.seen.lock().expect("lock");
    for key in 0..KEYS {
        let values = &seen[&key];
        assert!(values.is_sorted(), "key {key}: {values:?}");
        assert_eq!(values.last(), Some(&40), "key {key} ended with the newest state");
    }
}

#[tokio::test(start_paused = true)]
async fn fewer_workers_are_fewer_at_once() {
    let recorder = Recorder { newest: (0..30).map(|_| AtomicUsize::new(0)).collect(), ..Recorder::default() };
    let (recorder, input) = (Arc::new(recorder), Input::default());
    let (count_out, count) = watch::channel(10);
    let pool = tokio::spawn(run(Arc::clone(&recorder), input.clone(), count, Arc::new(Metrics::new())));
    input.add(1);
    idle(&input).await;
    count_out.send_replace(2);
    tokio::time::sleep(Duration::from_millis(50)).await;
    for key in 8..30 {
        input.add(key);
    }
    idle(&input).await;
    assert_eq!(recorder.most.load(Ordering::SeqCst), 2);
    pool.abort();
}

#[tokio::test(start_paused = true)]
async fn busy_workers_that_miss_a_lower_number_are_not_doubled() {
    let newest = (0..60).map(|_| AtomicUsize::new(0)).collect();
    let recorder = Recorder { newest, takes: Duration::from_millis(50), ..Recorder::default() };
    let (recorder, input) = (Arc::new(recorder), Input::default());
    let (count_out, count) = watch::channel(8);
    let pool = tokio::spawn(run(Arc::clone(&recorder), input.clone(), count, Arc::new(Metrics::new())));
    for key in 8..60 {
        input.add(key);
    }
    for count in [8, 1, 8] {
        count_out.send_replace(count);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(recorder.at_once.load(Ordering::SeqCst), 8, "neither more nor fewer");
    idle(&input).await;
    assert_eq!(recorder.most.load(Ordering::SeqCst), 8);
    // All are idle and learn of both numbers at once, or of each.
    for key in 8..60 {
        count_out.send_replace(1);
        tokio::task::yield_now().await;
        count_out.send_replace(8);
        input.add(key);
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(recorder.at_once.load(Ordering::SeqCst), 8, "all are back");
    idle(&input).await;
    assert_eq!(recorder.most.load(Ordering::SeqCst), 8);
    pool.abort();
}
