//! The sidecar's program where a node agent probes and marks: it writes nothing, and a Pod that may end does not wait for it (fault F13).

#[expect(dead_code, reason = "written for the tests of the reporter")]
#[path = "reporter/app.rs"]
mod app;
#[expect(dead_code, reason = "written for the tests of the reporter")]
#[path = "reporter/stub.rs"]
mod stub;

use app::{App, Folder};
use probelet_protocol::environment;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use stub::{Reply, Stub, pod};

/// The running program; killed when dropped.
struct Program {
    child: Child,
    _folder: Folder,
}

impl Program {
    fn start(stub: &Stub, probe: &Value, may_end: bool) -> Self {
        let folder = Folder::new(&stub.ca, "token");
        let plan = json!([{"name": "up", "containerName": "game", "probe": probe, "podConditionType": "x.io/Up"}]);
        let child = Command::new(env!("CARGO_BIN_EXE_probelet"))
            .env_clear()
            .env(environment::POD_NAME, "game-0")
            .env(environment::POD_NAMESPACE, "games")
            .env(environment::POD_UID, "u1")
            .env(environment::PLAN, plan.to_string())
            .env(environment::NODE_KIND, "ordinary")
            .env(environment::MAY_END, may_end.to_string())
            .env(environment::TOKEN_DIR, &folder.0)
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", stub.port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("probelet");
        Self { child, _folder: folder }
    }

    /// Waits until it has ended, well.
    async fn ends(&mut self, limit: Duration) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(begin.elapsed() < limit, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Pod of a Job, in the middle of its work.
fn job() -> Value {
    let mut pod = pod();
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["status"]["containerStatuses"] = json!([{"name": "game", "containerID": "x://1", "state": {"running": {}}}]);
    pod
}

fn end(pod: &mut Value) {
    pod["status"]["containerStatuses"][0]["state"] = json!({"terminated": {"exitCode": 0}});
}

fn ensure_only_looks(stub: &Stub) {
    for seen in stub.seen() {
        assert_eq!(seen.body, json!({"metadata": {"uid": "u1"}}), "{seen:?}");
    }
}

#[tokio::test]
async fn a_job_s_sidecar_ends_soon_after_its_neighbours_and_asks_nothing_before() {
    let mut app = App::start().await;
    let stub = Stub::start(job(), |_, _| Reply::Serve).await;
    let mut program = Program::start(&stub, &json!({"tcpSocket": {"port": app.port}}), true);
    tokio::time::sleep(Duration::from_secs(5)).await; // longer than between two knocks
    assert_eq!(stub.seen().len(), 0, "{:#?}", stub.seen());
    stub.edit(end);
    app.fail();
    program.ends(Duration::from_secs(5)).await;
    ensure_only_looks(&stub);
}

/// Nothing in the Pod can be asked whether it still runs: commands are not run.
#[tokio::test]
async fn a_job_with_commands_only_is_looked_at_less_and_less_often() {
    let stub = Stub::start(job(), |_, _| Reply::Serve).await;
    let mut program = Program::start(&stub, &json!({"exec": {"command": ["true"]}}), true);
    let seen = stub.requests(3).await;
    assert!(seen[2].at - seen[1].at > seen[1].at - seen[0].at, "{seen:#?}");
    stub.edit(end);
    program.ends(Duration::from_secs(5)).await;
    ensure_only_looks(&stub);
}

#[tokio::test]
async fn trouble_with_the_api_server_is_outlasted() {
    let mut ended = job();
    end(&mut ended);
    let stub = Stub::start(ended, |number, _| match number {
        0 => Reply::Status(500, "etcd is away", ""),
        1 => Reply::Reset,
        _ => Reply::Serve,
    })
    .await;
    let mut program = Program::start(&stub, &json!({"exec": {"command": ["true"]}}), true);
    program.ends(Duration::from_secs(10)).await;
    assert_eq!(stub.seen().len(), 3, "{:#?}", stub.seen());
}

#[tokio::test]
async fn a_pod_that_does_not_end_is_never_looked_at() {
    let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
    let mut program = Program::start(&stub, &json!({"exec": {"command": ["true"]}}), false);
    tokio::time::sleep(Duration::from_secs(2)).await; // where one may end there are three by now
    assert_eq!(stub.seen().len(), 0, "{:#?}", stub.seen());
    kill_process(Pid::from_raw(program.child.id().cast_signed()).expect("pid"), Signal::TERM).expect("signal");
    program.ends(Duration::from_secs(1)).await;
}
