//! A herd of real sidecars, each a process, with something to write when an API server comes back that was away (fault F9).
//! The API server is one of its own with the chart's policies; the lab is not needed once its images are built.
//!
//! ```text
//! make deploy; make lab-down
//! PROBELET_HERD=10000 PROBELET_HERD_SPREAD=40s cargo test -p probelet-tests --test soak -- --ignored --nocapture a_herd
//! ```

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use probelet_protocol::environment;
use probelet_tests::bench::local::{Identity, LABEL, LocalSidecar};
use probelet_tests::bench::plan::LocalPlan;
use probelet_tests::bench::target::ProbeTarget;
use probelet_tests::bench::usage;
use probelet_tests::lab::Lab;
use probelet_tests::plane::{ADMIN, Plane};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "herd";
const AUDIT: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],"rules":[
    {"level":"Metadata","verbs":["patch"],"resources":[{"group":"","resources":["pods/status"]}]},{"level":"None"}]}"#;
const AT_ONCE: usize = 8;
/// What F9 asks for.
const MARKED_WITHIN: Duration = Duration::from_secs(60);
/// A node's Lease is renewed every 10 s, and a node is lost after 40 s.
const LATE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(300);

fn count() -> Result<usize> {
    std::env::var("PROBELET_HERD").map_or(Ok(1000), |text| text.parse().context("PROBELET_HERD is no number"))
}

fn binary() -> Result<PathBuf> {
    Ok(Lab::from_env()?.layout().path("stage/sidecar/build/out/probelet"))
}

/// The namespace, its ServiceAccount and what the webhook's controller would grant it; and rights of a node on its Lease.
async fn found(client: &Client) -> Result<()> {
    let namespace = json!({"metadata": {"name": NAMESPACE, "labels": {"probelet.io/inject": "enabled"}}});
    Api::all(client.clone())
        .create(&PostParams::default(), &serde_json::from_value::<k8s_openapi::api::core::v1::Namespace>(namespace)?)
        .await?;
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "default"}}))?;
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &account).await?;
    let group = |name: &str| json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name}]);
    let role = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "herd"}, "roleRef": role("probelet-sidecar"),
        "subjects": group(&format!("system:serviceaccounts:{NAMESPACE}")),
    }))?;
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &binding).await?;
    let nodes: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "herd-nodes"}, "roleRef": role("system:node"), "subjects": group("system:nodes"),
    }))?;
    Api::all(client.clone()).create(&PostParams::default(), &nodes).await?;
    let lease: Lease =
        serde_json::from_value(json!({"metadata": {"name": "node"}, "spec": {"holderIdentity": "node"}}))?;
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &lease).await?;
    Ok(())
}

