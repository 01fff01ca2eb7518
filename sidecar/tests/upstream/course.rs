//! A probe's course: kubernetes/kubernetes:pkg/kubelet/prober/worker_test.go, and what of prober_manager_test.go is about results.
//! Readiness probes there are what OpenKruise's probes are like: they never stop at a failure. What is about startup probes
//! alone (`TestStartupProbe..Threshold`, `TestResultRunOnStartupCheckFailure`, `TestStartupProbeDisabledByStarted`) is the node's
//! here too; the sidecar is told when one has passed.

use probelet_protocol::plan::Plan;
use probelet_sidecar::neighbour::{Life, Neighbour, neighbours};
use probelet_sidecar::observed::Observed;
use probelet_sidecar::outcome::Outcome;
use probelet_sidecar::threshold::ProbeState::{self, Failed, Succeeded, Unknown};
use probelet_sidecar::timing::{Timing, TimingSettings};
use probelet_sidecar::track::{Next, Reason, Track};
use std::time::Duration;

/// A run that could not be made.
#[derive(Debug)]
struct Error;

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("exec error")
    }
}

impl Reason for Error {
    fn reason(&self) -> &str {
        "ExecCannotStart"
    }
}

/// A probe whose state is what was told last.
struct Worker {
    track: Track,
    state: Option<ProbeState>,
    now: Duration,
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Worker {
    fn new(success: u32, failure: u32, delay: u64, has_startup_probe: bool) -> Self {
        let timing = Timing {
            initial_delay: secs(delay),
            period: secs(1),
            timeout: secs(1),
            success_threshold: success,
            failure_threshold: failure,
        };
        let track = Track::new("main".into(), timing, has_startup_probe, Duration::ZERO, 1.0);
        Self { track, state: None, now: Duration::ZERO }
    }

    fn see(&mut self, id: &str, life: Life, is_started: bool) {
        let neighbour = Neighbour { incarnation: (id.into(), 0), life, is_started };
        let verdict = self.track.see(&neighbour, self.now);
        self.state = verdict.map(|verdict| verdict.state).or(self.state);
    }

    /// One period later, what the handler comes to counts where it may run; the state then.
    fn probe(&mut self, result: char) -> Option<ProbeState> {
        self.now += secs(1);
        if matches!(self.track.next(), Next::RunAt(at) if at <= self.now) {
            let result = match result {
                's' => Ok(Outcome::Success(String::new())),
                'f' => Ok(Outcome::Failure(String::new())),
                _ => Err(Error),
            };
            let verdict = self.track.ran(&result, self.now, self.now);
            self.state = verdict.map(|verdict| verdict.state).or(self.state);
        }
        self.state
    }
}

const RUNNING: Life = Life::Running(None);

/// `TestDoProbe`, by what is seen of the container; whether it goes on, and the state.
#[test]
fn what_is_seen_decides_whether_it_goes_on() {
    for (what, pod, goes_on, expected) in [
        // No observation yet. kubelet waits for one; the sidecar runs in the Pod, so it probes: the first result needs no API.
        ("no status", None, true, Some(Succeeded)),
        (
            "no container status",
            Some(r#""containerStatuses":[{"name":"other","containerID":"x://1","state":{"running":{}}}]"#),
            true,
            Some(Succeeded),
        ),
        // kubelet sets Failure while it waits. Here a container seen stopped is probed once more, since a virtual node's status
        // lags behind: what answers is up. One that does not answer is Failed at once, whatever the threshold.
        (
            "waiting",
            Some(r#""containerStatuses":[{"name":"main","containerID":"x://1","state":{"waiting":{}}}]"#),
            true,
            Some(Succeeded),
        ),
        (
            "terminated",
            Some(
                r#""containerStatuses":[{"name":"main","containerID":"x://1","state":{"terminated":{"exitCode":0}}}]"#,
            ),
            false,
            Some(Failed),
        ),
        (
            "running",
            Some(
                r#""containerStatuses":[{"name":"main","containerID":"x://1","started":true,"state":{"running":{}}}]"#,
            ),
            true,
            Some(Succeeded),
        ),
    ] {
        let mut worker = Worker::new(1, 1, 0, false);
        if let Some(status) = pod {
            let json = format!(
                r#"{{"metadata":{{"uid":"u"}},"spec":{{"restartPolicy":"Never","containers":[{{"name":"main"}}]}},"status":{{{status}}}}}"#
            );
            let observed = Observed::parse(json.as_bytes()).expect("pod");
            if let Some(neighbour) = neighbours(&observed, secs(0), 0).get("main") {
                worker.see("x://1", neighbour.life, neighbour.is_started);
            }
        }
        assert_eq!(matches!(worker.track.next(), Next::RunAt(_)), goes_on, "{what}");
        assert_eq!(worker.probe('s'), expected, "{what}");
    }
    let mut stopped = Worker::new(1, 3, 0, false);
    stopped.see("x://1", Life::Stopped, false);
    assert_eq!(stopped.probe('f'), Some(Failed));
}

/// `TestDoProbe_TerminatedRestartableInitContainerWithRestartPolicyNever` and `..TerminatedContainerWithRestartPolicyNever`.
#[test]
fn a_native_sidecar_is_probed_on_where_the_pod_never_restarts() {
    let json = r#"{"metadata":{"uid":"u"},
        "spec":{"restartPolicy":"Never","containers":[{"name":"main"}],"initContainers":[{"name":"side","restartPolicy":"Always"}]},
        "status":{"containerStatuses":[{"name":"main","containerID":"x://1","state":{"terminated":{"exitCode":1}}}],
            "initContainerStatuses":[{"name":"side","containerID":"x://2","state":{"terminated":{"exitCode":1}}}]}}"#;
    let seen = neighbours(&Observed::parse(json.as_bytes()).expect("pod"), secs(0), 0);
    assert_eq!((seen["side"].life, seen["main"].life), (Life::Stopped, Life::Ended));
    for (name, goes_on) in [("side", true), ("main", false)] {
        let mut worker = Worker::new(1, 1, 0, false);
        worker.see("x", seen[name].life, false);
        assert_eq!(matches!(worker.track.next(), Next::RunAt(_)), goes_on, "{name}");
        // "Expected result is Failure" in both.
        assert_eq!(worker.probe('f'), Some(Failed), "{name}");
    }
}

/// `TestInitialDelay`: nothing runs, and then it does. kubelet's readiness is Failure in the meantime; here there is no condition
/// before the first result.
#[test]
fn the_initial_delay_holds_the_first_run_back() {
    let mut worker = Worker::new(1, 1, 10, false);
    worker.see("x", Life::Running(Some(secs(0))), true);
    for _ in 0..9 {
        assert_eq!(worker.probe('s'), None);
    }
    assert_eq!(worker.probe('s'), Some(Succeeded));
}

/// `TestFailureThreshold`.
#[test]
fn failures_below_their_threshold_leave_the_state() {
    let mut worker = Worker::new(1, 3, 0, false);
    worker.see("x", RUNNING, true);
    for _ in 0..2 {
        for (result, expected) in
            "sssfffff".chars().zip([Succeeded, Succeeded, Succeeded, Succeeded, Succeeded, Failed, Failed, Failed])
        {
            assert_eq!(worker.probe(result), Some(expected));
        }
    }
}

/// `TestSuccessThreshold`: it starts as a failure.
#[test]
fn successes_below_their_threshold_leave_the_state() {
    let mut worker = Worker::new(3, 1, 0, false);
    worker.see("x", RUNNING, true);
    assert_eq!(worker.probe('f'), Some(Failed));
    for _ in 0..2 {
        for (result, expected) in "sssssf".chars().zip([Failed, Failed, Succeeded, Succeeded, Succeeded, Failed]) {
            assert_eq!(worker.probe(result), Some(expected));
        }
    }
}

/// `TestResultRunOnLivenessCheckFailure`, as far as it is about a container that is started again: it has all its attempts.
/// `TestOnHoldOnLivenessOrStartupCheckFailure`: a new container id lifts what the old one was held for.
#[test]
fn a_new_container_has_all_its_attempts() {
    let mut worker = Worker::new(1, 3, 0, false);
    worker.see("x", RUNNING, true);
    for (result, expected) in "sff".chars().zip([Succeeded, Succeeded, Succeeded]) {
        assert_eq!(worker.probe(result), Some(expected));
    }
    worker.see("y", RUNNING, true);
    // What the old one settled on holds no longer: kubelet sets a readiness probe's result back to Failure, kruise-daemon to Unknown.
    for (result, expected) in "fff".chars().zip([Unknown, Unknown, Failed]) {
        assert_eq!(worker.probe(result), Some(expected));
    }
    worker.see("z", RUNNING, true);
    assert_eq!(worker.probe('s'), Some(Succeeded));
}

/// `TestLivenessProbeDisabledByStarted`: no probe runs before the startup probe has passed.
#[test]
fn a_startup_probe_holds_others_back() {
    let mut worker = Worker::new(1, 1, 0, true);
    worker.see("x", RUNNING, false);
    assert_eq!(worker.probe('f'), None);
    worker.see("x", RUNNING, true);
    assert_eq!(worker.probe('f'), Some(Failed));
}

/// `TestProbe`: a run that could not be made is thrown away. Beyond upstream, one that cannot be made for longer than the failure
/// threshold is no news of the container, and said to be Unknown.
#[test]
fn errors_are_thrown_away_and_then_told() {
    let mut worker = Worker::new(1, 2, 0, false);
    worker.see("x", RUNNING, true);
    for (result, expected) in "sefesee".chars().zip([Succeeded; 7]) {
        assert_eq!(worker.probe(result), Some(expected));
    }
    assert_eq!(worker.probe('e'), Some(Unknown));
    assert_eq!(worker.probe('s'), Some(Succeeded));
}

/// `TestDoProbe`: the Pod failed, is being deleted, and an initial delay that has passed before it began.
#[test]
fn the_end_of_a_pod_decides_whether_it_goes_on() {
    let seen = |metadata: &str, phase: &str| {
        let json = format!(
            r#"{{"metadata":{{"uid":"u"{metadata}}},"spec":{{"containers":[{{"name":"main"}}]}},"status":{{"phase":"{phase}",
            "containerStatuses":[{{"name":"main","containerID":"x://1","started":true,"state":{{"running":{{}}}}}}]}}}}"#
        );
        Observed::parse(json.as_bytes()).expect("pod")
    };
    // Upstream's worker ends, the sidecar does: `a_pod_that_is_over_ends_the_sidecar` in reporter.rs.
    assert!(seen("", "Failed").is_over && seen("", "Succeeded").is_over);
    // Readiness goes on.
    let deleted = seen(r#","deletionTimestamp":"2026-01-02T03:04:05Z""#, "Running");
    assert!(deleted.is_terminating && !deleted.is_over);
    let neighbour = neighbours(&deleted, secs(0), 0)["main"].clone();
    let mut worker = Worker::new(1, 1, 0, false);
    worker.see("x://1", neighbour.life, neighbour.is_started);
    assert_eq!(worker.probe('s'), Some(Succeeded));
    // The delay is -100 upstream; that one is 0 is `timing`'s.
    let text = r#"[{"name":"p","containerName":"main","probe":{"tcpSocket":{"port":1},"initialDelaySeconds":-100}}]"#;
    let plan = Plan::parse(Some(text), None).expect("plan");
    assert_eq!(Timing::of(&plan.probes[0], &TimingSettings::default()).initial_delay, secs(0));
}

