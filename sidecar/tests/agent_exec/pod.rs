//! A container as far as the agent can tell: a folder with the socket, an environment, and the processes that carry a
//! mark of their own, so that they can be found, counted and ended.

use probelet_protocol::agent::{AgentStart, Hook};
use probelet_protocol::plan::Plan;
use probelet_protocol::setting::ProbeHost;
use probelet_sidecar::exec::{AgentsHandle, listen};
use probelet_sidecar::handler::{Handler, ProbeError, Target};
use probelet_sidecar::knock::Knock;
use probelet_sidecar::outcome::Outcome;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_probelet-agent");
const MARK: &str = "PROBELET_TEST_MARK";

pub(crate) struct Pod {
    pub(crate) dir: PathBuf,
    mark: String,
}

/// The sidecar's side; ends when dropped.
pub(crate) struct Sidecar {
    pub(crate) agents: AgentsHandle,
    task: JoinHandle<()>,
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pod {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mark = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let dir = std::env::temp_dir().join(format!("probelet-agent-{mark}"));
        fs::create_dir_all(&dir).expect("folder");
        Self { dir, mark }
    }

    pub(crate) fn sidecar(&self) -> Sidecar {
        self.sidecar_telling(None)
    }

    /// A sidecar that tells of agents that come and go.
    pub(crate) fn sidecar_telling(&self, knocks: Option<broadcast::Sender<Knock>>) -> Sidecar {
        let keys = [("main", "key-main"), ("other", "key-other")];
        let keys: BTreeMap<_, _> = keys.map(|(name, key)| (name.to_owned(), key.to_owned())).into();
        let (agents, listener) = listen(&self.dir, keys).expect("listen");
        let listener = match knocks {
            Some(knocks) => listener.telling(knocks),
            None => listener,
        };
        Sidecar { agents, task: tokio::spawn(listener.run()) }
    }

    /// Runs `start` as the container's `postStart` would; also the time that it took.
    pub(crate) fn start(&self, container: &str, hook: Option<Hook>) -> (ExitStatus, Duration) {
        let start = AgentStart {
            container: container.into(),
            key: format!("key-{container}"),
            dir: self.dir.to_str().expect("path").into(),
            hook,
        };
        self.start_with(&start.to_arguments())
    }

    pub(crate) fn start_with(&self, arguments: &[String]) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        let mut command = Command::new(AGENT);
        command.args(arguments).env(MARK, &self.mark).env("GREETING", "hello").current_dir("/usr");
        (command.status().expect("start"), begin.elapsed())
    }

    /// Process ids of everything that was started in here and lives.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.mark).into_bytes();
        let pids = fs::read_dir("/proc").expect("proc").flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark)
        })
        .collect()
    }

    /// Agents that are left running.
    pub(crate) fn agents(&self) -> Vec<u32> {
        let is_agent = |pid: &u32| {
            fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().split(|b| *b == 0).any(|word| word == b"serve")
        };
        self.processes().into_iter().filter(is_agent).collect()
    }

    /// Ended children that nobody has reaped.
    pub(crate) fn zombies(&self) -> usize {
        let agents = self.agents();
        let stat = |path: &Path| fs::read_to_string(path.join("stat")).ok();
        let entries = fs::read_dir("/proc").expect("proc").flatten();
        let is_zombie = |stat: String| {
            let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            let (state, parent) = (fields.next(), fields.next().and_then(|parent| parent.parse().ok()));
            state == Some("Z") && parent.is_some_and(|parent| agents.contains(&parent))
        };
        entries.filter_map(|entry| stat(&entry.path())).filter(|stat| is_zombie(stat.clone())).count()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Sidecar {
    /// A probe, to be run more than once.
    pub(crate) fn probe(&self, container: &str, command: &[&str]) -> Handler {
        let command = serde_json::to_string(command).expect("json");
        let text = format!(
            r#"[{{"name":"p","containerName":"{container}","podConditionType":"c","probe":{{"exec":{{"command":{command}}}}}}}]"#
        );
        let plan = Plan::parse(Some(&text), None).expect("plan");
        let target = Target {
            host: ProbeHost::Auto,
            pod_ips: Vec::new(),
            ports: Arc::default(),
            agents: self.agents.clone(),
            version: "test",
        };
        Handler::try_new(&plan.probes[0], &target).expect("handler")
    }

    pub(crate) async fn exec_in(
        &self,
        container: &str,
        command: &[&str],
        timeout: Duration,
    ) -> Result<Outcome, ProbeError> {
        self.probe(container, command).run(timeout).await
    }

    pub(crate) async fn exec(&self, command: &[&str], timeout: Duration) -> Result<Outcome, ProbeError> {
        self.exec_in("main", command, timeout).await
    }

    /// Waits until the container's agent answers.
    pub(crate) async fn connected(&self, container: &str) {
        let begin = Instant::now();
        while let Err(error) = self.exec_in(container, &["true"], Duration::from_secs(5)).await {
            assert!(begin.elapsed() < Duration::from_secs(10), "{error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
