//! One request: its body read whole within size and time, its panic kept to itself.

use super::Limits;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use std::any::Any;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{error, warn};

/// What of each body counts against no budget, so that ordinary reviews never wait for large ones.
const FREE: usize = 64 * 1024;
const KIB: usize = 1024;

#[derive(Clone)]
struct Gauge {
    limits: Limits,
    budget: Arc<Semaphore>,
}

/// The body, and its share of the budget.
struct Held {
    bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Puts the limits around a router. Handlers get bodies that are complete.
pub(super) fn limited(router: Router, limits: Limits) -> Router {
    let budget = Arc::new(Semaphore::new(limits.bodies / KIB));
    router.layer(CatchPanicLayer::custom(panicked)).layer(from_fn_with_state(Gauge { limits, budget }, bounded))
}

async fn bounded(State(gauge): State<Gauge>, request: Request, next: Next) -> Response {
    let deadline = Instant::now() + gauge.limits.request;
    let (parts, body) = request.into_parts();
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > gauge.limits.body) {
        return too_large(gauge.limits);
    }
    let held = match timeout_at(deadline, read(body, length, &gauge)).await {
        Ok(Ok(held)) => held,
        Ok(Err(response)) => return *response,
        Err(_) => {
            let message =
                format!("the body did not come within {}\n", humantime::format_duration(gauge.limits.request));
            return closing(StatusCode::REQUEST_TIMEOUT, message);
        }
    };
    let request = Request::from_parts(parts, Body::from(held.bytes));
    match timeout_at(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the request took too long\n").into_response(),
    }
}

async fn read(mut body: Body, length: Option<usize>, gauge: &Gauge) -> Result<Held, Box<Response>> {
    let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(FREE));
    let mut share: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            warn!(%error, "a body broke off");
            Box::new(closing(StatusCode::BAD_REQUEST, "the body broke off\n".to_owned()))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let total = bytes.len() + data.len();
        if total > gauge.limits.body {
            return Err(Box::new(too_large(gauge.limits)));
        }
        let counted = total.saturating_sub(FREE).div_ceil(KIB);
        let missing = counted.saturating_sub(share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if missing > 0 {
            let more = Arc::clone(&gauge.budget).acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX)).await;
            let Ok(more) = more else { return Err(Box::new(too_large(gauge.limits))) };
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Held { bytes: bytes.into(), _share: share })
}

fn too_large(limits: Limits) -> Response {
    let message = format!("the body is larger than {} bytes\n", limits.body);
    closing(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// An answer before the body was read to its end: what follows on an HTTP/1 connection is no request.
fn closing(status: StatusCode, message: String) -> Response {
    (status, [(header::CONNECTION, "close")], message).into_response()
}

fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let cause = cause
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    error!(cause, "a request panicked");
    (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response()
}
