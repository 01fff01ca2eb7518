//! Where a node agent probes and marks the sidecar writes nothing, and a Pod that may end does not wait for it (fault F13).

use super::app::App;
use super::process::Program;
use super::stub::{Reply, Stub, pod};
use probelet_protocol::environment;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

fn start(stub: &Stub, probe: &Value, may_end: bool) -> Program {
    let may_end = may_end.to_string();
    Program::start(stub, probe, &[(environment::NODE_KIND, "ordinary"), (environment::MAY_END, &may_end)])
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
        assert_eq!(seen.body, json!({"metadata": {"uid": stub.pod()["metadata"]["uid"]}}), "{seen:?}");
    }
}

#[tokio::test]
async fn a_job_s_sidecar_ends_soon_after_its_neighbours_and_asks_nothing_before() {
    let mut app = App::start().await;
    let stub = Stub::start(job(), |_, _| Reply::Serve).await;
    let mut program = start(&stub, &json!({"tcpSocket": {"port": app.port}}), true);
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
    let mut program = start(&stub, &json!({"exec": {"command": ["true"]}}), true);
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
    let mut program = start(&stub, &json!({"exec": {"command": ["true"]}}), true);
    program.ends(Duration::from_secs(10)).await;
    assert_eq!(stub.seen().len(), 3, "{:#?}", stub.seen());
}

#[tokio::test]
async fn a_pod_that_does_not_end_is_never_looked_at() {
    let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
    let mut program = start(&stub, &json!({"exec": {"command": ["true"]}}), false);
    tokio::time::sleep(Duration::from_secs(2)).await; // where one may end there are three by now
    assert_eq!(stub.seen().len(), 0, "{:#?}", stub.seen());
    program.signal(Signal::TERM);
    program.ends(Duration::from_secs(1)).await;
}