/// Renews a node's Lease over and over; the longest that one renewal took.
async fn lease(mut config: Config, until: tokio::sync::watch::Receiver<bool>) -> Result<Duration> {
    config.auth_info.impersonate = Some("system:node:node".into());
    config.auth_info.impersonate_groups = Some(vec!["system:nodes".into()]);
    let leases: Api<Lease> = Api::namespaced(probelet_tests::client::connect(config)?, NAMESPACE);
    let mut longest = Duration::ZERO;
    for renewal in 0.. {
        if *until.borrow() {
            break;
        }
        let begin = Instant::now();
        let change = json!({"spec": {"leaseTransitions": renewal}});
        leases.patch("node", &PatchParams::default(), &Patch::Merge(change)).await?;
        longest = longest.max(begin.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(longest)
}

fn moment(event: &Value, field: &str) -> Option<k8s_openapi::jiff::Timestamp> {
    event[field].as_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts a process for each of PROBELET_HERD Pods, a thousand unless told: 0.3 GiB for each thousand"]
async fn a_herd_comes_back_after_an_outage() -> Result<()> {
    let (count, binary) = (count()?, binary()?);
    ensure!(binary.exists(), "no sidecar at {}: make deploy", binary.display());
    let plane = Plane::start(Some(AUDIT)).await?;
    plane.install()?;
    let client = plane.client().await?;
    found(&client).await?;
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig(ADMIN)?)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let target = ProbeTarget::start().await?;
    let probe =
        json!({"httpGet": {"path": "/health", "port": target.port}, "periodSeconds": 3600, "timeoutSeconds": 60});
    let plan = LocalPlan::default().and("Healthy", probe).labelled(LABEL);

    let begin = Instant::now();
    let names: Vec<String> = (0..count).map(|number| format!("herd-{number}")).collect();
    let created = names.iter().map(|name| Identity::create(&client, NAMESPACE, name, &plan));
    let identities: Vec<Identity> = stream::iter(created).buffer_unordered(AT_ONCE).try_collect().await?;
    println!("{count} Pods and tokens: {:.0?}", begin.elapsed());

    plane.go_away()?;
    let begin = Instant::now();
    let spread = std::env::var("PROBELET_HERD_SPREAD").unwrap_or_else(|_| format!("{}s", count.div_ceil(250).max(4)));
    let environment = [(environment::RETRY_SPREAD, spread.as_str()), (environment::SHIELD, "true")];
    let mut sidecars: Vec<LocalSidecar> = Vec::new();
    for identity in &identities {
        sidecars.push(identity.sidecar(&binary, &config, &environment)?);
    }
    while target.requests() < count as u64 {
        ensure!(begin.elapsed() < PATIENCE, "{} of {count} sidecars have probed", target.requests());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let of_all =
        |name: &str| sidecars.iter().map(|sidecar| usage::memory(sidecar.child.id(), name)).sum::<Result<u64>>();
    let (resident, own) = (of_all("VmRSS")?, of_all("RssAnon")?);
    println!(
        "{count} sidecars started and have probed once: {:.0?}; resident {} KiB each, {} KiB of it their own",
        begin.elapsed(),
        resident / count as u64,
        own / count as u64,
    );
    // One after the other was started; the outage is the same for all by now.
    tokio::time::sleep(Duration::from_secs(10)).await;

    let used = || sidecars.iter().map(|sidecar| usage::on_cpu(sidecar.child.id())).sum::<Result<Duration>>();
    let before = used()?;
    let back = Instant::now();
    let began = k8s_openapi::jiff::Timestamp::now();
    plane.come_back(PATIENCE).await?;
    println!("the API server is ready after {:.1?}; retry-spread {spread}", back.elapsed());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let renewals = tokio::spawn(lease(config, stopped));
    let accepted = |events: &[Value]| events.iter().filter(|event| event["responseStatus"]["code"] == 200).count();
    let mut events = plane.audit();
    while accepted(&events) < count && back.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_secs(1)).await;
        events = plane.audit();
    }
    // Whoever would send once more has had the time to.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let events = plane.audit();
    println!(
        "CPU since the start: API server {:.1} s, all sidecars {:.1} s",
        usage::ticks(plane.process()?)? as f64 / 100.0,
        (used()? - before).as_secs_f64(),
    );
    stop.send(true)?;
    let longest_renewal = renewals.await??;

    let mut tries: BTreeMap<&str, u32> = BTreeMap::new();
    let mut codes: BTreeMap<i64, u32> = BTreeMap::new();
    let (mut first, mut last) = (Duration::MAX, Duration::ZERO);
    for event in &events {
        let Some(name) = event["objectRef"]["name"].as_str() else { continue };
        *tries.entry(name).or_default() += 1;
        let code = event["responseStatus"]["code"].as_i64().unwrap_or_default();
        *codes.entry(code).or_default() += 1;
        if let (200, Some(at)) = (code, moment(event, "stageTimestamp")) {
            let after = at.duration_since(began).unsigned_abs();
            (first, last) = (first.min(after), last.max(after));
        }
    }
    let list = ListParams::default().labels(&format!("{LABEL}=true"));
    let marked = Api::<Pod>::namespaced(client.clone(), NAMESPACE).list_metadata(&list).await?.items.len();
    let most = tries.values().max().copied().unwrap_or_default();
    let throttled = f64::from(codes.get(&429).copied().unwrap_or_default()) * 100.0 / events.len().max(1) as f64;
    println!(
        "marked {marked} of {count}, the first {first:.1?} and the last {last:.1?} after the API server was started; answers {codes:?}: {throttled:.1} % of them 429; \
         at most {most} requests of one sidecar, {} in all; a node's Lease was renewed within {longest_renewal:.1?}",
        events.len(),
    );
    ensure!(marked == count, "{} Pods are not marked", count - marked);
    ensure!(longest_renewal < LATE, "a Lease took {longest_renewal:.1?}");
    // What they are on a machine that also runs the herd says more of the machine.
    println!("asked for: marked within {MARKED_WITHIN:?}, at most 3 requests each, less than 5 % answered 429");
    Ok(())
}
