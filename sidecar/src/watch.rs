//! Watch mode: the own Pod is seen as it changes, over a connection of its own.

use crate::api::{Api, ApiError, Call};
use crate::backoff::{Backoff, Trouble};
use crate::config::PodName;
use crate::observed::Observed;
use crate::random::Random;
use crate::repeat::Repeat;
use crate::reporter::Sight;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Response};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

mod line;
use line::{Line, Lines};

/// A watch that says nothing for this long is taken for dead; bookmarks come every minute.
const SILENCE: Duration = Duration::from_secs(90);
/// The server ends the watch after a random time between these, so that the connections of many sidecars spread.
const LIFE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(600));

/// After a watch that ended in good order.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// A watch that lasted so long was one; whoever ends them sooner is asked ever more rarely.
const STEADY: Duration = Duration::from_secs(30);

/// Watches one Pod.
pub struct Watch {
    api: Api,
    pod: PodName,
    sights: mpsc::Sender<Sight>,
    random: Random,
    backoff: Backoff,
    repeat: Repeat,
}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("watching the Pod: answer {0}")]
    Status(u16, Option<Duration>),
    #[error("watching the Pod: it was ended at once")]
    Short,
    #[error("watching the Pod: nothing heard for {SILENCE:?}")]
    Silent,
    #[error("watching the Pod: {0}")]
    Broken(#[from] hyper::Error),
    #[error("watching the Pod: {0}")]
    Line(#[from] line::LineError),
    #[error("watching the Pod: the reporter ended")]
    Deaf,
}

// === impl Watch ===

impl Watch {
    /// Not watching yet. `api` is for this watch alone.
    pub fn new(api: Api, pod: PodName, sights: mpsc::Sender<Sight>, random: Random, backoff: Backoff) -> Self {
        Self { api, pod, sights, random, backoff, repeat: Repeat::default() }
    }

    /// Watches until nobody listens any more; begins again with back-off whenever the watch ends.
    pub async fn run(mut self, clock: crate::clock::Clock) {
        while !self.sights.is_closed() {
            let begin = clock.now();
            let ended = self.watch().await;
            self.api.close();
            let is_steady = clock.now() >= begin + STEADY;
            if is_steady {
                self.backoff.reset();
                self.repeat.over("watch");
            }
            let wait = match ended.and_then(|()| if is_steady { Ok(()) } else { Err(WatchError::Short) }) {
                // A server that shuts down ends all its watches at once.
                Ok(()) => self.random.between(AGAIN.0, AGAIN.1.max(self.backoff.spread())),
                Err(WatchError::Deaf) => return,
                Err(error) => {
                    if self.sights.send(Sight::Watching(false)).await.is_err() {
                        return;
                    }
                    let (trouble, retry_after) = match &error {
                        WatchError::Status(401 | 403, after) => (Trouble::Forbidden, *after),
                        WatchError::Status(429, after) => (Trouble::Throttled, *after),
                        WatchError::Status(_, after) => (Trouble::Unwell, *after),
                        _ => (Trouble::Unreachable, None),
                    };
                    let wait = self.backoff.next(trouble, retry_after, self.random.unit());
                    if let Some(left_out) = self.repeat.may("watch", clock.now()) {
                        tracing::warn!(%error, next_try = ?wait, left_out, "the Pod is not watched; marks are still written");
                    }
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// One watch, from the present state on. A server that ends it in good order is `Ok`.
    async fn watch(&mut self) -> Result<(), WatchError> {
        let life = self.random.between(LIFE.0, LIFE.1).as_secs();
        let PodName { namespace, name, .. } = &self.pod;
        let path = format!(
            "/api/v1/namespaces/{namespace}/pods?watch=true&allowWatchBookmarks=true&fieldSelector=metadata.name%3D{name}\
             &timeoutSeconds={life}"
        );
        let call = Call { method: Method::GET, path, content_type: "", body: Bytes::new() };
        let response = self.api.stream(&call).await?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(WatchError::Status(status, crate::api::retry_after(response.headers())));
        }
        self.tell(Sight::Watching(true)).await?;
        self.follow(response).await
    }

    async fn follow(&mut self, response: Response<Incoming>) -> Result<(), WatchError> {
        let mut body = response.into_body();
        let mut lines = Lines::default();
        loop {
            let frame = timeout(SILENCE, body.frame()).await.map_err(|_| WatchError::Silent)?;
            let Some(frame) = frame else { return Ok(()) };
            let Ok(bytes) = frame?.into_data() else { continue };
            for line in lines.push(&bytes)? {
                match line {
                    Line::Pod(pod) => self.tell(Sight::Pod(pod)).await?,
                    Line::Deleted(uid) if uid == self.pod.uid => self.tell(Sight::Gone).await?,
                    // 410 and the like: begin again from the present state.
                    Line::Error(code) => return Err(WatchError::Status(code, None)),
                    Line::Deleted(_) | Line::Bookmark => {}
                }
            }
        }
    }

    async fn tell(&self, sight: Sight) -> Result<(), WatchError> {
        self.sights.send(sight).await.map_err(|_| WatchError::Deaf)
    }
}

/// Boxed: a Pod is much larger than the other lines.
type Seen = Box<Observed>;
