//! Memory over a day's worth of probes, and over flips and timeouts (fault F27), in minutes.

use super::{Ground, Marked};
use anyhow::{Result, ensure};
use probelet_tests::bench::application::{Application, LocalAgent};
use probelet_tests::bench::plan::LocalPlan;
use probelet_tests::bench::usage;
use probelet_tests::space::{self, Labels};
use serde_json::json;
use std::time::{Duration, Instant};

/// What may be added after the first minute, in KiB.
const GROWTH: u64 = 128;
/// The shortest period that there is.
const PERIOD: (&str, &str) = ("PROBELET_PERIOD", "50ms");

/// Samples anonymous memory until `time` is over; what it was after a minute, and the most and the last after that.
async fn watch(
    sidecar: &Marked,
    time: Duration,
    mut meanwhile: impl FnMut(u32) -> Result<()>,
) -> Result<(u64, u64, u64)> {
    let (begin, mut round) = (Instant::now(), 0);
    let (mut early, mut most, mut last) = (None, 0, 0);
    while begin.elapsed() < time {
        meanwhile(round)?;
        round += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if begin.elapsed() >= Duration::from_secs(60) {
            last = sidecar.memory("RssAnon")?;
            early.get_or_insert(last);
            most = most.max(last);
        }
    }
    Ok((early.unwrap_or_default(), most, last))
}

fn judge(sidecar: &Marked, (early, most, last): (u64, u64, u64)) -> Result<()> {
    println!(
        "anonymous memory {early} KiB after a minute, {most} at most, {last} at the end; resident {} KiB, {} at most",
        sidecar.memory("VmRSS")?,
        sidecar.memory("VmHWM")?
    );
    ensure!(last < early + GROWTH, "anonymous memory grew from {early} to {last} KiB");
    Ok(())
}

/// As many runs as five probes, one of each kind, make in a day: eight of each kind, twenty times a second.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of nine minutes"]
async fn memory_is_flat_over_a_days_worth_of_probes() -> Result<()> {
    const COPIES: usize = 8;
    const DAY: u64 = 5 * 86_400;
    space::with("soak", Labels::opted_in(), |space| async move {
        let ground = Ground::of(&space).await?;
        let application = Application::start(&ground.application).await?;
        let agent = LocalAgent::start(&ground.sidecar.with_file_name("probelet-agent")).await?;
        let probes = application.probes();
        let plan = probes
            .into_iter()
            .fold(LocalPlan::default(), |plan, (name, probe)| plan.and_all(name, std::iter::repeat_n(probe, COPIES)));
        let [(dir, folder), (keys, secret)] = agent.environment();
        let metrics = super::free_port()?;
        let port = metrics.to_string();
        let environment = [PERIOD, (dir, folder.as_str()), (keys, secret.as_str()), ("PROBELET_METRICS_PORT", &port)];
        let sidecar = ground.sidecar("day", &plan, &environment).await?;
        let (early, most, _) = watch(&sidecar, Duration::from_secs(540), |_| Ok(())).await?;
        // A busy machine makes fewer runs a second.
        let begin = Instant::now();
        while super::runs(metrics).await? < DAY && begin.elapsed() < Duration::from_secs(600) {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let (runs, seen) = (super::runs(metrics).await?, (early, most, sidecar.memory("RssAnon")?));
        println!("{runs} runs; agent {} KiB resident", usage::memory(agent.pid, "VmRSS")?);
        judge(&sidecar, seen)?;
        ensure!(runs >= DAY, "{runs} runs are no day's worth");
        Ok(())
    })
    .await
}

/// Fault F27, for five minutes instead of an hour, but twenty times as often: health that flips every second, and probes that time
/// out.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of five minutes"]
async fn memory_is_flat_over_flips_and_timeouts() -> Result<()> {
    space::with("soak", Labels::opted_in(), |space| async move {
        let ground = Ground::of(&space).await?;
        let application = Application::start(&ground.application).await?;
        let slow = json!({"httpGet": {"port": application.http, "path": "/slow/5000"}});
        let plan = application.probes().into_iter().filter(|(name, _)| *name != "exec");
        let plan = plan.fold(LocalPlan::default(), |plan, (name, probe)| plan.and(name, probe)).and("slow", slow);
        let environment = [PERIOD, ("PROBELET_TIMEOUT", "400ms")];
        let sidecar = ground.sidecar("flips", &plan, &environment).await?;
        let seen = watch(&sidecar, Duration::from_secs(300), |round| match round % 2 {
            0 => application.switch(round % 4 == 0),
            _ => Ok(()),
        })
        .await?;
        let flips = sidecar.lines("to=\"Failed\"").len();
        println!("{flips} transitions to Failed");
        ensure!(flips > 400, "{flips} transitions to Failed");
        judge(&sidecar, seen)
    })
    .await
}
