//! Fault F20: watches that cannot be continued.

use crate::api::{Lab, create, eventually, pod, within};
use crate::markers::{api, injected, marker};
use crate::proxy::Proxy;
use crate::replica::Replica;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use std::time::{Duration, Instant};

#[tokio::test]
async fn after_a_restart_and_a_compaction_it_knows_what_a_list_says() {
    let lab = Lab::turn().await;
    let replica = Replica::ready(&lab, &[]).await;
    eventually("it leads", async || replica.leads().then_some(())).await;
    let namespace = lab.opted_in("compacted").await;
    let markers = api(&lab, &namespace);
    create(&markers, marker("up", "example.io/up")).await;
    injected(&lab, &namespace, "p").await;
    replica.signal("STOP");
    markers.delete("up", &DeleteParams::default()).await.expect("deleted");
    create(&markers, marker("idle", "example.io/idle")).await;
    lab.server.compact();
    lab.server.restart().await;
    replica.signal("CONT");
    let resumed = Instant::now();
    let list = "kruise.io/podprobemarker-list";
    within(Duration::from_secs(10), "admission knows", async || {
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let probe: Pod = serde_json::from_value(pod("probe")).expect("pod");
        let seen = lab.pods(&namespace).create(&dry, &probe).await.ok()?;
        (seen.annotations().get(list).is_some_and(|names| names == "idle")).then_some(())
    })
    .await;
    let admission = resumed.elapsed();
    within(Duration::from_secs(10), "the running Pod follows", async || {
        let found = lab.pods(&namespace).get("p").await.ok()?;
        (found.annotations().get(list).is_some_and(|names| names == "idle")).then_some(())
    })
    .await;
    println!("admission knew after {admission:?}, the running Pod followed after {:?}", resumed.elapsed());
    assert!(resumed.elapsed() < Duration::from_secs(10), "{:?}", resumed.elapsed());
    assert!(replica.metric("probelet_watch_errors_total").is_some_and(|errors| errors > 0.0), "no watch broke off");
}

#[tokio::test]
#[ignore = "a minute and more: `cargo test -p probelet-webhook --test controller -- --ignored --nocapture`"]
async fn watches_that_fell_silent_are_opened_anew() {
    let lab = Lab::turn().await;
    let proxy = Proxy::start(lab.server.port());
    let replica = Replica::start_by(&lab, proxy.port, &[]);
    replica.register(&lab).await;
    replica.wait_until_ready().await;
    let namespace = lab.opted_in("silent").await;
    let markers = api(&lab, &namespace);
    create(&markers, marker("up", "example.io/up")).await;
    injected(&lab, &namespace, "p").await;
    proxy.silence();
    markers.delete("up", &DeleteParams::default()).await.expect("deleted");
    create(&markers, marker("idle", "example.io/idle")).await;
    let silenced = Instant::now();
    let list = "kruise.io/podprobemarker-list";
    within(Duration::from_secs(100), "the running Pod follows", async || {
        let found = lab.pods(&namespace).get("p").await.ok()?;
        (found.annotations().get(list).is_some_and(|names| names == "idle")).then_some(())
    })
    .await;
    println!("{:?} after its connections had fallen silent the running Pod followed", silenced.elapsed());
}
