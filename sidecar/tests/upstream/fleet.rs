//! A Pod's probes as they come and go: kubernetes/kubernetes:pkg/kubelet/prober/prober_manager_test.go, with workers that run.
//! The manager there is a node's, the fleet here one Pod's: the plan takes the place of the Pods.

use super::server::Server;
use probelet_protocol::plan::Plan;
use probelet_protocol::setting::ProbeHost;
use probelet_sidecar::clock::Clock;
use probelet_sidecar::exec::AgentsHandle;
use probelet_sidecar::fleet::{Fleet, FleetSettings};
use probelet_sidecar::handler::Target;
use probelet_sidecar::random::Random;
use probelet_sidecar::threshold::ProbeState::{Failed, Succeeded};
use probelet_sidecar::timing::TimingSettings;
use probelet_sidecar::worker::Report;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

const LONG: Duration = Duration::from_secs(10);

fn fleet() -> (Fleet, mpsc::Receiver<Report>) {
    let target = Target {
        host: ProbeHost::Auto,
        pod_ips: Vec::new(),
        ports: Arc::default(),
        agents: AgentsHandle::none(),
        version: "test",
    };
    let timing = TimingSettings { periods: "50ms".parse().expect("period"), ..Default::default() };
    let settings = FleetSettings { target, timing, startup_probes: Default::default() };
    let (reports, reports_in) = mpsc::channel(16);
    let (knocks, _) = broadcast::channel(1);
    (Fleet::new(settings, Clock::start(), Random::new(1), Arc::default(), reports, knocks), reports_in)
}

/// An httpGet probe of each of these containers.
fn plan(probes: &[(&str, &Server)]) -> Plan {
    let probe = |(container, server): &(&str, &Server)| {
        let port = server.port();
        format!(
            r#"{{"name":"p","containerName":"{container}","podConditionType":"{container}","probe":{{"httpGet":{{"port":{port}}}}}}}"#
        )
    };
    let text = format!("[{}]", probes.iter().map(probe).collect::<Vec<_>>().join(","));
    Plan::parse(Some(&text), None).expect("plan")
}

async fn probed(server: &Server) -> bool {
    let before = server.connections();
    tokio::time::timeout(LONG, async {
        while server.connections() < before + 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .is_ok()
}

/// Nothing for the time of several periods, but what was under way.
async fn left_alone(server: &Server) -> bool {
    tokio::time::sleep(Duration::from_millis(60)).await;
    let before = server.connections();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.connections() == before
}

/// `TestAddRemovePods`, `TestAddRemovePodsWithRestartableInitContainer` (a probe names its container, of whichever kind),
/// `TestCleanupPods`, `TestCleanupRepeated` and worker_test.go's `TestCleanUp`.
#[tokio::test]
async fn probes_come_and_go_with_the_plan() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (readiness, liveness) = (Server::answering(ok).await, Server::answering(ok).await);
    let (mut fleet, mut reports) = fleet();
    let none = BTreeMap::new();
    // "Adding a pod with no probes should be a no-op."
    fleet.apply(&plan(&[]), &none);
    assert_eq!((readiness.connections(), liveness.connections()), (0, 0));
    // "Adding a pod with probes."
    fleet.apply(&plan(&[("readiness", &readiness), ("liveness", &liveness)]), &none);
    assert!(probed(&readiness).await && probed(&liveness).await);
    let mut told = [reports.recv().await, reports.recv().await].map(|report| report.expect("report").id.container);
    told.sort_unstable();
    assert_eq!(told, ["liveness", "readiness"]);
    // `TestCleanupPods`: what is not wanted goes, what is stays.
    fleet.apply(&plan(&[("readiness", &readiness)]), &none);
    assert!(left_alone(&liveness).await && probed(&readiness).await);
    // "Removing probed pod", and "Removing already removed pods should be a no-op."
    for _ in 0..10 {
        fleet.apply(&plan(&[]), &none);
        fleet.stop();
    }
    assert!(left_alone(&readiness).await && left_alone(&liveness).await);
    assert!(reports.try_recv().is_err(), "a probe that was left alone has news");
}

/// `TestUpdateReadiness`.
#[tokio::test]
async fn a_result_that_changes_is_told() {
    let is_well = Arc::new(AtomicBool::new(true));
    let answers = is_well.clone();
    let server = Server::new(move |_| {
        let status = if answers.load(Ordering::SeqCst) { "200 OK" } else { "500 No" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
    })
    .await;
    let (mut fleet, mut reports) = fleet();
    fleet.apply(&plan(&[("main", &server)]), &BTreeMap::new());
    for (well, expected) in [(true, Succeeded), (false, Failed)] {
        is_well.store(well, Ordering::SeqCst);
        let report = tokio::time::timeout(LONG, reports.recv()).await.expect("in time").expect("report");
        assert_eq!(report.verdict.state, expected);
    }
}
