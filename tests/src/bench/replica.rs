//! Servers under measurement as processes: the webhook's binary, and the bare one.

use super::town::{MARKER, NAMESPACE, pod};
use super::usage;
use crate::plane::{self, Plane, WEBHOOK, free_port};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// Name of both registrations in the manifest.
pub const CONFIGURATION: &str = "probelet-webhook";

/// A series that is there once a review has been answered.
const REQUESTS: &str = "probelet_admission_requests_total{";

/// Where a server may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// On the first only; callers have the others.
    First,
    /// Wherever the kernel puts it.
    All,
}

/// A running server; killed when dropped.
pub struct Replica {
    child: Child,
    /// Where it is called.
    pub port: u16,
    admin: u16,
}

// === impl Replica ===

impl Replica {
    /// Starts the webhook with its own identity; the time until it said that it is ready.
    ///
    /// # Errors
    /// Where it is not ready within [`PATIENCE`].
    pub async fn webhook(plane: &Plane, binary: &Path, cores: Cores) -> Result<(Self, Duration)> {
        let (port, admin) = (free_port()?, free_port()?);
        let begin = Instant::now();
        let child = on(cores, binary)
            .env("KUBECONFIG", plane.kubeconfig(WEBHOOK)?)
            .args([format!("--listen=127.0.0.1:{port}"), format!("--admin-listen=127.0.0.1:{admin}")])
            .args(["--extra-names=127.0.0.1", "--sidecar-image=example.com/probelet:1", "--drain=100ms"])
            .stdout(std::fs::File::create(plane.folder().join(format!("webhook-{port}.log")))?)
            .spawn()
            .with_context(|| format!("cannot run {} under taskset", binary.display()))?;
        let mut replica = Self { child, port, admin };
        while replica.get("/readyz") != "ok\n" {
            let ended = replica.child.try_wait()?;
            ensure!(
                ended.is_none() && begin.elapsed() < PATIENCE,
                "the webhook is not ready: {}",
                replica.get("/readyz")
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok((replica, begin.elapsed()))
    }

    /// Starts the bare server on the first core: this program again, with the arguments that make it one.
    ///
    /// # Errors
    /// Where it does not listen within [`PATIENCE`].
    pub async fn bare(arguments: &[String], port: u16) -> Result<Self> {
        let child = on(Cores::First, &std::env::current_exe()?).args(arguments).stdout(Stdio::null()).spawn()?;
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(begin.elapsed() < PATIENCE, "the bare server does not listen");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Self { child, port, admin: 0 })
    }

    /// Resident KiB, and how much of it is the program's file.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn resident(&self) -> Result<(u64, u64)> {
        let memory = |name| usage::memory(self.child.id(), name);
        Ok((memory("VmRSS")?, memory("RssFile")?))
    }

    /// CPU time used so far in clock ticks of 10 ms.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn ticks(&self) -> Result<u64> {
        usage::ticks(self.child.id())
    }

    /// The body of an answer on the admin port; empty where there is none.
    pub fn get(&self, path: &str) -> String {
        plane::get(self.admin, path)
    }

    /// Sends the API server's calls for Pods here.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn register(&self, client: &kube::Client) -> Result<()> {
        let hook = json!({"name": "pods.probelet.io", "failurePolicy": "Fail",
            "clientConfig": {"url": format!("https://127.0.0.1:{}/mutate-pods", self.port), "service": null}});
        let api = Api::<MutatingWebhookConfiguration>::all(client.clone());
        api.patch(CONFIGURATION, &PatchParams::default(), &Patch::Strategic(json!({"webhooks": [hook]}))).await?;
        self.called(client).await
    }

    /// Waits until the API server has taken notice of the registration.
    async fn called(&self, client: &kube::Client) -> Result<()> {
        let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
        let pod = serde_json::from_value(pod("called", MARKER))?;
        let requests = || self.get("/metrics").lines().filter(|line| line.starts_with(REQUESTS)).count();
        let begin = Instant::now();
        while requests() == 0 {
            ensure!(begin.elapsed() < PATIENCE, "the API server does not call the webhook");
            // Refused as long as the one before is called.
            let _ = pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await;
        }
        Ok(())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn on(cores: Cores, program: &Path) -> Command {
    let mut command = match cores {
        Cores::First => {
            let mut taskset = Command::new("taskset");
            taskset.args(["--cpu-list", "0"]).arg(program);
            taskset
        }
        Cores::All => Command::new(program),
    };
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    command
}