/// `TestUpdatePodStatus`: a container is ready by its last result while it runs. What is not ready there has no condition here, or
/// is Failed.
#[test]
fn a_result_holds_while_its_container_runs() {
    for (name, has_startup_probe, is_started, results, life, expected) in [
        ("probed_container_ready", false, true, "s", RUNNING, Some(Succeeded)),
        ("probed_container_pending", false, true, "", RUNNING, None),
        ("probed_container_unready", false, true, "f", RUNNING, Some(Failed)),
        ("not_started_container_no_readiness", true, false, "s", RUNNING, None),
        ("started_container_no_readiness", true, true, "s", RUNNING, Some(Succeeded)),
        // Succeeded before; ended for good.
        ("terminated_container", false, true, "s", Life::Ended, Some(Failed)),
        // Or to be started again: asked once more, and nobody answers.
        ("terminated_container, Always", false, true, "sf", Life::Stopped, Some(Failed)),
    ] {
        let mut worker = Worker::new(1, 1, 0, has_startup_probe);
        worker.see("x", RUNNING, is_started);
        let mut results = results.chars();
        if let Some(first) = results.next() {
            worker.probe(first);
        }
        if life != RUNNING {
            worker.see("x", life, is_started);
        }
        for result in results {
            worker.probe(result);
        }
        assert_eq!(worker.state, expected, "{name}");
    }
}

