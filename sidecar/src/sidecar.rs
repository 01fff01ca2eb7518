//! Puts the parts together: settings in, a marked Pod out, until told to stop.

use crate::api::{Api, ApiError};
use crate::clock::Clock;
use crate::config::Config;
use crate::exec::AgentsHandle;
use crate::fleet::{Fleet, FleetSettings};
use crate::handler::Target;
use crate::ledger::{Ledger, LedgerSettings};
use crate::random::Random;
use crate::reporter::{End, Parts, Reporter};
use crate::restart::{SHARED_MEMORY, Trace};
use crate::stats::Stats;
use crate::watch::Watch;
use probelet_protocol::name::NODE_KIND_ORDINARY;
use probelet_protocol::setting::Observation;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Results that may wait for the reporter; a worker waits when there are more.
const REPORTS: usize = 64;

/// Why the sidecar could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No signal handler.
    #[error("listening for SIGTERM: {0}")]
    Signal(#[source] io::Error),
    /// Where the API server should be.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Runs one sidecar to its end.
///
/// # Errors
/// [`StartError`]; once started it never fails.
pub async fn run(config: Config) -> Result<End, StartError> {
    let mut stop = stop_signal().map_err(StartError::Signal)?;
    let trace = Trace::new(Path::new(SHARED_MEMORY), &config.pod.uid);
    let end = mark(config, &trace, &mut stop).await?;
    match end {
        End::StandBy => {
            tracing::info!("a node agent probes on this kind of node: standing by");
            stop.await;
        }
        End::Stopped => tracing::info!("told to stop"),
        End::Gone => tracing::info!("the Pod is gone"),
        End::Done => tracing::info!("the Pod's other containers have ended"),
    }
    trace.remove();
    Ok(end)
}

async fn mark(config: Config, trace: &Trace, stop: impl Future<Output = ()>) -> Result<End, StartError> {
    if config.node_kind.as_deref() == Some(NODE_KIND_ORDINARY) {
        return Ok(End::StandBy);
    }
    let clock = Clock::start();
    let mut random = Random::new(RandomState::new().hash_one(&config.pod.uid));
    let observe_first = !trace.is_first_start();
    tracing::info!(
        version = VERSION,
        pod = config.pod.name,
        namespace = config.pod.namespace,
        probes = config.plan.probes.len(),
        defaults = %config.timing.defaults,
        observe = %config.observe,
        marks = %config.marks,
        shield = config.look.has_shield,
        restarted = observe_first,
        "probelet starts"
    );
    let (reports, reports_in) = mpsc::channel(REPORTS);
    let (sights, sights_in) = mpsc::channel(1);
    let (_hurry, hurry_in) = watch::channel((0, String::new()));
    let stats = Arc::new(Stats::default());
    let api = Api::try_new(config.api.clone(), config.token_dir.clone(), VERSION)?;
    let mut tasks = JoinSet::new();
    if config.observe == Observation::Watch {
        let api = Api::try_new(config.api, config.token_dir, VERSION)?;
        tasks.spawn(Watch::new(api, config.pod.clone(), sights, random.fork()).run(clock));
    }
    let settings =
        LedgerSettings { uid: config.pod.uid.clone(), marks: config.marks, look: config.look, observe_first };
    let target = Target {
        host: config.probe_host,
        pod_ips: config.pod_ips,
        ports: Arc::new(config.ports),
        agents: AgentsHandle::none(),
        version: VERSION,
    };
    let fleet = FleetSettings { target, timing: config.timing, startup_probes: config.startup_probes };
    let fleet = Fleet::new(fleet, clock, random.fork(), stats.clone(), reports, hurry_in);
    let parts = Parts {
        pod: config.pod,
        is_native: config.is_native,
        plan_text: config.plan_text,
        ledger: Ledger::new(settings, config.plan, random.fork()),
        fleet,
        clock,
        stats,
        reports: reports_in,
        sights: sights_in,
    };
    Ok(Reporter::new(parts, api).run(stop).await)
}

/// SIGTERM, or SIGINT for people at a terminal.
fn stop_signal() -> io::Result<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }))
}
