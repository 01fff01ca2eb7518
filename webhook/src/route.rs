//! The admission endpoints as a router: translates between HTTP and decisions.

use crate::admission::{self, Outcome, Verdict, World};
use crate::cluster::Cluster;
use crate::inject::NoRandom;
use crate::metric::Metrics;
use crate::review::{self, Request, ReviewError};
use crate::settings::file::Live;
use crate::skip::SkipReason;
use crate::warning::Warnings;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// What every endpoint shares.
#[derive(Clone)]
pub struct Admission {
    /// What is known of the cluster.
    pub cluster: Arc<Cluster>,
    /// The configuration that holds now.
    pub live: watch::Receiver<Live>,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
}

/// One endpoint's decision.
type Decide = fn(&Request<'_>, &World<'_>) -> Result<Verdict, ReviewError>;

/// `POST /mutate-pods`, `/mutate-bindings` and `/validate-podprobemarkers`. Limits on size and time are the server's.
pub fn router(state: Admission) -> Router {
    Router::new()
        .route("/mutate-pods", endpoint("mutate-pod", admission::mutate_pod))
        .route("/mutate-bindings", endpoint("mutate-binding", admission::mutate_binding))
        .route("/validate-podprobemarkers", endpoint("validate-marker", admission::validate_marker))
        // Without this, axum's own limit of 2 MB counts before the server's.
        .layer(DefaultBodyLimit::disable())
        .with_state(state)
}

fn endpoint(operation: &'static str, decide: Decide) -> axum::routing::MethodRouter<Admission> {
    post(async move |State(state): State<Admission>, body: Bytes| state.answer(operation, decide, &body))
}

// === impl Admission ===

impl Admission {
    fn answer(&self, operation: &'static str, decide: Decide, body: &[u8]) -> Response {
        let start = Instant::now();
        let request = match review::read(body) {
            Ok(request) => request,
            Err(error) => return self.refuse(operation, &error, start),
        };
        let config = self.live.borrow();
        // A panic is a fault of ours like any other, and must not stop the Pod either.
        let world = World { cluster: &self.cluster, config: &config.config, random: key };
        let decided = catch_unwind(AssertUnwindSafe(|| decide(&request, &world)));
        drop(config);
        let verdict = match decided {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => return self.refuse(operation, &error, start),
            Err(_) => Verdict::error("internal error".to_owned(), Warnings::default()),
        };
        tell(operation, &request, &verdict);
        let outcome = verdict.outcome;
        match review::write(&request.uid, verdict.answer) {
            Ok(body) => {
                self.metrics.admitted(operation, outcome.as_str(), reason(&outcome), start.elapsed());
                if outcome == Outcome::Injected {
                    self.metrics.patched(body.len());
                }
                ([(CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(error) => {
                warn!(operation, uid = request.uid, %error, "answer could not be written");
                self.metrics.admitted(operation, "error", "", start.elapsed());
                (StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written").into_response()
            }
        }
    }

    fn refuse(&self, operation: &'static str, error: &ReviewError, start: Instant) -> Response {
        debug!(operation, %error, "request refused");
        self.metrics.admitted(operation, "malformed", "", start.elapsed());
        (StatusCode::BAD_REQUEST, error.to_string()).into_response()
    }
}

/// 128 bits in hexadecimal digits.
fn key() -> Result<String, NoRandom> {
    let mut bytes = [0; 16];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn reason(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Skipped(reason) => reason.as_str(),
        _ => "",
    }
}

fn tell(operation: &'static str, request: &Request<'_>, verdict: &Verdict) {
    let (uid, namespace, name) = (&request.uid, &request.namespace, &request.name);
    let outcome = &verdict.outcome;
    let warnings = verdict.answer.warnings.all();
    let is_mistake = matches!(outcome, Outcome::Skipped(reason) if SkipReason::is_mistake(*reason));
    match outcome {
        Outcome::Error(error) => warn!(operation, uid, namespace, name, error, ?warnings, "admitted unchanged"),
        Outcome::Denied => {
            let message = verdict.answer.denied.as_ref().map(|(_, message)| message.as_str());
            info!(operation, uid, namespace, name, message, "denied");
        }
        Outcome::Injected => info!(operation, uid, namespace, name, ?warnings, "injected"),
        _ if is_mistake || !warnings.is_empty() => {
            info!(operation, uid, namespace, name, %outcome, ?warnings, "passed")
        }
        _ => debug!(operation, uid, namespace, name, %outcome, "passed"),
    }
}
