//! What one run of a probe takes, told by the sidecar's own log, beside others that do the same to the same server: kubelet's own
//! httpGet prober, curl, and a bare `true`.

use super::figure::Series;
use super::kinds::{Ensemble, Programs};
use super::plan::LocalPlan;
use crate::{binary, command};
use anyhow::{Context, Result, bail};
use kube::{Client, Config};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The shortest period that there is.
const PERIOD: Duration = Duration::from_millis(50);
const EXEC: &str = "true";

/// Prints all rows, of about `runs` runs each.
pub async fn run(client: &Client, config: &Config, namespace: &str, programs: &Programs<'_>, runs: u32) -> Result<()> {
    println!("time of one run, {} ms apart, on the same server", PERIOD.as_millis());
    let period = format!("{}ms", PERIOD.as_millis());
    let environment = [("PROBELET_PERIOD", period.as_str()), ("PROBELET_LOG_LEVEL", "debug")];
    let plan = |plan: LocalPlan| plan.and(EXEC, json!({"exec": {"command": ["true"]}}));
    let ensemble = Ensemble::start_with(client, config, (namespace, "latency"), programs, &environment, plan).await?;
    tokio::time::sleep(PERIOD * runs).await; // the measured span itself
    let log = ensemble.sidecar.log();
    for kind in super::kinds::KINDS.iter().chain(&[EXEC]) {
        // The first runs find cold pages.
        let found: Vec<_> = latencies(&log, kind).skip(10).collect();
        println!("  {kind:<24}{}", Series::new(found));
    }
    let url = format!("http://127.0.0.1:{}/health", ensemble.application.http);
    // Whoever is compared has the server for itself, as the sidecar's runs nearly do: they take a hundredth of the time.
    drop(ensemble.sidecar);
    println!("  {:<24}{}", "kubelet's http prober", kubelet(&url, runs)?);
    println!("  {:<24}{}", "curl, without its start", curl(&url, runs / 4).await?);
    println!("  {:<24}{}", "true, without an agent", bare(runs / 4).await?);
    Ok(())
}

/// kubernetes/kubernetes:pkg/probe/http, in a program of the lab.
fn kubelet(url: &str, runs: u32) -> Result<Series> {
    let mut prober = Command::new(binary::program("prober")?);
    let text = command::run(prober.args([url, &runs.to_string(), &PERIOD.as_millis().to_string()]))?;
    let microseconds = text.lines().skip(10).map(|line| line.parse().map(Duration::from_micros));
    Ok(Series::new(microseconds.collect::<Result<_, _>>()?))
}

async fn curl(url: &str, runs: u32) -> Result<Series> {
    let mut found = Vec::new();
    for _ in 0..runs {
        let mut curl = Command::new("curl");
        let text = command::run(curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{time_total}", url]))?;
        found.push(Duration::from_secs_f64(text.trim().parse().with_context(|| format!("curl said {text:?}"))?));
        tokio::time::sleep(PERIOD).await;
    }
    Ok(Series::new(found))
}

/// A process that is started and waited for.
async fn bare(runs: u32) -> Result<Series> {
    let mut found = Vec::new();
    for _ in 0..runs {
        let begin = Instant::now();
        if !Command::new("true").stdin(Stdio::null()).status()?.success() {
            bail!("true failed");
        }
        found.push(begin.elapsed());
        tokio::time::sleep(PERIOD).await;
    }
    Ok(Series::new(found))
}

/// Latencies of a probe's runs, from a debug log in text form.
pub fn latencies<'a>(log: &'a str, probe: &str) -> impl Iterator<Item = Duration> + 'a {
    let wanted = format!(" probe=\"{probe}\" latency=");
    log.lines().filter(|line| line.contains(" ran ")).filter_map(move |line| {
        let rest = &line[line.find(&wanted)? + wanted.len()..];
        duration(rest.split(' ').next()?)
    })
}

/// As Rust writes one for people: `1.5s`, `20ms`, `800µs`.
pub fn duration(text: &str) -> Option<Duration> {
    let at = text.find(char::is_alphabetic)?;
    let number: f64 = text[..at].parse().ok()?;
    let unit = match &text[at..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Some(Duration::from_secs_f64(number * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_read_from_the_log() {
        let log = "2026 DEBUG ran container=\"game\" probe=\"p\" latency=1.5ms result=\"success\"\n\
                   2026 DEBUG ran container=\"game\" probe=\"q\" latency=800.25µs result=\"failure\"\n\
                   2026 INFO transition container=\"game\" probe=\"p\" latency=9s result=\"success\"\n";
        assert_eq!(latencies(log, "p").collect::<Vec<_>>(), [Duration::from_micros(1500)]);
        assert_eq!(latencies(log, "q").collect::<Vec<_>>(), [Duration::from_nanos(800_250)]);
    }
}
