//! One switch of the server's health, and how long the mark took.

use super::DEADLINE;
use super::story::Story;
use super::view::View;
use crate::command;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::time::Duration;

/// What `test-app` says of a switch.
#[derive(Deserialize)]
struct Switched {
    monotonic_ns: i64,
}

/// Switches from inside the container, as `kubectl exec` does for a person, and waits for the mark.
pub(super) async fn run(story: &Story, view: &mut View, namespace: &str, pod: &str, healthy: bool) -> Result<Duration> {
    let order = if healthy { "heal" } else { "fail" };
    println!("         $ kubectl exec -n {namespace} {pod} -c arena -- /test-app {order}");
    let mut exec = story.kubectl();
    exec.args(["exec", "-n", namespace, pod, "-c", "arena", "--", "/test-app", order]);
    let answer = tokio::task::spawn_blocking(move || command::run(&mut exec)).await??;
    let switched: Switched =
        serde_json::from_str(answer.trim()).with_context(|| format!("test-app answered {answer:?}"))?;
    let value = if healthy { "true" } else { "false" };
    let glimpse = view.marked(Some(pod), value, DEADLINE).await?;
    // Both clocks are the machine's monotonic one; on a remote cluster they are not, and the figure says nothing.
    let latency = Duration::from_nanos(u64::try_from(glimpse.seen_ns - switched.monotonic_ns).unwrap_or(0));
    story.say(&format!("{} after {:.0} ms", glimpse.marks(), latency.as_secs_f64() * 1e3));
    Ok(latency)
}
