//! Puts the parts together: settings in, a marked Pod out, until told to stop.

use crate::api::{Api, ApiError};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::Config;
use crate::edit::Edits;
use crate::event::{self, Events};
use crate::exec::{self, AgentsHandle};
use crate::fleet::{Fleet, FleetSettings};
use crate::handler::Target;
use crate::knock::{Door, Knock};
use crate::ledger::{Ledger, LedgerSettings};
use crate::random::Random;
use crate::reporter::{End, Parts, Reporter};
use crate::restart::{self, SHARED_MEMORY, Trace};
use crate::serve::Server;
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
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;

mod stand_by;
use stand_by::StandBy;

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Results that may wait for the reporter; a worker waits when there are more.
const REPORTS: usize = 64;
/// Requests for a run that a busy worker may miss before it runs anyway.
const KNOCKS: usize = 16;

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
    let stand_by = StandBy::of(&config)?;
    let end = match mark(config, &trace, &mut stop).await? {
        End::StandBy => {
            tracing::info!("a node agent probes on this kind of node: standing by");
            tokio::select! {
                biased;
                () = stop => End::Stopped,
                end = ended(stand_by) => end,
            }
        }
        end => end,
    };
    match end {
        End::StandBy | End::Stopped => tracing::info!("told to stop"),
        End::Gone => tracing::info!("the Pod is gone"),
        End::Done => tracing::info!("the Pod's other containers have ended"),
    }
    if matches!(end, End::Gone | End::Done) {
        trace.remove();
    }
    Ok(end)
}

/// The end of what is stood by for, where it has one.
async fn ended(stand_by: Option<StandBy>) -> End {
    match stand_by {
        Some(stand_by) => stand_by.wait().await,
        None => std::future::pending().await,
    }
}

async fn mark(mut config: Config, trace: &Trace, stop: impl Future<Output = ()>) -> Result<End, StartError> {
    if config.node_kind.as_deref() == Some(NODE_KIND_ORDINARY) {
        return Ok(End::StandBy);
    }
    let clock = Clock::start();
    let mut random = Random::new(RandomState::new().hash_one(&config.pod.uid));
    let observe_first = !(trace.is_first_start() && restart::is_new(&config.token_dir, clock.wall()));
    tell_start(&config, observe_first);
    let api = || Api::try_new(config.api.clone(), config.token_dir.clone(), VERSION);
    let (reporter_api, watch_api, event_api) = (api()?, api()?, api()?);
    // Aborted as this function returns.
    let mut tasks = JoinSet::new();
    let (reports, reports_in) = mpsc::channel(REPORTS);
    let (sights, sights_in) = mpsc::channel(1);
    if config.observe == Observation::Watch {
        let backoff = Backoff::new(config.retry_spread);
        tasks.spawn(Watch::new(watch_api, config.pod.clone(), sights.clone(), random.fork(), backoff).run(clock));
    }
    // Beside a watch too: it may be forbidden, or away.
    tasks.spawn(Edits::new(config.token_dir.clone(), &config.plan_text).run(sights));
    let events = config.has_events.then(|| {
        let (events, events_in) = mpsc::channel(event::WAITING);
        tasks.spawn(Events::new(event_api, config.pod.clone(), clock, events_in).run());
        events
    });
    let stats = Arc::new(Stats::default());
    let knocks = doors(&mut tasks, &config, &stats).await;
    let agents = agents(&mut tasks, &mut config, &knocks);
    let fleet = Fleet::new(fleet_settings(&mut config, agents), clock, random.fork(), stats.clone(), reports, knocks);
    let settings = LedgerSettings {
        uid: config.pod.uid.clone(),
        marks: config.marks,
        look: config.look,
        retry_spread: config.retry_spread,
        observe_first,
    };
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
        events,
    };
    Ok(Reporter::new(parts, reporter_api).run(stop).await)
}

/// The settings that change what probes mean, in the log's first line.
fn tell_start(config: &Config, observe_first: bool) {
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
}

/// Opens the doors through which a run can be asked for: the metrics port where one is set, and the socket in the agents'
/// folder where there is one.
async fn doors(tasks: &mut JoinSet<()>, config: &Config, stats: &Arc<Stats>) -> broadcast::Sender<Knock> {
    let (knocks, _) = broadcast::channel(KNOCKS);
    if let Some(port) = config.metrics_port {
        match Server::bind(port, stats.clone(), knocks.clone()).await {
            Ok(server) => drop(tasks.spawn(server.run())),
            // The Pod's own job goes on without it.
            Err(error) => tracing::error!(port, %error, "the metrics port cannot be opened"),
        }
    }
    if config.agent_dir.is_dir() {
        match Door::open(&config.agent_dir) {
            Ok(door) => drop(tasks.spawn(hear(door, knocks.clone()))),
            Err(error) => tracing::warn!(folder = ?config.agent_dir, %error, "nobody can ask for a run: no socket"),
        }
    }
    knocks
}

async fn hear(mut door: Door, knocks: broadcast::Sender<Knock>) {
    loop {
        match door.next().await {
            // Nobody listens: there are no probes.
            Ok(knock) => drop(knocks.send(knock)),
            Err(error) => {
                tracing::error!(%error, "nobody can ask for a run any more");
                return;
            }
        }
    }
}

/// Opens the exec agents' socket where the Pod has exec probes.
fn agents(tasks: &mut JoinSet<()>, config: &mut Config, knocks: &broadcast::Sender<Knock>) -> AgentsHandle {
    if config.agent_keys.is_empty() {
        return AgentsHandle::none();
    }
    match exec::listen(&config.agent_dir, std::mem::take(&mut config.agent_keys)) {
        Ok((agents, listener)) => {
            tasks.spawn(listener.telling(knocks.clone()).run());
            agents
        }
        // Exec probes are Unknown then, with a reason; the others go on.
        Err(error) => {
            tracing::error!(folder = ?config.agent_dir, %error, "the exec agents' socket cannot be opened");
            AgentsHandle::none()
        }
    }
}

fn fleet_settings(config: &mut Config, agents: AgentsHandle) -> FleetSettings {
    let target = Target {
        host: config.probe_host,
        pod_ips: std::mem::take(&mut config.pod_ips),
        ports: Arc::new(std::mem::take(&mut config.ports)),
        agents,
        version: VERSION,
    };
    let (timing, startup_probes) = (config.timing.clone(), std::mem::take(&mut config.startup_probes));
    FleetSettings { target, timing, startup_probes }
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
