//! Servers that mean ill (fault F25), beside each other, probed every second: each run ends in time, and memory stays.

use super::Ground;
use anyhow::{Context, Result, ensure};
use probelet_tests::bench::latency::duration;
use probelet_tests::bench::plan::LocalPlan;
use probelet_tests::space::{self, Labels};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TIMEOUT: Duration = Duration::from_secs(1);

/// What a server says: a start, then a cycle of pieces with a pause between them.
#[derive(Clone)]
struct Manner {
    name: &'static str,
    is_grpc: bool,
    start: Vec<u8>,
    cycle: Vec<u8>,
    pause: Duration,
    /// Whether a run that it answers goes on to the timeout.
    is_endless: bool,
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

fn manners() -> Vec<Manner> {
    // A flood is some MB a second of each; as fast as the machine can would measure the machine.
    let tick = Duration::from_millis(10);
    let http = |name, start: &str, cycle: &str, is_endless| Manner {
        name,
        is_grpc: false,
        start: start.into(),
        cycle: cycle.repeat(40_000 / cycle.len().max(1)).into(),
        pause: tick,
        is_endless,
    };
    let grpc = |name, start: Vec<u8>, cycle: Vec<u8>, is_endless| Manner {
        name,
        is_grpc: true,
        start: [frame(4, 0, 0, &[]), start].concat(),
        cycle: cycle.repeat(40_000 / cycle.len()),
        pause: tick,
        is_endless,
    };
    let head = [&[0x88, 0x0f, 0x10, 16], b"application/grpc".as_slice()].concat();
    let drip = |name, start: &str, is_endless| Manner {
        cycle: b"x".to_vec(),
        pause: Duration::from_millis(300),
        ..http(name, start, "x", is_endless)
    };
    vec![
        drip("drip", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", true),
        drip("drip-head", "HTTP/1.1 200 OK\r\nA: ", true),
        http("silent", "", "", true),
        http("body", "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", "x", false),
        http("fields", "HTTP/1.1 200 OK\r\n", "A: header\r\n", false),
        http("line", "HTTP/1.1 200 OK\r\nA: ", "no end to this line", false),
        http("continue", "", "HTTP/1.1 100 Continue\r\n\r\n", false),
        http("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "endless extension", false),
        http("loop", "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n", "", false),
        grpc("empty-data", frame(1, 4, 1, &head), frame(0, 0, 1, &[]), true),
        grpc("continuation", frame(1, 0, 1, &[]), frame(9, 0, 1, &[0x88; 100]), false),
        grpc("settings", Vec::new(), frame(4, 0, 0, &[]), true),
        grpc("ping", Vec::new(), frame(6, 0, 0, &[0; 8]), true),
    ]
}

/// Serves well until `is_ill`, and then in its manner.
async fn serve(listener: TcpListener, manner: Manner, is_ill: Arc<AtomicBool>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, manner.clone(), is_ill.load(Ordering::SeqCst)));
    }
}

async fn answer(mut stream: TcpStream, manner: Manner, is_ill: bool) -> std::io::Result<()> {
    // The beginning of a request is enough.
    let _ = stream.read(&mut [0; 4096]).await?;
    if !is_ill {
        // Of gRPC too: an answer, if not the one that is asked for.
        return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    }
    stream.write_all(&manner.start).await?;
    while !manner.cycle.is_empty() {
        stream.write_all(&manner.cycle).await?;
        tokio::time::sleep(manner.pause).await;
    }
    if manner.name == "silent" {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Latencies of the runs that the log tells of, by probe.
fn latencies(lines: &[String]) -> Result<BTreeMap<String, Vec<Duration>>> {
    let mut found = BTreeMap::<String, Vec<Duration>>::new();
    for line in lines {
        let field = |name: &str| {
            let rest = line.split_once(&format!(" {name}="))?.1;
            Some(rest.split(' ').next().unwrap_or_default().trim_matches('"').to_owned())
        };
        let (probe, latency) = (field("probe").context("probe")?, field("latency").context("latency")?);
        found.entry(probe).or_default().push(duration(&latency).with_context(|| line.clone())?);
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of a minute"]
async fn hostile_servers_cost_neither_time_nor_memory() -> Result<()> {
    space::with("soak", Labels::opted_in(), |space| async move {
        let ground = Ground::of(&space).await?;
        let is_ill = Arc::new(AtomicBool::new(false));
        let mut plan = LocalPlan::default();
        for manner in manners() {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let port = listener.local_addr()?.port();
            let probe =
                if manner.is_grpc { json!({"grpc": {"port": port}}) } else { json!({"httpGet": {"port": port}}) };
            plan = plan.and(manner.name, probe);
            tokio::spawn(serve(listener, manner, is_ill.clone()));
        }
        let sidecar = ground.sidecar("hostile", &plan, &[("PROBELET_LOG_LEVEL", "debug")]).await?;
        tokio::time::sleep(Duration::from_secs(15)).await; // as a well served Pod
        let (before, anonymous) = (sidecar.memory("VmRSS")?, sidecar.memory("RssAnon")?);
        let told = sidecar.lines(" ran ").len();
        is_ill.store(true, Ordering::SeqCst);
        let (mut most, mut most_anonymous) = (0, 0);
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(sidecar.memory("VmRSS")?);
            most_anonymous = most_anonymous.max(sidecar.memory("RssAnon")?);
        }
        println!(
            "resident {before} KiB, then at most {most}; anonymous {anonymous} KiB, then at most {most_anonymous}"
        );
        let found = latencies(&sidecar.lines(" ran ")[told..])?;
        let sorted = |name: &str| -> Result<Vec<Duration>> {
            // The first run may have begun before.
            let mut runs = found.get(name).context("no runs")?[1..].to_vec();
            runs.sort_unstable();
            Ok(runs)
        };
        let late = |runs: &[Duration]| runs[runs.len() * 19 / 20];
        // How late a shared machine makes a run that only waits, at worst.
        let wait = sorted("silent")?.last().copied().context("no runs")?.max(TIMEOUT);
        for manner in manners() {
            let runs = sorted(manner.name)?;
            let (least, late, worst) = (runs[0], late(&runs), runs[runs.len() - 1]);
            println!("  {:<13} {} runs, {least:?} to {late:?} (19 of 20), worst {worst:?}", manner.name, runs.len());
            let slack = Duration::from_millis(50);
            ensure!(late <= wait + slack, "{}: {late:?}", manner.name);
            ensure!(!manner.is_endless || least >= TIMEOUT - slack, "{}: {least:?}", manner.name);
        }
        ensure!(most <= before + 256, "resident memory grew from {before} to {most} KiB");
        Ok(())
    })
    .await
}
