//! The chart's mode `cert-manager` with cert-manager itself: its two programs run beside a lab of its own. By hand, since they are built
//! from another project; `bin/controller` and `bin/cainjector` from its folders `cmd/controller` and `cmd/cainjector`, `deploy/crds` as it is:
//!
//! ```console
//! export PROBELET_CERT_MANAGER=/path/to/cert-manager
//! (cd $PROBELET_CERT_MANAGER && for it in controller cainjector; do (cd cmd/$it && go build -o ../../bin/$it .); done)
//! export PROBELET_LAB=certificates; make deploy
//! cargo test -p probelet-tests --test e2e_faults -- --ignored --nocapture cert_manager
//! make lab-down
//! ```

use super::lab::{own_lab, rotate, run, upgrade};
use super::webhook;
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, ResourceExt};
use probelet_tests::cluster::Cluster;
use probelet_tests::deploy::NAMESPACE;
use probelet_tests::lab::Lab;
use probelet_tests::space::{self, Labels, Space};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const SERVING: &str = "probelet-webhook";
const SECRET: &str = "probelet-webhook-issued";

const MERGING: &str = "CAInjectorMerging";

/// Both programs, until they are dropped.
struct CertManager {
    programs: Vec<Child>,
    definitions: String,
}

impl CertManager {
    fn start(lab: &Lab) -> Result<Self> {
        let folder =
            std::env::var_os("PROBELET_CERT_MANAGER").context("PROBELET_CERT_MANAGER: see the head of the file")?;
        let folder = PathBuf::from(folder);
        let definitions = folder.join("deploy/crds").display().to_string();
        run(&["kubectl", "apply", "--server-side", "--filename", &definitions])?;
        let mut programs = Vec::new();
        for name in ["controller", "cainjector"] {
            programs.push(Self::program(lab, &folder.join("bin"), name)?);
        }
        Ok(Self { programs, definitions })
    }

    fn program(lab: &Lab, folder: &Path, name: &str) -> Result<Child> {
        let log = File::create(lab.layout().log(&format!("cert-manager-{name}")))?;
        let mut command = Command::new(folder.join(name));
        // One of them reads the flag, the other the environment.
        command.env("KUBECONFIG", lab.kubeconfig()).arg("--kubeconfig").arg(lab.kubeconfig());
        // Newer versions go on trusting the authority before: without that it is harder, and as older ones are.
        let help =
            Command::new(folder.join(name)).arg("--help").output().with_context(|| format!("cannot run {name}"))?;
        if name == "cainjector" && String::from_utf8_lossy(&help.stdout).contains(MERGING) {
            command.arg(format!("--feature-gates={MERGING}=false"));
        }
        command.args(["--leader-elect=false", "--metrics-listen-address=127.0.0.1:0"]);
        command.stdout(log.try_clone()?).stderr(log).spawn().with_context(|| format!("cannot run {name}"))
    }
}

impl Drop for CertManager {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
        if let Err(error) = run(&["kubectl", "delete", "--wait=false", "--filename", &self.definitions]) {
            eprintln!("{error:#}");
        }
    }
}

fn certificates(cluster: &Cluster) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate");
    Api::namespaced_with(cluster.client(), NAMESPACE, &ApiResource::from_gvk(&kind))
}

fn secrets(cluster: &Cluster) -> Api<Secret> {
    Api::namespaced(cluster.client(), NAMESPACE)
}

