//! Workers on a queue. Their number can change at any time: new ones start at once, superfluous ones end after the key
//! in hand, and no key is lost.

use super::{Outcome, Queue, Take};
use crate::metric::Metrics;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::warn;

/// What workers do with a key.
pub trait Work: Send + Sync + 'static {
    /// What is worked on.
    type Key: Clone + Eq + Hash + Send + Sync + std::fmt::Debug + 'static;
    /// Name of the queue in metrics and logs.
    const NAME: &'static str;

    /// Brings one key to where it should be. It sees the newest state whenever it is called.
    fn work(&self, key: &Self::Key) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// Why it could not be done.
    type Error: std::fmt::Display + Send;
}

/// The way to put keys in. Clones share the queue.
pub struct Input<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    queue: Mutex<Queue<K>>,
    /// Something is due, or earlier than before.
    wake: Notify,
}

// === impl Input ===

impl<K> Clone for Input<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Clone + Eq + Hash> Default for Input<K> {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { queue: Mutex::default(), wake: Notify::new() }) }
    }
}

impl<K: Clone + Eq + Hash> Input<K> {
    /// A key is due now.
    pub fn add(&self, key: K) {
        self.add_at(key, Instant::now());
    }

    /// A key is due at a time.
    pub fn add_at(&self, key: K, at: Instant) {
        self.lock().add(key, at);
        self.shared.wake.notify_one();
    }

    /// Keys that are due and wait for a worker.
    pub fn due(&self) -> usize {
        self.lock().due(Instant::now())
    }

    /// Whether nothing waits and nothing is worked on.
    pub fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }

    fn lock(&self) -> MutexGuard<'_, Queue<K>> {
        // No critical section can panic half-way through a change.
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next key that is due; waits for one.
    async fn next(&self) -> (K, std::time::Duration) {
        loop {
            let woken = self.shared.wake.notified();
            let take = self.lock().take(Instant::now());
            match take {
                Take::Key { key, waited } => {
                    // The one notice may have been for two keys.
                    self.shared.wake.notify_one();
                    return (key, waited);
                }
                Take::Until(at) => {
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep_until(at.into()) => {}
                    }
                }
                Take::Empty => woken.await,
            }
        }
    }
}

/// Works until it is dropped, with as many workers as `count` says.
pub async fn run<W: Work>(
    work: Arc<W>,
    input: Input<W::Key>,
    mut count: watch::Receiver<usize>,
    metrics: Arc<Metrics>,
) {
    let mut workers = JoinSet::new();
    let mut places: Vec<AbortHandle> = Vec::new();
    let (wanted_out, wanted) = watch::channel(0);
    loop {
        let target = (*count.borrow_and_update()).max(1);
        wanted_out.send_replace(target);
        for index in 0..target {
            // A worker that was busy while the number was lower works on. One that is just ending is followed by another
            // when it has ended: `join_next` tells.
            if places.get(index).is_some_and(|worker| !worker.is_finished()) {
                continue;
            }
            let worker = worker(index, Arc::clone(&work), input.clone(), wanted.clone(), Arc::clone(&metrics));
            let worker = workers.spawn(worker);
            match places.get_mut(index) {
                Some(place) => *place = worker,
                None => places.push(worker),
            }
        }
        metrics.queue(W::NAME, target, input.due());
        tokio::select! {
            changed = count.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            },
            Some(_) = workers.join_next() => {}
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
        }
    }
}

async fn worker<W: Work>(
    index: usize,
    work: Arc<W>,
    input: Input<W::Key>,
    mut wanted: watch::Receiver<usize>,
    metrics: Arc<Metrics>,
) {
    let random = RandomState::new();
    loop {
        let (key, waited) = tokio::select! {
            biased;
            _ = wanted.wait_for(|wanted| *wanted <= index) => return,
            next = input.next() => next,
        };
        let started = Instant::now();
        // A panic in one piece of work is that piece's failure.
        let running = tokio::spawn({
            let (work, key) = (Arc::clone(&work), key.clone());
            async move { work.work(&key).await.map_err(|error| error.to_string()) }
        });
        let guard = Abort(running);
        let (outcome, result) = match guard.ended().await {
            Ok(Ok(outcome)) => (outcome, "done"),
            Ok(Err(error)) => {
                warn!(queue = W::NAME, ?key, %error, "will be tried again");
                (Outcome::Failed, "failed")
            }
            Err(error) => {
                warn!(queue = W::NAME, ?key, %error, "work broke off, will be tried again");
                (Outcome::Failed, "panicked")
            }
        };
        metrics.worked(W::NAME, result, waited, started.elapsed());
        let now = Instant::now();
        let jitter = random.hash_one(now) as f64 / u64::MAX as f64;
        input.lock().finish(&key, outcome, now, jitter);
        input.shared.wake.notify_one();
    }
}

/// Work ends with its worker: nothing may be written after leadership has been lost.
struct Abort<T>(tokio::task::JoinHandle<T>);

impl<T> Abort<T> {
    async fn ended(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
