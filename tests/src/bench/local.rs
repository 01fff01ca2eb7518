//! The real sidecar binary as a process of this machine, with a Pod and a token of its own on the real API server.

use super::plan::{CONTAINER, LocalPlan};
use super::target::ProbeTarget;
use super::usage;
use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::config::{AuthInfo, Config};
use kube::{Client, ResourceExt};
use probelet_protocol::{environment, name};
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// The condition that the bench's plan writes.
pub const CONDITION: &str = "bench.example/Healthy";
/// The label that the bench's plan writes: `true` or `false`.
pub const LABEL: &str = "bench.example/healthy";

/// Each start has a folder of its own, so that dropping an earlier sidecar takes nothing from a later one.
static STARTS: AtomicU64 = AtomicU64::new(0);

/// A Pod that no node runs, and the token that its sidecar would get.
pub struct Identity {
    /// Namespace of the Pod.
    pub namespace: String,
    /// The Pod as created.
    pub pod: Pod,
    /// A token that is bound to the Pod.
    pub token: String,
}

/// A running sidecar; killed when dropped.
pub struct LocalSidecar {
    /// The process.
    pub child: Child,
    folder: PathBuf,
    /// What it leaves for its next start in the Pod.
    trace: PathBuf,
}

impl Identity {
    /// Creates the Pod with its annotations, and asks for a token bound to it.
    pub async fn create(client: &Client, namespace: &str, name: &str, plan: &LocalPlan) -> Result<Self> {
        let pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "annotations": {
                name::PLAN_ANNOTATION: plan.probes(),
                name::POLICIES_ANNOTATION: plan.policies(),
                name::WRITES_ANNOTATION: plan.writes(),
            }},
            "spec": {"schedulerName": "none", "serviceAccountName": "default", "containers": [{"name": CONTAINER, "image": "none"}]},
        }))?;
        let pod = Api::<Pod>::namespaced(client.clone(), namespace).create(&PostParams::default(), &pod).await?;
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: Some(name.into()),
                    uid: pod.uid(),
                }),
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let token = Api::<ServiceAccount>::namespaced(client.clone(), namespace)
            .create_token_request("default", &PostParams::default(), &request)
            .await?
            .status
            .and_then(|status| status.token)
            .context("the API server gave no token")?;
        Ok(Self { namespace: namespace.into(), pod, token })
    }

    /// A client that is this Pod's identity, nothing else.
    pub fn client(&self, config: &Config) -> Result<Client> {
        let mut config = config.clone();
        config.auth_info = AuthInfo { token: Some(SecretString::from(self.token.clone())), ..AuthInfo::default() };
        crate::client::connect(config)
    }

    /// Starts the sidecar as this Pod's, with further environment.
    pub fn sidecar(&self, binary: &Path, config: &Config, extra: &[(&str, &str)]) -> Result<LocalSidecar> {
        let serial = STARTS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("probelet-bench-{}-{serial}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("token"), &self.token)?;
        std::fs::write(folder.join("ca.crt"), certificates(config))?;
        let annotation = |key| self.pod.annotations().get(key).cloned().unwrap_or_default();
        let mut command = Command::new(binary);
        command
            .env_clear()
            .env(environment::POD_NAME, self.pod.name_any())
            .env(environment::POD_NAMESPACE, &self.namespace)
            .env(environment::POD_UID, self.pod.uid().unwrap_or_default())
            .env(environment::PLAN, annotation(name::PLAN_ANNOTATION))
            .env(environment::POLICIES, annotation(name::POLICIES_ANNOTATION))
            .env(environment::TOKEN_DIR, &folder)
            .env("KUBERNETES_SERVICE_HOST", config.cluster_url.host().context("API server without host")?)
            .env("KUBERNETES_SERVICE_PORT", config.cluster_url.port_u16().unwrap_or(443).to_string())
            .envs(extra.iter().copied())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(folder.join("log"))?)
            .stderr(std::fs::File::create(folder.join("errors"))?);
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let trace = PathBuf::from(format!("/dev/shm/.probelet-{}", self.pod.uid().unwrap_or_default()));
        Ok(LocalSidecar { child, folder, trace })
    }
}

impl LocalSidecar {
    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        let read = |file| std::fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        read("log") + &read("errors")
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> Result<u64> {
        usage::memory(self.child.id(), "VmRSS")
    }

    /// CPU time used so far in clock ticks of 10 ms, user and system.
    pub fn ticks(&self) -> Result<u64> {
        usage::ticks(self.child.id())
    }
}

impl Drop for LocalSidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
        let _ = std::fs::remove_file(&self.trace);
    }
}

/// One httpGet probe of the target: a condition, and a label that is `true` or `false`.
pub fn plan_for(port: u16) -> LocalPlan {
    let http = serde_json::json!({"httpGet": {"path": "/health", "port": port}});
    LocalPlan::default().and("Healthy", http).labelled(LABEL)
}

fn certificates(config: &Config) -> String {
    let engine = &base64::engine::general_purpose::STANDARD;
    config
        .root_cert
        .iter()
        .flatten()
        .map(|der| {
            let text = base64::Engine::encode(engine, der);
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        })
        .collect()
}

/// A target, and a sidecar that probes it.
pub struct Pair {
    /// What is probed.
    pub target: ProbeTarget,
    /// What probes.
    pub sidecar: LocalSidecar,
    /// Whose Pod is marked.
    pub identity: Identity,
}

impl Pair {
    /// Starts both; the sidecar probes as `extra` says.
    pub async fn start(
        client: &Client,
        config: &Config,
        place: (&str, &str),
        binary: &Path,
        extra: &[(&str, &str)],
    ) -> Result<Self> {
        let target = ProbeTarget::start().await?;
        let identity = Identity::create(client, place.0, place.1, &plan_for(target.port)).await?;
        let sidecar = identity.sidecar(binary, config, extra)?;
        Ok(Self { target, sidecar, identity })
    }
}
