//! Workers on a paused clock, with scripted runs.

use super::*;
use crate::neighbour::{Life, Neighbour};
use crate::timing::Timing;
use tokio::task::JoinHandle;

struct NoAgent;

impl std::fmt::Display for NoAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no agent")
    }
}

impl Reason for NoAgent {
    fn reason(&self) -> &str {
        "AgentMissing"
    }
}

/// Tells each run on a channel; the result is what the channel holds then.
struct Script {
    runs: mpsc::UnboundedSender<Duration>,
    result: watch::Receiver<char>,
    clock: Clock,
}

impl Runs for Script {
    type Error = NoAgent;

    async fn run(&self, _: Duration) -> Result<Outcome, NoAgent> {
        let _ = self.runs.send(self.clock.now());
        match *self.result.borrow() {
            's' => Ok(Outcome::Success("ok".into())),
            'f' => Ok(Outcome::Failure("no".into())),
            _ => Err(NoAgent),
        }
    }
}

struct Bench {
    begin: Duration,
    clock: Clock,
    result: watch::Sender<char>,
    neighbours: watch::Sender<Arc<Neighbours>>,
    knocks: broadcast::Sender<Knock>,
    runs: mpsc::UnboundedReceiver<Duration>,
    reports: mpsc::Receiver<Report>,
    _task: JoinHandle<()>,
}

fn bench(period: Duration, delay: Duration) -> Bench {
    let clock = Clock::start();
    let (result, results) = watch::channel('s');
    let (neighbours, seen) = watch::channel(Arc::default());
    let (knocks, knocked) = broadcast::channel(4);
    let (runs_out, runs) = mpsc::unbounded_channel();
    let (reports_out, reports) = mpsc::channel(8);
    let timing = Timing {
        initial_delay: delay,
        period,
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 1,
    };
    let worker = Worker {
        id: ProbeId { container: "c".into(), name: "p".into() },
        handler: "tcpSocket",
        runs: Script { runs: runs_out, result: results, clock },
        track: Track::new("c".into(), timing, false, clock.now(), 1.0),
        clock,
        ears: Ears { neighbours: seen, knocks: knocked },
        reports: reports_out,
        stats: Arc::default(),
        told: None,
        last: (0, Duration::ZERO),
        ran_at: Duration::ZERO,
    };
    Bench { begin: clock.now(), clock, result, neighbours, knocks, runs, reports, _task: tokio::spawn(worker.work()) }
}

impl Bench {
    async fn report(&mut self) -> (Option<ProbeState>, ProbeState, u64) {
        let report = tokio::time::timeout(SECOND * 3600, self.reports.recv()).await.expect("in time").expect("report");
        (report.from, report.verdict.state, (report.at - self.begin).as_secs())
    }

    fn run_times(&mut self) -> Vec<u128> {
        std::iter::from_fn(|| self.runs.try_recv().ok()).map(|at| (at - self.begin).as_millis()).collect()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_first_run_is_at_once_and_only_changes_are_told() {
    let mut bench = bench(SECOND, Duration::ZERO);
    assert_eq!(bench.report().await, (None, ProbeState::Succeeded, 0));
    tokio::time::sleep(SECOND * 10 - Duration::from_millis(500)).await;
    assert_eq!(bench.run_times(), [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000]);
    bench.result.send_replace('f');
    assert_eq!(bench.report().await, (Some(ProbeState::Succeeded), ProbeState::Failed, 10));
    bench.result.send_replace('e');
    assert_eq!(bench.report().await, (Some(ProbeState::Failed), ProbeState::Unknown, 12));
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_before_the_initial_delay() {
    let mut bench = bench(SECOND, SECOND * 5);
    bench.knocks.send(Knock::All).expect("heard");
    assert_eq!(bench.report().await, (None, ProbeState::Succeeded, 5));
    assert_eq!(bench.run_times(), [5000]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_for_comes_at_once_but_at_most_ten_times_a_second() {
    let mut bench = bench(SECOND * 60, Duration::ZERO);
    bench.report().await;
    tokio::time::sleep(SECOND).await;
    bench.run_times();
    for _ in 0..1000 {
        bench.knocks.send(Knock::Probes(["p".to_owned()].into())).expect("heard");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let times = bench.run_times();
    assert!((9..=11).contains(&times.len()), "{times:?}");
    assert!(times[0] <= 1001, "{times:?}");
    for knock in [Knock::Probes(["another".to_owned()].into()), Knock::Container("other".into())] {
        bench.knocks.send(knock).expect("heard");
    }
    tokio::time::sleep(SECOND).await;
    assert!(bench.run_times().len() <= 1);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_starts_is_probed_at_once() {
    let mut bench = bench(SECOND * 600, Duration::ZERO);
    bench.report().await;
    tokio::time::sleep(SECOND * 7).await;
    bench.run_times();
    bench.knocks.send(Knock::Container("c".into())).expect("heard");
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.run_times(), [7000]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_starts_again_has_its_initial_delay_again() {
    let mut bench = bench(SECOND * 600, SECOND * 30);
    assert_eq!(bench.report().await, (None, ProbeState::Succeeded, 30));
    tokio::time::sleep(SECOND * 10).await;
    bench.knocks.send(Knock::Started("other".into())).expect("heard");
    bench.knocks.send(Knock::Started("c".into())).expect("heard");
    assert_eq!(bench.report().await, (Some(ProbeState::Succeeded), ProbeState::Unknown, 40));
    assert_eq!(bench.report().await, (Some(ProbeState::Unknown), ProbeState::Succeeded, 70));
    assert_eq!(bench.run_times(), [30_000, 70_000]);
}

#[tokio::test(start_paused = true)]
async fn a_container_seen_stopped_is_probed_at_once_and_then_failed() {
    let mut bench = bench(SECOND * 60, Duration::ZERO);
    bench.report().await;
    bench.result.send_replace('e');
    tokio::time::sleep(SECOND * 2).await;
    let stopped = Neighbour { incarnation: ("a".into(), 0), life: Life::Stopped, is_started: false };
    bench.neighbours.send_replace(Arc::new(Neighbours::from([("c".to_owned(), stopped)])));
    let report = bench.reports.recv().await.expect("report");
    assert_eq!((report.verdict.state, report.verdict.reason.as_str()), (ProbeState::Failed, "ContainerNotRunning"));
    assert_eq!(bench.clock.now() - bench.begin, SECOND * 2);
}
