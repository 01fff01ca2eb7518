//! One probe of each kind, once a second each, for a long time: what the sidecar and the exec agent hold on to.

use super::application::{Application, LocalAgent};
use super::local::{Identity, LocalSidecar};
use super::plan::{LocalPlan, condition};
use super::usage;
use crate::pod::has_condition;
use crate::wait;
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, Config};
use std::path::Path;
use std::time::{Duration, Instant};

/// The probes of [`Application::plan`].
pub const KINDS: [&str; 5] = ["http", "https", "tcp", "grpc", "exec"];
/// Most figures that are printed.
const ROWS: u32 = 12;

/// The programs that are run.
pub struct Programs<'a> {
    /// `probelet`; `probelet-agent` is beside it.
    pub sidecar: &'a Path,
    /// `test-app`.
    pub application: &'a Path,
}

/// Everything that runs; ended when dropped.
pub struct Ensemble {
    /// What is probed.
    pub application: Application,
    /// Runs the exec probe.
    pub agent: LocalAgent,
    /// What probes.
    pub sidecar: LocalSidecar,
    /// Whose Pod is marked.
    pub identity: Identity,
}

impl Ensemble {
    /// Starts all of it and waits until every probe has succeeded.
    pub async fn start(
        client: &Client,
        config: &Config,
        place: (&str, &str),
        programs: &Programs<'_>,
        extra: &[(&str, &str)],
    ) -> Result<Self> {
        Self::start_with(client, config, place, programs, extra, |plan| plan).await
    }

    /// The same, with further probes.
    pub async fn start_with(
        client: &Client,
        config: &Config,
        place: (&str, &str),
        programs: &Programs<'_>,
        extra: &[(&str, &str)],
        change: impl FnOnce(LocalPlan) -> LocalPlan,
    ) -> Result<Self> {
        let application = Application::start(programs.application).await?;
        let agent = LocalAgent::start(&programs.sidecar.with_file_name("probelet-agent")).await?;
        let identity = Identity::create(client, place.0, place.1, &change(application.plan())).await?;
        let own = agent.environment();
        let environment: Vec<_> =
            own.iter().map(|(name, value)| (*name, value.as_str())).chain(extra.iter().copied()).collect();
        let sidecar = identity.sidecar(programs.sidecar, config, &environment)?;
        let pods = Api::<Pod>::namespaced(client.clone(), place.0);
        wait::until_pod(&pods, place.1, "to succeed by all five probes", Duration::from_secs(30), |pod| {
            KINDS.iter().all(|kind| has_condition(pod, &condition(kind), "True"))
        })
        .await
        .with_context(|| sidecar.log())?;
        Ok(Self { application, agent, sidecar, identity })
    }
}

/// Prints memory and CPU of both programs over `time`.
pub async fn run(
    client: &Client,
    config: &Config,
    namespace: &str,
    programs: &Programs<'_>,
    time: Duration,
) -> Result<()> {
    println!("five probes, one of each kind ({}), each once a second, for {} s", KINDS.join(", "), time.as_secs());
    let mut ensemble = Ensemble::start(client, config, (namespace, "kinds"), programs, &[]).await?;
    let (sidecar, agent) = (ensemble.sidecar.child.id(), ensemble.agent.pid);
    let ticks = |of: u32| usage::ticks(of);
    let (begin, before) = (Instant::now(), (ticks(sidecar)?, ticks(agent)?));
    for row in 0..=ROWS {
        let at = begin + time * row / ROWS;
        tokio::time::sleep_until(at.into()).await; // the measured span itself, not a wait for something
        let seconds = begin.elapsed().as_secs_f64();
        let share = |used: u64| used as f64 / seconds.max(1.0);
        println!(
            "  {seconds:6.0} s  sidecar {} KiB (anonymous {}), CPU {:.2} %, {} descriptors   agent {} KiB (anonymous {}), CPU {:.2} %",
            usage::memory(sidecar, "VmRSS")?,
            usage::memory(sidecar, "RssAnon")?,
            share(ticks(sidecar)? - before.0),
            usage::descriptors(sidecar)?,
            usage::memory(agent, "VmRSS")?,
            usage::memory(agent, "RssAnon")?,
            share(ticks(agent)? - before.1),
        );
    }
    let log = ensemble.sidecar.log();
    ensure!(!log.contains(" Failed"), "a probe failed:\n{log}");
    idle_agent(&mut ensemble).await
}

/// What the agent uses while nobody asks it for anything.
async fn idle_agent(ensemble: &mut Ensemble) -> Result<()> {
    const SPAN: Duration = Duration::from_secs(10);
    // A stopped sidecar keeps its connection and asks for nothing.
    let pid = i32::try_from(ensemble.sidecar.child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.context("the sidecar's process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    tokio::time::sleep(Duration::from_secs(2)).await; // a run that was asked for ends
    let runtime = || std::fs::read_to_string(format!("/proc/{}/schedstat", ensemble.agent.pid));
    let before = runtime()?;
    tokio::time::sleep(SPAN).await;
    let after = runtime()?;
    rustix::process::kill_process(pid, rustix::process::Signal::CONT)?;
    let nanoseconds = |text: &str| text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
    let used = nanoseconds(&after).context("schedstat")? - nanoseconds(&before).context("schedstat")?;
    println!("  agent without probes: {used} ns of CPU in {} s", SPAN.as_secs());
    Ok(())
}
