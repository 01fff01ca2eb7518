//! Many probes on a machine that has no time for them, and what their connections leave behind: faults F24, F26.

use super::Ground;
use anyhow::{Result, ensure};
use probelet_tests::bench::application::Application;
use probelet_tests::bench::plan::LocalPlan;
use probelet_tests::bench::usage;
use probelet_tests::space::{self, Labels};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Probes of one kind, as kubernetes/kubernetes:test/e2e_node/probe_stress_test.go has containers.
const PROBES: usize = 50;

fn plan_of(probe: &Value) -> LocalPlan {
    LocalPlan::default().and_all("p", std::iter::repeat_n(probe.clone(), PROBES))
}

/// Threads that do nothing but use a core each; they end with this.
struct Hogs(Arc<AtomicBool>);

impl Hogs {
    fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..count {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Fault F24: three sidecars of 50 probes each, httpGet, tcpSocket and grpc, every second for two minutes, beside twice as many
/// hogs as cores: no false Failed, and at most 6 MiB resident.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of two minutes"]
async fn a_busy_machine_makes_no_false_failure() -> Result<()> {
    space::with("soak", Labels::opted_in(), |space| async move {
        let ground = Ground::of(&space).await?;
        let application = Application::start(&ground.application).await?;
        let hogs = Hogs::start(2 * std::thread::available_parallelism()?.get());
        let mut sidecars = Vec::new();
        for (kind, probe) in [
            ("http", json!({"httpGet": {"port": application.http, "path": "/health"}})),
            ("tcp", json!({"tcpSocket": {"port": application.tcp}})),
            ("grpc", json!({"grpc": {"port": application.grpc}})),
        ] {
            sidecars.push((kind, ground.sidecar(kind, &plan_of(&probe), &[("PROBELET_LOG_LEVEL", "debug")]).await?));
        }
        tokio::time::sleep(Duration::from_secs(120)).await; // the soak itself
        drop(hogs);
        for (kind, sidecar) in &sidecars {
            let (runs, resident) = (sidecar.lines(" ran ").len(), sidecar.memory("VmHWM")?);
            println!("{kind}: {runs} runs, at most {resident} KiB resident");
            sidecar.ensure_no("to=\"Failed\"")?;
            ensure!(runs > PROBES * 110, "{kind}: {runs} runs");
            ensure!(resident <= 6 * 1024, "{kind}: {resident} KiB");
        }
        Ok(())
    })
    .await
}

/// Connections of this port in TIME_WAIT, of either end.
fn waiting(port: u16) -> Result<usize> {
    let port = format!(":{port:04X} ");
    let count = |path: &str| -> Result<usize> {
        let table = std::fs::read_to_string(path)?;
        Ok(table.lines().filter(|line| line.contains(" 06 ") && line.contains(&port)).count())
    };
    Ok(count("/proc/net/tcp")? + count("/proc/net/tcp6")?)
}

/// Fault F26, for three minutes instead of ten: 25 httpGet and 25 tcpSocket probes a second leave at most two connections each in
/// TIME_WAIT, and no descriptor.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of three minutes"]
async fn connections_and_descriptors_do_not_pile_up() -> Result<()> {
    space::with("soak", Labels::opted_in(), |space| async move {
        let ground = Ground::of(&space).await?;
        let application = Application::start(&ground.application).await?;
        let http = json!({"httpGet": {"port": application.http, "path": "/health"}});
        let tcp = json!({"tcpSocket": {"port": application.tcp}});
        let plan = LocalPlan::default()
            .and_all("http", std::iter::repeat_n(http, PROBES / 2))
            .and_all("tcp", std::iter::repeat_n(tcp, PROBES / 2));
        let sidecar = ground.sidecar("ports", &plan, &[]).await?;
        tokio::time::sleep(Duration::from_secs(20)).await; // the first connections' minute has begun
        let (begin, early) = (Instant::now(), usage::descriptors(sidecar.pid())?);
        let (mut most, mut descriptors) = (0, early);
        while begin.elapsed() < Duration::from_secs(180) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            most = most.max(waiting(application.http)? + waiting(application.tcp)?);
            descriptors = descriptors.max(usage::descriptors(sidecar.pid())?);
        }
        println!("at most {most} connections in TIME_WAIT, {descriptors} descriptors ({early} at first)");
        sidecar.ensure_no("to=\"Failed\"")?;
        ensure!(most <= 2 * PROBES, "{most} connections in TIME_WAIT");
        // A sample may meet all probes at once.
        ensure!(descriptors <= early + PROBES, "{descriptors} descriptors, {early} at first");
        Ok(())
    })
    .await
}