/// `TestUpdatePodStatusWithInitContainers`. kubelet works out whether a container has started, and we read it; what it says of
/// the readiness of init containers that are no sidecars has no counterpart.
#[test]
fn native_sidecars_are_seen_as_containers_are() {
    let json = r#"{"metadata":{"uid":"u"},"spec":{"restartPolicy":"Always","containers":[{"name":"main"}]},"status":{
        "initContainerStatuses":[
            {"name":"not_started_container","containerID":"x://1","started":false,"state":{"running":{}}},
            {"name":"started_container","containerID":"x://2","started":true,"state":{"running":{}}},
            {"name":"terminated_container","containerID":"x://3","started":false,"state":{"terminated":{"exitCode":0}}}]}}"#;
    let seen = neighbours(&Observed::parse(json.as_bytes()).expect("pod"), secs(0), 0);
    for (name, has_startup_probe, life, goes_on) in [
        ("not_started_container", true, RUNNING, false),
        ("started_container", true, RUNNING, true),
        ("terminated_container", false, Life::Stopped, true),
    ] {
        assert_eq!(seen[name].life, life, "{name}");
        let mut worker = Worker::new(1, 1, 0, has_startup_probe);
        worker.see("x", seen[name].life, seen[name].is_started);
        assert_eq!(matches!(worker.track.next(), Next::RunAt(_)), goes_on, "{name}");
    }
}

/// openkruise/kruise:pkg/daemon/podprobe/results_manager_test.go `TestResultManagerSet`: which results are news.
#[test]
fn results_are_news_as_in_kruise_daemon() {
    let ok = |message: &str| Ok::<_, Error>(Outcome::Success(message.into()));
    let first = ok("success, version1");
    for (name, second, after, is_news) in [
        ("second probe, no changed", ok("success, version1"), 10, false),
        ("second probe, state changed", Ok(Outcome::Failure("failed".into())), 10, true),
        ("second probe, msg changed", ok("success, version2"), 10, true),
        // Told again there, to renew lastProbeTime. Here a steady Pod sends nothing.
        ("100 probe, no changed, but over ten minutes", ok("success, version1"), 610, false),
    ] {
        let mut track = Worker::new(1, 1, 0, false).track;
        assert!(track.ran(&first, secs(1), secs(1)).is_some(), "first probe");
        assert_eq!(track.ran(&second, secs(after), secs(after)).is_some(), is_news, "{name}");
    }
}
