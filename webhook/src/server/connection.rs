//! One connection: bounded in idle time, ended gracefully (`Connection: close`, GOAWAY) when the server closes.

use super::{Limits, Phase, Shared};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

/// Most requests at once on one connection; API servers open a second connection beyond.
const STREAMS: u32 = 250;
const HEADER_BYTES: usize = 64 * 1024;

/// When the connection was last of use.
#[derive(Default)]
struct Activity {
    open: AtomicUsize,
    seen: AtomicU64,
    last: AtomicU64,
}

/// Counts a request as long as it lives.
struct InHand(Arc<Activity>);

/// The router, with its requests counted.
struct Counted {
    inner: TowerToHyperService<axum::Router>,
    activity: Arc<Activity>,
}

/// Serves HTTP/1.
pub(super) async fn http1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: &Shared) {
    let (service, activity) = counted(shared);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.header)
        .max_headers(64)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(io), service);
    drive(connection, shared, &activity).await;
}

/// Serves HTTP/2, as API servers speak it.
pub(super) async fn http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: &Shared) {
    let (service, activity) = counted(shared);
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES as u32)
        // Found dead in 30 s: an API server that was restarted does not say goodbye.
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(io), service);
    drive(connection, shared, &activity).await;
}

async fn drive<C>(connection: C, shared: &Shared, activity: &Activity)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut phase = shared.phase.clone();
    let mut connection = pin!(connection);
    let mut closing = false;
    loop {
        let look = activity.allowance(shared.limits);
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    debug!(%error, "connection ended");
                }
                return;
            }
            _ = phase.wait_for(|phase| *phase == Phase::Closing), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(look) => match activity.is_idle(shared.limits) {
                // Said no word at all, or did not go when it was asked to.
                true if closing || !activity.has_served() => return,
                true => {
                    closing = true;
                    activity.touch();
                    connection.as_mut().graceful_shutdown();
                }
                false => {}
            },
        }
    }
}

fn counted(shared: &Shared) -> (Counted, Arc<Activity>) {
    let activity = Arc::new(Activity::default());
    activity.touch();
    let inner = TowerToHyperService::new(shared.router.clone());
    (Counted { inner, activity: Arc::clone(&activity) }, activity)
}

// === impl Counted ===

impl Service<Request<Incoming>> for Counted {
    type Response = Response<axum::body::Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_hand = InHand::new(&self.activity);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _in_hand = in_hand;
            answer.await
        })
    }
}

// === impl InHand ===

impl InHand {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::Relaxed);
        activity.seen.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.touch();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Activity ===

impl Activity {
    fn touch(&self) {
        self.last.store(millis(), Ordering::Relaxed);
    }

    fn has_served(&self) -> bool {
        self.seen.load(Ordering::Relaxed) > 0
    }

    fn limit(&self, limits: Limits) -> Duration {
        if self.has_served() { limits.idle } else { limits.header }
    }

    fn quiet(&self) -> Duration {
        Duration::from_millis(millis().saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    fn is_idle(&self, limits: Limits) -> bool {
        self.open.load(Ordering::Relaxed) == 0 && self.quiet() >= self.limit(limits)
    }

    /// How long it may stay as it is before it is looked at again.
    fn allowance(&self, limits: Limits) -> Duration {
        self.limit(limits).saturating_sub(self.quiet()).max(Duration::from_millis(20))
    }
}

/// Milliseconds on a clock that does not jump.
fn millis() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}
