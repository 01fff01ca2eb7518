//! A start in a Pod whose `/dev/shm` knows of none: by the age of its volume it is told apart from a first one.

use super::app::App;
use super::process::Program;
use super::stub::{Reply, Stub, pod};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_start_in_an_old_volume_looks_before_it_writes() {
    for (age, looks_first) in [(0, false), (120, true)] {
        let app = App::start().await;
        let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
        let _program =
            Program::start_aged(&stub, &json!({"tcpSocket": {"port": app.port}}), &[], Duration::from_secs(age));
        let seen = stub.requests(1).await;
        assert_eq!(seen[0].body["status"].is_null(), looks_first, "{age} s: {seen:#?}");
    }
}
