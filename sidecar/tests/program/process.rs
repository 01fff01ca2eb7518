//! The program as a process, with a volume of its own.

use super::app::Folder;
use super::stub::Stub;
use probelet_protocol::environment;
use probelet_protocol::name::{PLAN_FILE, POLICIES_FILE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    folder: Folder,
    trace: PathBuf,
}

/// A plan of one probe of container `game`, with the condition `x.io/Up`.
pub(crate) fn plan(probe: &Value) -> String {
    json!([{"name": "up", "containerName": "game", "probe": probe, "podConditionType": "x.io/Up"}]).to_string()
}

impl Program {
    /// As the Pod `game-0`, just made, with further environment.
    pub(crate) fn start(stub: &Stub, probe: &Value, extra: &[(&str, &str)]) -> Self {
        Self::start_aged(stub, probe, extra, Duration::ZERO)
    }

    /// The same where the volume was made so long ago.
    pub(crate) fn start_aged(stub: &Stub, probe: &Value, extra: &[(&str, &str)], age: Duration) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // What a start leaves in `/dev/shm` is by UID.
        let uid = format!("program-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        stub.edit(|pod| pod["metadata"]["uid"] = json!(uid));
        let folder = Folder::new(&stub.ca, "token");
        let made = SystemTime::now() - age;
        File::open(folder.0.join("ca.crt")).and_then(|file| file.set_modified(made)).expect("time");
        let child = Command::new(env!("CARGO_BIN_EXE_probelet"))
            .env_clear()
            .env(environment::POD_NAME, "game-0")
            .env(environment::POD_NAMESPACE, "games")
            .env(environment::POD_UID, &uid)
            .env(environment::PLAN, plan(probe))
            .env(environment::TOKEN_DIR, &folder.0)
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", stub.port.to_string())
            .envs(extra.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("probelet");
        Self { child, folder, trace: format!("/dev/shm/.probelet-{uid}").into() }
    }

    /// An edited plan, as a node writes it: a new folder, then the link moves.
    pub(crate) fn write_volume(&self, plan: &str) {
        let folder = &self.folder.0;
        fs::create_dir_all(folder.join("..edited")).expect("folder");
        for (file, text) in [(PLAN_FILE, plan), (POLICIES_FILE, "")] {
            fs::write(folder.join("..edited").join(file), text).expect("written");
            symlink(format!("..data/{file}"), folder.join(file)).expect("link");
        }
        symlink("..edited", folder.join("..data")).expect("link");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).expect("pid"), signal).expect("signal");
    }

    /// Waits until it has ended, well.
    pub(crate) async fn ends(&mut self, limit: Duration) {
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
        let _ = fs::remove_file(&self.trace);
    }
}
