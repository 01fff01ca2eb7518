//! Commands in running containers, through the API server as `kubectl exec` does it.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use serde::Deserialize;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

const LIMIT: Duration = Duration::from_secs(30);

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A switch of the test application's health, in nanoseconds of two clocks. The monotonic one is that of
/// the machine, so on the lab it can be compared with the caller's own.
#[derive(Clone, Debug, Deserialize)]
pub struct Switch {
    /// `healthy` or `failing`.
    pub state: String,
    /// Since 1970.
    pub wall_ns: i64,
    /// Since the machine started (CLOCK_MONOTONIC).
    pub monotonic_ns: i64,
}

/// Runs a command in a container and waits for its end.
pub async fn run(pods: &Api<Pod>, pod: &str, container: &str, command: &[&str]) -> Result<Output> {
    let work = run_unlimited(pods, pod, container, command);
    match tokio::time::timeout(LIMIT, work).await {
        Ok(result) => result.with_context(|| format!("cannot run {command:?} in container {container} of Pod {pod}")),
        Err(_) => bail!("{command:?} in container {container} of Pod {pod} took over {} s", LIMIT.as_secs()),
    }
}

/// Gives the test application in a container an order: `fail`, `heal` or `state`.
pub async fn switch(pods: &Api<Pod>, pod: &str, container: &str, order: &str) -> Result<Switch> {
    let output = run(pods, pod, container, &["/test-app", order]).await?;
    if output.code != 0 {
        bail!("test-app {order} in Pod {pod} ended with {}: {}", output.code, output.stderr);
    }
    serde_json::from_str(&output.stdout).with_context(|| format!("test-app {order} said {:?}", output.stdout))
}

async fn run_unlimited(pods: &Api<Pod>, pod: &str, container: &str, command: &[&str]) -> Result<Output> {
    let parameters = AttachParams::default().container(container).stdout(true).stderr(true).stdin(false);
    let mut process = pods.exec(pod, command.iter().copied(), &parameters).await?;
    let status = process.take_status().context("the answer has no status")?;
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let (stdout, stderr, status) = tokio::join!(read(stdout), read(stderr), status);
    let code = match status {
        Some(status) if status.status.as_deref() == Some("Success") => 0,
        Some(status) => status
            .details
            .and_then(|details| details.causes)
            .and_then(|causes| causes.into_iter().find(|cause| cause.reason.as_deref() == Some("ExitCode")))
            .and_then(|cause| cause.message?.parse().ok())
            .with_context(|| format!("it did not run: {}", status.message.unwrap_or_default()))?,
        None => bail!("the connection ended before the command did"),
    };
    Ok(Output { code, stdout: stdout?, stderr: stderr? })
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Result<String> {
    let mut text = String::new();
    if let Some(mut stream) = stream {
        stream.read_to_string(&mut text).await?;
    }
    Ok(text)
}
