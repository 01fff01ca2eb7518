//! The sidecar's program, started in a Pod whose `/dev/shm` knows of no start: by the age of its volume it is told apart from a first one.

#[expect(dead_code, reason = "written for the tests of the reporter")]
#[path = "reporter/app.rs"]
mod app;
#[expect(dead_code, reason = "written for the tests of the reporter")]
#[path = "reporter/stub.rs"]
mod stub;

use app::{App, Folder};
use probelet_protocol::environment;
use serde_json::json;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use stub::{Reply, Stub, pod};

/// The running program; killed when dropped.
struct Program {
    child: Child,
    trace: PathBuf,
}

impl Program {
    fn start(stub: &Stub, folder: &Folder, uid: &str, port: u16) -> Self {
        let plan = json!([{"name": "up", "containerName": "game", "probe": {"tcpSocket": {"port": port}},
            "podConditionType": "x.io/Up"}]);
        let child = Command::new(env!("CARGO_BIN_EXE_probelet"))
            .env_clear()
            .env(environment::POD_NAME, "game-0")
            .env(environment::POD_NAMESPACE, "games")
            .env(environment::POD_UID, uid)
            .env(environment::PLAN, plan.to_string())
            .env(environment::TOKEN_DIR, &folder.0)
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", stub.port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("probelet");
        Self { child, trace: format!("/dev/shm/.probelet-{uid}").into() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.trace);
    }
}

#[tokio::test]
async fn a_start_in_an_old_volume_looks_before_it_writes() {
    for (age, looks_first) in [(0, false), (120, true)] {
        let app = App::start().await;
        let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
        let folder = Folder::new(&stub.ca, "token");
        let made = SystemTime::now() - Duration::from_secs(age);
        File::open(folder.0.join("ca.crt")).and_then(|file| file.set_modified(made)).expect("time");
        let _program = Program::start(&stub, &folder, &format!("age-{age}-{}", std::process::id()), app.port);
        let seen = stub.requests(1).await;
        assert_eq!(seen[0].body["status"].is_null(), looks_first, "{age} s: {seen:#?}");
    }
}
