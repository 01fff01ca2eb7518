//! One connection: bounded in idle time, given back by its caller (`Connection: close`) when the server drains, ended when it
//! closes.

use super::activity::{Activity, Heard, InHand, Verdict};
use super::{Phase, Shared};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tracing::debug;

const HEADER_BYTES: usize = 64 * 1024;

/// The router, with its requests counted, and the last answer of a connection told from others.
struct Counted {
    inner: TowerToHyperService<axum::Router>,
    activity: Arc<Activity>,
    phase: watch::Receiver<Phase>,
}

/// Serves HTTP/1.1, which is what API servers speak to webhooks, so that their calls spread over replicas
/// (kubernetes/apiserver:pkg/util/webhook/client.go); HTTP/2 would be a second protocol to defend that nobody uses.
pub(super) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: &Shared) {
    let activity = Activity::new();
    let inner = TowerToHyperService::new(shared.router.clone());
    let service = Counted { inner, activity: Arc::clone(&activity), phase: shared.phase.clone() };
    let connection = hyper::server::conn::http1::Builder::new()
        // Headers are timed by `Activity`.
        .header_read_timeout(None)
        .max_headers(64)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(Heard::new(stream, &activity)), service);
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
        let verdict = activity.verdict(shared.limits);
        let Verdict::Keep(time) = verdict else {
            // Said no word at all, or did not go when it was asked to.
            if closing || verdict == Verdict::Stuck {
                return;
            }
            closing = true;
            activity.touch();
            connection.as_mut().graceful_shutdown();
            continue;
        };
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
            () = tokio::time::sleep(time) => {}
        }
    }
}

// === impl Counted ===

impl Service<Request<Incoming>> for Counted {
    type Response = Response<axum::body::Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_hand = InHand::new(&self.activity);
        let answer = self.inner.call(request);
        let phase = self.phase.clone();
        Box::pin(async move {
            let _in_hand = in_hand;
            let mut answer = answer.await?;
            if *phase.borrow() != Phase::Open {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        })
    }
}
