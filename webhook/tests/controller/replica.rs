//! Replicas of the webhook's binary, as processes that can be stopped, paused and asked.

use crate::api::{Lab, eventually, folder, free_port};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::Api;
use kube::api::{Patch, PatchParams};
use probelet_tests::namespace::Namespace;
use serde_json::json;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

const PROGRAM: &str = env!("CARGO_BIN_EXE_probelet-webhook");

pub(crate) struct Replica {
    child: Child,
    pub(crate) port: u16,
    admin: u16,
    log: PathBuf,
}

impl Replica {
    /// Starts one with the webhook's own identity.
    pub(crate) fn start(lab: &Lab, arguments: &[&str]) -> Self {
        Self::start_by(lab, lab.server.port(), arguments)
    }

    /// The same, with another way to the API server.
    pub(crate) fn start_by(lab: &Lab, api: u16, arguments: &[&str]) -> Self {
        Self::spawn(lab, Command::new(PROGRAM), api, arguments)
    }

    /// The same in a network of its own, which the API server cannot call.
    pub(crate) fn start_within(lab: &Lab, namespace: &Namespace, api: u16, arguments: &[&str]) -> Self {
        Self::spawn(lab, namespace.command(PROGRAM), api, arguments)
    }

    fn spawn(lab: &Lab, mut command: Command, api: u16, arguments: &[&str]) -> Self {
        let (port, admin) = (free_port(), free_port());
        let log = folder(lab.server).join(format!("webhook-{port}.log"));
        let child = command
            .env("KUBECONFIG", lab.server.kubeconfig_by(api))
            .args([format!("--listen=127.0.0.1:{port}"), format!("--admin-listen=127.0.0.1:{admin}")])
            .args(["--extra-names=127.0.0.1", "--sidecar-image=example.com/probelet:1"])
            .env("PROBELET_DRAIN", "100ms")
            .args(["--log-level=debug"])
            .args(arguments)
            .stdout(File::create(&log).expect("log"))
            .spawn()
            .expect("webhook");
        Self { child, port, admin, log }
    }

    /// Starts one that the API server calls, and waits until it is ready.
    pub(crate) async fn ready(lab: &Lab, arguments: &[&str]) -> Self {
        let replica = Self::start(lab, arguments);
        replica.register(lab).await;
        replica.wait_until_ready().await;
        replica
    }

    pub(crate) async fn wait_until_ready(&self) {
        eventually(&format!("ready; log:\n{}", self.log()), async || (self.get("/readyz") == "ok\n").then_some(()))
            .await;
    }

    /// Sends the API server's calls here.
    pub(crate) async fn register(&self, lab: &Lab) {
        let url = |path: &str| json!({"url": format!("https://127.0.0.1:{}{path}", self.port), "service": null});
        let params = PatchParams::default();
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(lab.client.clone());
        let hooks = json!([
            {"name": "pods.probelet.io", "clientConfig": url("/mutate-pods"), "failurePolicy": "Fail"},
            {"name": "bindings.probelet.io", "clientConfig": url("/mutate-bindings")},
        ]);
        mutating
            .patch("probelet-webhook", &params, &Patch::Strategic(json!({"webhooks": hooks})))
            .await
            .expect("hooks");
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(lab.client.clone());
        let found = validating.get("probelet-webhook").await.expect("hooks").webhooks.unwrap_or_default();
        let hooks: Vec<_> = found
            .iter()
            .map(|hook| json!({"name": hook.name, "clientConfig": url("/validate-podprobemarkers")}))
            .collect();
        validating
            .patch("probelet-webhook", &params, &Patch::Strategic(json!({"webhooks": hooks})))
            .await
            .expect("hooks");
    }

    /// The body of an answer on the admin port; empty where there is none.
    pub(crate) fn get(&self, path: &str) -> String {
        probelet_tests::plane::get(self.admin, path)
    }

    /// The value of a metric's line that begins with this.
    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        let text = self.get("/metrics");
        let found = text.lines().find(|found| found.starts_with(line))?;
        found.rsplit(' ').next()?.parse().ok()
    }

    pub(crate) fn leads(&self) -> bool {
        self.metric("probelet_leader ") == Some(1.0)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("process")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the webhook on port {}:\n{}", self.port, self.log());
        }
    }
}