/// One key of the Secret with the serving certificate, once it is another than before.
async fn issued(cluster: &Cluster, key: &str, before: &[u8]) -> Result<Vec<u8>> {
    let begin = Instant::now();
    loop {
        let data = secrets(cluster).get_opt(SECRET).await?.and_then(|found| found.data).unwrap_or_default();
        match data.get(key) {
            Some(found) if !found.0.is_empty() && found.0 != before => return Ok(found.0.clone()),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
        ensure!(begin.elapsed() < webhook::LIMIT, "no new {key}");
    }
}

/// The registration trusts whoever cert-manager names, and its certificate is the one that is served.
async fn is_issued(cluster: &Cluster) -> Result<()> {
    let secret = secrets(cluster).get(SECRET).await?;
    let issuer = secret.annotations().get("cert-manager.io/issuer-name").map(String::as_str);
    ensure!(issuer == Some(SERVING), "issued by {issuer:?}");
    let authority = secret.data.unwrap_or_default().remove("ca.crt").context("no ca.crt")?;
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(cluster.client());
    for hook in configurations.get(SERVING).await?.webhooks.unwrap_or_default() {
        let bundle = hook.client_config.ca_bundle.map(|bundle| String::from_utf8_lossy(&bundle.0).into_owned());
        // Newer versions keep those before it, too.
        let trusts =
            bundle.as_ref().is_some_and(|bundle| bundle.contains(String::from_utf8_lossy(&authority.0).trim()));
        ensure!(trusts, "{} trusts {bundle:?}", hook.name);
    }
    Ok(())
}

/// As `cmctl renew` asks for it.
async fn renew(cluster: &Cluster, name: &str) -> Result<()> {
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let condition = json!({"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "renewed by hand",
        "lastTransitionTime": now});
    let patch = json!([{"op": "add", "path": "/status/conditions/-", "value": condition}]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
    certificates(cluster).patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// The certificate is renewed, and the Secret lost; the authority is renewed, and the certificate after it.
async fn renewals(space: &Space) -> Result<()> {
    let cluster = space.cluster().clone();
    let certificate = issued(&cluster, "tls.crt", b"").await?;
    let authority = issued(&cluster, "ca.crt", b"").await?;
    println!("renewed as by cmctl:");
    rotate(space, async || renew(&cluster, SERVING).await).await?;
    let second = issued(&cluster, "tls.crt", &certificate).await?;
    println!("its Secret deleted:");
    rotate(space, async || Ok(secrets(&cluster).delete(SECRET, &DeleteParams::default()).await.map(drop)?)).await?;
    let third = issued(&cluster, "tls.crt", &second).await?;
    ensure!(issued(&cluster, "ca.crt", b"").await? == authority, "the authority stays");
    println!("its authority renewed, then the certificate:");
    rotate(space, async || {
        let secret = format!("{SECRET}-ca");
        let signing = async || secrets(&cluster).get(&secret).await.map(|found| found.data.unwrap_or_default());
        let before = signing().await?;
        renew(&cluster, &format!("{SERVING}-ca")).await?;
        let begin = Instant::now();
        while signing().await?.get("tls.crt") == before.get("tls.crt") {
            ensure!(begin.elapsed() < webhook::LIMIT, "the authority is not renewed");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        ensure!(signing().await?.get("tls.key") == before.get("tls.key"), "the authority's key stays");
        renew(&cluster, SERVING).await
    })
    .await?;
    issued(&cluster, "tls.crt", &third).await?;
    ensure!(issued(&cluster, "ca.crt", &authority).await? != authority, "another authority's certificate");
    is_issued(&cluster).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs cert-manager's programs; see the head of this file"]
async fn cert_manager_issues_and_renews_without_a_missed_pod() -> Result<()> {
    let lab = own_lab()?;
    let cluster = Cluster::connect().await?;
    let cert_manager = CertManager::start(&lab)?;
    let outcome = space::with("issued", Labels::opted_in(), |space| async move {
        for name in [SECRET.to_owned(), format!("{SECRET}-ca")] {
            let _ = secrets(space.cluster()).delete(&name, &DeleteParams::default()).await;
        }
        let begin = Instant::now();
        upgrade(&["--set", "tls.mode=cert-manager", "--set", &format!("tls.secretName={SECRET}")].map(str::to_owned))?;
        webhook::whole(space.cluster(), 2).await?;
        webhook::set_failure_policy(space.cluster(), "Fail").await?;
        webhook::mark(&space).await?;
        println!("Pods are injected {:?} after the upgrade began", begin.elapsed());
        is_issued(space.cluster()).await?;
        renewals(&space).await
    })
    .await;
    webhook::set_failure_policy(&cluster, "Ignore").await?;
    let values = ["--set", "tls.mode=self", "--set", "tls.secretName=probelet-webhook-tls"].map(str::to_owned);
    let restored = upgrade(&values);
    drop(cert_manager);
    outcome.and(restored.map(drop))
}
