//! One switch of the server's health, and how long the mark took.

use super::DEADLINE;
use super::story::Story;
use super::view::View;
use crate::command;
use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use std::time::Duration;

/// What `test-app` says of a switch.
#[derive(Deserialize)]
struct Switched {
    monotonic_ns: i64,
}

/// The machine's monotonic clock, in nanoseconds.
pub(super) fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Switches from inside the container, as `kubectl exec` does for a person, and waits for the mark.
pub(super) async fn run(story: &Story, view: &mut View, namespace: &str, pod: &str, healthy: bool) -> Result<Duration> {
    let asked_ns = now_ns();
    let order = if healthy { "heal" } else { "fail" };
    println!("         $ kubectl exec -n {namespace} {pod} -c arena -- /test-app {order}");
    let mut exec = story.kubectl();
    exec.args(["exec", "-n", namespace, pod, "-c", "arena", "--", "/test-app", order]);
    let answer = tokio::task::spawn_blocking(move || command::run(&mut exec)).await??;
    let switched: Switched =
        serde_json::from_str(answer.trim()).with_context(|| format!("test-app answered {answer:?}"))?;
    let value = if healthy { "true" } else { "false" };
    let glimpse = view.marked(Some(pod), value, DEADLINE).await?;
    // In the lab both clocks are this machine's. Elsewhere the switch happened at some moment after it was asked for.
    let switched_ns = if story.is_lab { switched.monotonic_ns } else { asked_ns };
    let latency = Duration::from_nanos(u64::try_from(glimpse.seen_ns - switched_ns).unwrap_or(0));
    story.say(&format!("{} after {:.0} ms", glimpse.marks(), latency.as_secs_f64() * 1e3));
    Ok(latency)
}
