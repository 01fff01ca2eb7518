//! Many probes on a machine that has no time for them, and what their connections leave behind: faults F24, F26.

use super::Ground;
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use probelet_protocol::environment;
use probelet_tests::bench::application::Application;
use probelet_tests::bench::plan::LocalPlan;
use probelet_tests::bench::usage;
use probelet_tests::image::TEST_APP;
use probelet_tests::marker;
use probelet_tests::pod::{app, has_condition};
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

/// Sockets in TIME_WAIT, of either end, in a process's network.
fn waiting(process: u32) -> Result<usize> {
    let count = |file: &str| -> Result<usize> {
        let table = std::fs::read_to_string(format!("/proc/{process}/net/{file}"))?;
        Ok(table.lines().filter(|line| line.split_whitespace().nth(3) == Some("06")).count())
    };
    Ok(count("tcp")? + count("tcp6")?)
}

/// The sidecar of a Pod that runs on this machine.
fn sidecar_of(pod: &Pod) -> Result<u32> {
    let uid = format!("{}={}", environment::POD_UID, pod.metadata.uid.as_deref().context("uid")?);
    let is_it = |id: &u32| {
        let read = |file| std::fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
        read("cmdline").starts_with(b"/probelet\0")
            && read("environ").split(|byte| *byte == 0).any(|one| one == uid.as_bytes())
    };
    let ids = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.into_iter().find(is_it).context("the Pod's sidecar is no process of this machine")
}

/// Fault F26, for three minutes instead of ten: 25 httpGet and 25 tcpSocket probes a second leave at most two connections each in
/// TIME_WAIT, and no descriptor. In a Pod, whose network is nobody else's.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of three minutes"]
async fn connections_and_descriptors_do_not_pile_up() -> Result<()> {
    space::with("soak", Labels::opted_in(), |space| async move {
        let probe = |index: usize| {
            let handler = if index.is_multiple_of(2) {
                json!({"httpGet": {"port": 8080, "path": "/health"}})
            } else {
                json!({"tcpSocket": {"port": 9090}})
            };
            let name = format!("probes.example/p{index}");
            marker::probe(&format!("p{index}"), handler, &name, &name)
        };
        marker::create(&space, "ports", "web", &(0..PROBES).map(probe).collect::<Vec<_>>()).await?;
        let pod = app("web", &space.cluster().image(TEST_APP)?)
            .labelled("app", "web")
            .on("virtual-push")
            .running(&["serve", "--http", "8080", "--tcp", "9090"]);
        space.create_object(&pod.build()).await?;
        let all = |pod: &Pod| (0..PROBES).all(|index| has_condition(pod, &format!("probes.example/p{index}"), "True"));
        let pod = space.wait_for_pod("web", "to succeed by all probes", Duration::from_secs(60), all).await?;
        let sidecar = sidecar_of(&pod)?;
        let (begin, early) = (Instant::now(), usage::descriptors(sidecar)?);
        let (mut most, mut descriptors) = (0, early);
        while begin.elapsed() < Duration::from_secs(180) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            most = most.max(waiting(sidecar)?);
            descriptors = descriptors.max(usage::descriptors(sidecar)?);
        }
        println!("at most {most} sockets in TIME_WAIT, {descriptors} descriptors ({early} at first)");
        ensure!(all(&space.api::<Pod>().get("web").await?), "a probe failed");
        ensure!(most >= PROBES, "only {most} in TIME_WAIT: those of other processes were counted");
        ensure!(most <= 2 * PROBES, "{most} sockets in TIME_WAIT");
        // A sample may meet all probes at once.
        ensure!(descriptors <= early + PROBES, "{descriptors} descriptors, {early} at first");
        Ok(())
    })
    .await
}
