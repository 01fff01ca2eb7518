//! Good practice G8, in the moment when it matters: nodes are drained while the webhook is dead. It is stopped rather than gone, and
//! the registration says Fail, so each call of it would take its two seconds and then be refused.

use crate::api::{Lab, create, pod};
use crate::markers::{api as markers, injected, marker};
use crate::replica::Replica;
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams};
use serde_json::json;
use std::time::{Duration, Instant};

const PODS: usize = 500;
/// For comparison, with the webhook alive.
const BEFORE: usize = 20;
/// As many as kubectl drains at once, and more than this API server has use for.
const AT_ONCE: usize = 16;
/// `timeoutSeconds` of the registration: what a call costs that nobody answers.
const CALL: Duration = Duration::from_secs(2);

/// Runs as a Pod does, drained by whoever drains, and ends as its node tells: the longest of the three requests.
async fn drain(pods: &Api<Pod>, name: &str) -> kube::Result<Duration> {
    let (params, mut slowest) = (PatchParams::default(), Duration::ZERO);
    let mut time = |begin: Instant| slowest = slowest.max(begin.elapsed());
    let begin = Instant::now();
    pods.evict(name, &EvictParams::default()).await?;
    time(begin);
    let status = json!({"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}});
    let begin = Instant::now();
    pods.patch_status(name, &params, &Patch::Strategic(status)).await?;
    time(begin);
    let begin = Instant::now();
    pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
    time(begin);
    Ok(slowest)
}

/// The same for all of these Pods: the longest request, and how long all of it took.
async fn drain_all(pods: &Api<Pod>, names: &[String]) -> (Duration, Duration) {
    let begin = Instant::now();
    let drained = stream::iter(names).map(|name| drain(pods, name)).buffer_unordered(AT_ONCE);
    let slowest = drained.try_fold(Duration::ZERO, async |slowest, took| Ok(slowest.max(took))).await;
    (slowest.expect("nothing of it is refused"), begin.elapsed())
}

/// Injected Pods that run on a node.
async fn run(lab: &Lab, namespace: &str, names: &[String]) {
    let pods = lab.pods(namespace);
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let start = async |name: &String| {
        let mut pod = pod(name);
        pod["spec"]["nodeName"] = json!("virtual");
        let made = create(&pods, pod).await;
        assert_eq!(made.spec.expect("spec").containers.len(), 2, "{name} was not injected");
        pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(running.clone())).await.expect("running");
    };
    stream::iter(names).map(start).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
}

#[tokio::test]
async fn five_hundred_evictions_are_neither_refused_nor_slowed_by_a_dead_webhook() {
    let lab = Lab::turn().await;
    let namespace = lab.opted_in("drained").await;
    create(&markers(&lab, &namespace), marker("up", "example.io/up")).await;
    let replica = Replica::ready(&lab, &[]).await;
    injected(&lab, &namespace, "first").await;
    let names: Vec<_> = (0..BEFORE + PODS).map(|number| format!("p{number}")).collect();
    run(&lab, &namespace, &names).await;
    let pods = lab.pods(&namespace);
    let (alive, dead) = names.split_at(BEFORE);
    let (slowest, took) = drain_all(&pods, alive).await;
    println!("{} Pods drained, the webhook alive: {took:?}, the longest request {slowest:?}", alive.len());
    replica.signal("STOP");
    let probe: Pod = serde_json::from_value(pod("probe")).expect("pod");
    let begin = Instant::now();
    pods.create(&PostParams::default(), &probe).await.expect_err("nobody answers, and the registration says Fail");
    assert!(begin.elapsed() >= CALL, "a call takes its time: {:?}", begin.elapsed());
    let called = lab.server.calls().await;
    let (slowest, took) = drain_all(&pods, dead).await;
    println!("{} Pods drained, the webhook stopped: {took:?}, the longest request {slowest:?}", dead.len());
    assert_eq!(lab.server.calls().await, called, "nobody asked for us");
    assert!(slowest < CALL, "a request took {slowest:?}");
}
