//! Faults that take a whole lab: a cold start, and certificates in a Secret that somebody else keeps. Minutes each, so by hand, on a
//! lab of their own:
//!
//! ```console
//! export PROBELET_LAB=faults; make deploy
//! cargo test -p probelet-tests --test e2e_faults -- --ignored --nocapture --test-threads=1
//! make lab-down
//! ```

use super::webhook;
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, LogParams, Patch, PatchParams, PostParams};
use probelet_protocol::name;
use probelet_tests::cluster::Cluster;
use probelet_tests::deploy::NAMESPACE;
use probelet_tests::image::TEST_APP;
use probelet_tests::lab::Lab;
use probelet_tests::pod::{app, has_container, is_ready};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::{command, wait, work_tree};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

/// The lab that PROBELET_LAB names, never the one that everybody uses.
pub(crate) fn own_lab() -> Result<Lab> {
    let lab = Lab::from_env()?;
    ensure!(
        lab.layout().name() != "probelet-lab",
        "these tests stop the lab: give them one of their own by PROBELET_LAB"
    );
    Ok(lab)
}

/// Runs the lab's program for it.
pub(crate) fn run(arguments: &[&str]) -> Result<String> {
    command::run(Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments))
}

/// Ends everything of a lab at once, containers included, as a loss of power would.
fn cut_the_power(lab: &Lab) -> Result<usize> {
    let folder = format!("{}/", lab.layout().dir().display());
    let text = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let mut victims = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        let stat = text(format!("/proc/{id}/stat"));
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)).unwrap_or_default();
        // Its programs and its containers' shims have the folder on their command lines, and a shim's children are containers.
        let is_shim = |id: &str| text(format!("/proc/{id}/cmdline")).contains(&folder);
        if id != std::process::id().to_string() && (is_shim(&id) || (parent != "1" && is_shim(parent))) {
            victims.extend(id.parse().ok().and_then(rustix::process::Pid::from_raw));
        }
    }
    webhook::signal(&victims, rustix::process::Signal::KILL);
    Ok(victims.len())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "stops a whole lab; see the head of this file"]
async fn a_cold_cluster_starts_although_the_webhook_must_answer_and_is_not_there() -> Result<()> {
    let lab = own_lab()?;
    space::with("cold", Labels::opted_in(), |space| async move {
        webhook::mark(&space).await?;
        let cluster = space.cluster().clone();
        webhook::set_failure_policy(&cluster, "Fail").await?;
        let ended = cut_the_power(&lab)?;
        println!("{ended} processes ended at once");
        let begin = Instant::now();
        tokio::task::spawn_blocking(|| run(&["up"])).await??;
        println!("the lab is up after {:?}", begin.elapsed());
        let up = Instant::now();
        // Before the webhook is: what a cluster needs is created, with our label or without.
        for namespace in ["kube-system", NAMESPACE, "default"] {
            let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
            let image = cluster.image(TEST_APP)?;
            let pod =
                app("cold", &image).labelled(name::INJECT_LABEL, name::INJECT_ENABLED).on_an_ordinary_node().build();
            pods.create(&PostParams::default(), &pod).await.with_context(|| format!("in {namespace}"))?;
            wait::until_pod(&pods, "cold", "to run", webhook::LIMIT, is_ready).await?;
            pods.delete("cold", &DeleteParams::default()).await?;
        }
        println!("Pods of three namespaces run {:?} after that", up.elapsed());
        // Nobody does anything for it.
        loop {
            let made = space.api::<Pod>().create(&PostParams::default(), &webhook::pod("web")).await;
            if made.as_ref().is_ok_and(|pod| has_container(pod, name::SIDECAR_CONTAINER)) {
                break;
            }
            ensure!(made.is_err(), "admitted without a sidecar, although the registration says Fail");
            ensure!(up.elapsed() < Duration::from_secs(60), "the webhook is not back: {made:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("the webhook injects {:?} after the lab is up", up.elapsed());
        webhook::whole(&cluster, 2).await?;
        webhook::set_failure_policy(&cluster, "Ignore").await
    })
    .await
}

/// Who signs, and what it has signed: PEM.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self { pem: parameters.self_signed(&key)?.pem(), issuer: Issuer::new(parameters, key) })
    }

    /// A Secret as `kubectl create secret tls` makes it, with a certificate for the webhook's Service.
    fn secret(&self, name: &str) -> Result<Secret> {
        let key = KeyPair::generate()?;
        let names = vec![format!("probelet-webhook.{NAMESPACE}.svc")];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        Ok(serde_json::from_value(json!({"metadata": {"name": name}, "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": certificate.pem(), "tls.key": key.serialize_pem()}}))?)
    }
}

