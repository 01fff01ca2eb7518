//! The upstream projects' own cases, said again as tables and run against our handlers and course of a probe. Each table names
//! the test that it comes from; a row where probelet differs on purpose says so and why.
//!
//! kubernetes/kubernetes at v1.34.3; openkruise/kruise at its main branch.

mod course;
mod exec;
mod fleet;
mod grpc;
mod http;
mod mark;
mod port;
mod request;
mod tcp;

#[expect(dead_code, reason = "written for the tests of httpGet")]
#[path = "../handler_http/server.rs"]
mod server;

use probelet_protocol::plan::Plan;
use probelet_protocol::setting::ProbeHost;
use probelet_sidecar::exec::AgentsHandle;
use probelet_sidecar::handler::{Handler, HandlerError, Target};
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything that is waited for.
const LONG: Duration = Duration::from_secs(10);

/// A probe of container `main`, which has the ports `found` (93), `foo` (8080) and `bar` (9000).
fn handler(json: &str) -> Result<Handler, HandlerError> {
    let text = format!(r#"[{{"name":"p","containerName":"main","podConditionType":"c","probe":{json}}}]"#);
    let plan = Plan::parse(Some(&text), None).expect("plan");
    let ports = serde_json::from_str(r#"{"main":{"found":93,"foo":8080,"bar":9000}}"#).expect("ports");
    let target = Target {
        host: ProbeHost::Auto,
        pod_ips: Vec::new(),
        ports: Arc::new(ports),
        agents: AgentsHandle::none(),
        version: "test",
    };
    Handler::try_new(&plan.probes[0], &target)
}

/// A port that nobody listens on.
async fn closed_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    listener.local_addr().expect("address").port()
}
