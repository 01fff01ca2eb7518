//! The test application and the exec agent as processes of this machine: something of every kind to probe.

use super::plan::{CONTAINER, LocalPlan};
use anyhow::{Context, Result, bail, ensure};
use probelet_protocol::environment;
use probelet_protocol::name::{AGENT_BINARY, AGENT_DIR};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the agent proves itself with; nobody else is near.
const KEY: &str = "bench";
const START: Duration = Duration::from_secs(10);

/// A running application, and the ports of its servers.
pub struct Application {
    program: PathBuf,
    name: String,
    child: Child,
    /// HTTP.
    pub http: u16,
    /// HTTPS.
    pub https: u16,
    /// TCP, open while healthy.
    pub tcp: u16,
    /// gRPC.
    pub grpc: u16,
}

/// A running exec agent, in a folder of its own.
pub struct LocalAgent {
    folder: PathBuf,
    /// Its process.
    pub pid: u32,
}

impl Application {
    /// Starts the program and waits until all of its ports answer.
    pub async fn start(program: &Path) -> Result<Self> {
        let [http, https, tcp, grpc] = free_ports()?;
        let name = format!("bench-{}-{http}", std::process::id());
        let child = Command::new(program)
            .args(["serve", "--name", &name])
            .args(["--http", &http.to_string(), "--https", &https.to_string()])
            .args(["--tcp", &tcp.to_string(), "--grpc", &grpc.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let application = Self { program: program.to_owned(), name, child, http, https, tcp, grpc };
        let begin = Instant::now();
        for port in [http, https, tcp, grpc] {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                ensure!(begin.elapsed() < START, "port {port} of {} does not open", program.display());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(application)
    }

    /// Switches its health.
    pub fn switch(&self, healthy: bool) -> Result<()> {
        let order = if healthy { "heal" } else { "fail" };
        let status = Command::new(&self.program)
            .args([order, "--name", &self.name])
            .stdout(Stdio::null())
            .status()
            .context("cannot give the application an order")?;
        ensure!(status.success(), "test-app {order}: {status}");
        Ok(())
    }

    /// One probe of each kind with its name, once a second each: httpGet, https, tcpSocket, grpc, exec.
    pub fn probes(&self) -> [(&'static str, Value); 5] {
        let get = |scheme: &str, port: u16| json!({"httpGet": {"scheme": scheme, "port": port, "path": "/health"}});
        [
            ("http", get("HTTP", self.http)),
            ("https", get("HTTPS", self.https)),
            ("tcp", json!({"tcpSocket": {"port": self.tcp}})),
            ("grpc", json!({"grpc": {"port": self.grpc, "service": "test-app"}})),
            ("exec", json!({"exec": {"command": [self.program, "check", "--name", self.name]}})),
        ]
    }

    /// A plan of [`Self::probes`].
    pub fn plan(&self) -> LocalPlan {
        self.probes().into_iter().fold(LocalPlan::default(), |plan, (name, probe)| plan.and(name, probe))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl LocalAgent ===

impl LocalAgent {
    /// Leaves the agent running as a container's `postStart` does; `program` is `probelet-agent`.
    pub async fn start(program: &Path) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("probelet-agent-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let text = folder.to_string_lossy().into_owned();
        let before = children(program)?;
        let status = Command::new(program)
            .args(["start", "--container", CONTAINER, "--key", KEY, "--dir", &text])
            .status()
            .with_context(|| format!("cannot start {}", program.display()))?;
        ensure!(status.success(), "probelet-agent start: {status}");
        let begin = Instant::now();
        while begin.elapsed() < START {
            if let Some(pid) = children(program)?.into_iter().find(|pid| !before.contains(pid)) {
                return Ok(Self { folder, pid });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bail!("no {}{AGENT_BINARY} is left running in {}", AGENT_DIR, folder.display())
    }

    /// What the sidecar must be told of it.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let keys = json!({CONTAINER: KEY}).to_string();
        [(environment::AGENT_DIR, self.folder.to_string_lossy().into_owned()), (environment::AGENT_KEYS, keys)]
    }
}

impl Drop for LocalAgent {
    fn drop(&mut self) {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Agents of this program that serve.
fn children(program: &Path) -> Result<Vec<u32>> {
    let program = program.canonicalize()?;
    let pids = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_agent = |pid: &u32| {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let arguments = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        std::fs::read_link(folder.join("exe")).is_ok_and(|exe| exe == program)
            && arguments.split(|byte| *byte == 0).any(|word| word == b"serve")
    };
    Ok(pids.filter(is_agent).collect())
}

/// Ports that nobody listens on; they are given up together, so that they differ.
pub fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    let listeners = [(); COUNT].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; COUNT];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}
