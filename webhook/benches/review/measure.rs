//! What a decision costs: the router with a review of 9 KB that is injected, beside a router that parses the same review and
//! answers a fixed patch. In turn, in one run, on one thread, without the TLS that both would share. Two programs measure the
//! same, with mimalloc and with the system's allocator (glibc's, or musl's own for `--target ...-musl`).

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::routing::post;
use probelet_tests::bench::review::review;
use probelet_webhook::cluster::Cluster;
use probelet_webhook::config::Config;
use probelet_webhook::metric::Metrics;
use probelet_webhook::route::{Admission, router};
use probelet_webhook::settings::file::Live;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tower::ServiceExt;

const MARKER: &str = include_str!("../../tests/fixtures/marker.json");
const ROUNDS: usize = 20_000;
const WARM_UP: usize = 1_000;

/// Measures and prints, under that allocator's name.
pub(crate) fn run(allocator: &str) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(measure(allocator))
}

async fn measure(allocator: &str) -> Result<(), Box<dyn std::error::Error>> {
    let review = Bytes::from(review()?);
    let (_live, live) =
        watch::channel(Live { config: config(), workers: "3".parse()?, log_level: tracing::Level::INFO });
    let state = Admission { cluster: cluster()?, live, metrics: Arc::new(Metrics::new()) };
    let (ours, bare) = (router(state), Router::new().route("/mutate-pods", post(fixed)));
    let (mut by_us, mut by_bare) = (Vec::new(), Vec::new());
    let mut answer = 0;
    for round in 0..WARM_UP + ROUNDS {
        let (took, size) = time(&ours, &review).await?;
        let (bare_took, _) = time(&bare, &review).await?;
        answer = size;
        if round >= WARM_UP {
            by_us.push(took);
            by_bare.push(bare_took);
        }
    }
    println!(
        "{allocator}: review of {} bytes, answer of {answer} bytes, {ROUNDS} each in turn, one thread",
        review.len()
    );
    print("probelet-webhook", by_us);
    print("parse, fixed patch", by_bare);
    Ok(())
}

async fn fixed(body: Bytes) -> Result<String, String> {
    let review: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let response = json!({"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": "W10="});
    Ok(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).to_string())
}

async fn time(router: &Router, review: &Bytes) -> Result<(Duration, usize), Box<dyn std::error::Error>> {
    let request = Request::post("/mutate-pods").body(Body::from(review.clone()))?;
    let begin = Instant::now();
    let response = router.clone().oneshot(request).await?;
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await?;
    let took = begin.elapsed();
    // An error would be quick.
    if !body.windows(9).any(|window| window == b"JSONPatch") {
        return Err(format!("no patch: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok((took, body.len()))
}

fn cluster() -> Result<Arc<Cluster>, serde_json::Error> {
    let cluster = Arc::new(Cluster::new());
    let labels = [("probelet.io/inject", "enabled"), ("kubernetes.io/metadata.name", "games")];
    cluster.set_namespace("games", labels.map(|(key, value)| (key.into(), value.into())).into());
    cluster.set_marker("games", "health", 1, serde_json::from_str(MARKER)?, &BTreeMap::new());
    Ok(cluster)
}

fn config() -> Config {
    Config { image: "registry.example/probelet:0".into(), ..Config::default() }
}

fn print(what: &str, mut durations: Vec<Duration>) {
    durations.sort_unstable();
    let at = |share: usize| durations[(durations.len() * share / 1000).min(durations.len() - 1)].as_secs_f64() * 1e6;
    let total: Duration = durations.iter().sum();
    println!(
        "  {what:<20} p50 {:6.0} us   p99 {:6.0} us   p99.9 {:6.0} us   {:6.0} a second",
        at(500),
        at(990),
        at(999),
        durations.len() as f64 / total.as_secs_f64()
    );
}
