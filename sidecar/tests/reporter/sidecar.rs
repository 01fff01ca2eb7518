//! A sidecar without a process: real probes of a real port, the real reporter, and a stub behind it.

use super::app::Folder;
use super::stub::Stub;
use probelet_protocol::plan::Plan;
use probelet_protocol::setting::{Marks, ProbeHost};
use probelet_sidecar::api::Api;
use probelet_sidecar::backoff::Backoff;
use probelet_sidecar::clock::Clock;
use probelet_sidecar::config::{ApiHost, PodName};
use probelet_sidecar::event::{self, Events};
use probelet_sidecar::exec::AgentsHandle;
use probelet_sidecar::fleet::{Fleet, FleetSettings};
use probelet_sidecar::handler::Target;
use probelet_sidecar::ledger::{Ledger, LedgerSettings};
use probelet_sidecar::look::LookSettings;
use probelet_sidecar::observed::PlanText;
use probelet_sidecar::random::Random;
use probelet_sidecar::reporter::{End, Parts, Reporter};
use probelet_sidecar::timing::TimingSettings;
use probelet_sidecar::watch::Watch;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) is_native: bool,
    pub(crate) observe_first: bool,
    pub(crate) has_watch: bool,
    pub(crate) has_shield: bool,
    pub(crate) has_events: bool,
    pub(crate) has_startup_probe: bool,
}

pub(crate) struct Sidecar {
    stop: Option<oneshot::Sender<()>>,
    reporter: JoinHandle<End>,
}

/// The plan of one tcpSocket probe `up` of container `game`.
pub(crate) fn plan_text(port: u16) -> String {
    format!(
        r#"[{{"name":"up","containerName":"game","probe":{{"tcpSocket":{{"port":{port}}}}},"podConditionType":"x.io/Up"}}]"#
    )
}

pub(crate) fn policies() -> &'static str {
    r#"[{"name":"up","containerName":"game","markerPolicy":[{"state":"Succeeded","labels":{"up":"yes"}},
        {"state":"Failed","labels":{"up":"no"}}]}]"#
}

impl Sidecar {
    pub(crate) fn start(stub: &Stub, folder: &Folder, port: u16, options: Options) -> Self {
        let text = PlanText { probes: Some(plan_text(port)), policies: Some(policies().into()), writes: None };
        let plan = Plan::parse(text.probes.as_deref(), text.policies.as_deref()).expect("plan");
        let look = LookSettings { period: Duration::from_secs(600), has_watch: false, has_shield: options.has_shield };
        let settings = LedgerSettings {
            uid: "u1".into(),
            marks: Marks::All,
            look,
            retry_spread: Duration::ZERO,
            observe_first: options.observe_first,
        };
        let host = ApiHost { host: "127.0.0.1".into(), port: stub.port };
        let api = || Api::try_new(host.clone(), folder.0.clone(), "test").expect("api");
        let pod = PodName { namespace: "games".into(), name: "game-0".into(), uid: "u1".into() };
        let clock = Clock::start();
        let (sights, sights_in) = mpsc::channel(1);
        if options.has_watch {
            tokio::spawn(Watch::new(api(), pod.clone(), sights, Random::new(2), Backoff::default()).run(clock));
        }
        let events = options.has_events.then(|| {
            let (events, events_in) = mpsc::channel(event::WAITING);
            tokio::spawn(Events::new(api(), pod.clone(), clock, events_in).run());
            events
        });
        let (reports, reports_in) = mpsc::channel(8);
        let stats = Arc::default();
        let (knocks, _) = broadcast::channel(4);
        let fleet = Fleet::new(fleet(options), clock, Random::new(3), Arc::clone(&stats), reports, knocks);
        let ledger = Ledger::new(settings, plan, Random::new(4));
        let parts = Parts {
            pod,
            is_native: options.is_native,
            plan_text: text,
            ledger,
            fleet,
            clock,
            stats,
            reports: reports_in,
            sights: sights_in,
            events,
        };
        let (stop, stopped) = oneshot::channel();
        let reporter = tokio::spawn(Reporter::new(parts, api()).run(async {
            let _ = stopped.await;
        }));
        Self { stop: Some(stop), reporter }
    }

    /// SIGTERM.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    pub(crate) async fn end(self) -> End {
        // Kept until the end: dropping it is a SIGTERM.
        let _stop = self.stop;
        tokio::time::timeout(Duration::from_secs(20), self.reporter).await.expect("ends").expect("no panic")
    }
}

fn fleet(options: Options) -> FleetSettings {
    let target = Target {
        host: ProbeHost::default(),
        pod_ips: Vec::new(),
        ports: Arc::default(),
        agents: AgentsHandle::none(),
        version: "test",
    };
    let timing = TimingSettings { periods: "50ms".parse().expect("period"), ..Default::default() };
    let startup_probes = options.has_startup_probe.then(|| "game".to_owned()).into_iter().collect();
    FleetSettings { target, timing, startup_probes }
}