/// Upgrades the release to these values and waits until it has come up.
pub(crate) fn upgrade(values: &[String]) -> Result<String> {
    let chart = work_tree().join("manifests/chart").display().to_string();
    let mut arguments =
        vec!["helm", "upgrade", "probelet", &chart, "--namespace", NAMESPACE, "--reset-then-reuse-values"];
    arguments.extend(["--wait", "--timeout", "3m"]);
    arguments.extend(values.iter().map(String::as_str));
    run(&arguments)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes, as kubelet brings a changed Secret; see the head of this file"]
async fn a_given_secret_is_served_and_its_new_certificate_taken_without_a_missed_pod() -> Result<()> {
    own_lab()?;
    let cluster = Cluster::connect().await?;
    let outcome = space::with("given", Labels::opted_in(), |space| async move {
        let authority = Authority::new()?;
        let secrets: Api<Secret> = Api::namespaced(space.cluster().client(), NAMESPACE);
        let _ = secrets.delete("given-tls", &DeleteParams::default()).await;
        secrets.create(&PostParams::default(), &authority.secret("given-tls")?).await?;
        let file = std::env::temp_dir().join(format!("given-{}.pem", std::process::id()));
        std::fs::write(&file, &authority.pem)?;
        let values = ["--set", "tls.mode=secret", "--set", "tls.secretName=given-tls", "--set-file"].map(str::to_owned);
        let bundle = format!("tls.caBundle={}", file.display());
        upgrade(&[&values[..], &[bundle]].concat())?;
        std::fs::remove_file(&file)?;
        webhook::whole(space.cluster(), 2).await?;
        webhook::set_failure_policy(space.cluster(), "Fail").await?;
        webhook::mark(&space).await?;
        let second = Patch::Merge(json!({"stringData": authority.secret("given-tls")?.string_data}));
        rotate(&space, async || Ok(secrets.patch("given-tls", &PatchParams::default(), &second).await.map(drop)?)).await
    })
    .await;
    webhook::set_failure_policy(&cluster, "Ignore").await?;
    let restored =
        upgrade(&["--set", "tls.mode=self", "--set", "tls.secretName=probelet-webhook-tls"].map(str::to_owned));
    outcome.and(restored.map(drop))
}

/// Exchanges what is served, and creates Pods until both replicas have taken it.
pub(crate) async fn rotate(space: &Space, exchange: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let taken = async || {
        let logs = logs(space).await?.into_iter();
        anyhow::Ok(logs.map(|log| log.matches("serving certificate in use").count()).collect::<Vec<_>>())
    };
    let before = taken().await?;
    ensure!(before.len() == 2 && !before.contains(&0), "each replica says when it takes a certificate: {before:?}");
    exchange().await?;
    let (begin, mut pods) = (Instant::now(), 0_u32);
    while taken().await?.iter().zip(&before).any(|(now, before)| now <= before) {
        for _ in 0..20 {
            pods += 1;
            let params = PostParams { dry_run: true, ..PostParams::default() };
            let made = space.api::<Pod>().create(&params, &webhook::pod(&format!("web-{pods}"))).await?;
            ensure!(has_container(&made, name::SIDECAR_CONTAINER), "Pod {pods} was not injected");
        }
        ensure!(begin.elapsed() < Duration::from_secs(180), "the new certificate is not taken");
    }
    println!("both replicas serve the new certificate after {:?}; {pods} Pods, all injected", begin.elapsed());
    Ok(())
}

/// What the replicas have logged.
async fn logs(space: &Space) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(space.cluster().client(), NAMESPACE);
    let mut logs = Vec::new();
    for replica in webhook::replicas(space.cluster()).await? {
        logs.push(pods.logs(&replica.metadata.name.unwrap_or_default(), &LogParams::default()).await?);
    }
    Ok(logs)
}
