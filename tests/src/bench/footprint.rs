//! What a sidecar costs: its files, its memory and CPU at one probe a second, and how soon it probes.

use super::figure::Series;
use super::local::Pair;
use super::target::ProbeTarget;
use crate::command;
use crate::image::SIDECAR;
use crate::lab::{Lab, node};
use anyhow::{Context, Result, bail};
use kube::{Client, Config};
use std::path::Path;
use std::time::{Duration, Instant};

/// Prints size, resident memory and CPU over `time`, and start to first probe over `starts` starts.
pub async fn run(
    client: &Client,
    config: &Config,
    namespace: &str,
    binary: &Path,
    (time, starts): (Duration, usize),
) -> Result<()> {
    println!("footprint: {}", binary.display());
    for file in ["probelet", "probelet-agent"] {
        if let Ok(metadata) = std::fs::metadata(binary.with_file_name(file)) {
            println!("  {file:<15} {:>9} bytes", metadata.len());
        }
    }
    println!("  start -> first probe   {}", first_probes(client, config, namespace, binary, starts).await?);
    let pair = Pair::start(client, config, (namespace, "footprint"), binary, &[]).await?;
    await_requests(&pair.target, 3).await?;
    let (ticks, begin, requests) = (pair.sidecar.ticks()?, Instant::now(), pair.target.requests());
    tokio::time::sleep(time).await; // the measured span itself, not a wait for something
    let seconds = begin.elapsed().as_secs_f64();
    let used = (pair.sidecar.ticks()? - ticks) as f64 * 0.01;
    println!(
        "  after {seconds:.0} s, {} probes: resident {} KiB, CPU {:.2} % of a core (10 ms ticks)",
        pair.target.requests() - requests,
        pair.sidecar.resident()?,
        used / seconds * 100.0
    );
    Ok(())
}

/// Prints the size of the sidecar's image as nodes pull it, and of what it holds.
pub fn image(lab: &Lab) -> Result<()> {
    let reference = SIDECAR.provided(lab)?;
    let [socket, _] = lab.layout().containerd_sockets();
    let listed = command::run(node::ctr(&socket)?.args(["images", "list", &format!("name=={reference}")]))?;
    let row = listed.lines().find(|line| line.starts_with(&reference)).context("the lab's node has no such image")?;
    // The size is two words: number and unit.
    let size: Vec<_> = row.split_whitespace().skip(3).take(2).collect();
    println!("  image {reference}: {} compressed", size.join(" "));
    Ok(())
}

async fn first_probes(
    client: &Client,
    config: &Config,
    namespace: &str,
    binary: &Path,
    starts: usize,
) -> Result<Series> {
    let mut target = Pair::start(client, config, (namespace, "first"), binary, &[]).await?;
    await_requests(&target.target, 1).await?;
    let mut durations = Vec::new();
    for _ in 0..starts {
        let _ = target.sidecar.child.kill();
        let _ = target.sidecar.child.wait();
        let before = target.target.requests();
        let begin = Instant::now();
        target.sidecar = target.identity.sidecar(binary, config, &[])?;
        await_requests(&target.target, before + 1).await?;
        durations.push(begin.elapsed());
    }
    Ok(Series::new(durations))
}

async fn await_requests(target: &ProbeTarget, count: u64) -> Result<()> {
    let begin = Instant::now();
    while target.requests() < count {
        if begin.elapsed() > Duration::from_secs(20) {
            bail!("the sidecar sent no probe within 20 s");
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    Ok(())
}
