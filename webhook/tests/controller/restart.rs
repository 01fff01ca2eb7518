//! Fault F20: watches that cannot be continued.

use crate::api::{Lab, create, eventually, pod, within};
use crate::markers::{api, injected, marker};
use crate::proxy::Proxy;
use crate::replica::Replica;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use probelet_tests::namespace::Namespace;
use std::net::TcpListener;
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

/// Where the API server is to be found in the network that loses packets.
const PORT: u16 = 6443;

#[tokio::test]
async fn a_peer_that_vanished_without_a_word_is_found_within_seconds() {
    let mut network = match Namespace::new() {
        Ok(network) => network,
        Err(error) => {
            eprintln!("\nSKIPPED, nothing is shown of connections that die in silence: {error:#}\n");
            return;
        }
    };
    let lab = Lab::turn().await;
    let namespace = lab.opted_in("vanished").await;
    let markers = api(&lab, &namespace);
    create(&markers, marker("up", "example.io/up")).await;
    let admits = Replica::ready(&lab, &[]).await;
    injected(&lab, &namespace, "p").await;
    drop(admits);
    let _ = lab.leases().delete("probelet-webhook", &DeleteParams::default()).await;
    let listener = network.within(|| TcpListener::bind(("127.0.0.1", PORT))).expect("network").expect("port");
    Proxy::start_on(listener, lab.server.port());
    let _replica = Replica::start_within(&lab, &network, PORT, &[]);
    let named = async |name: &str| {
        let found = lab.pods(&namespace).get("p").await.ok()?;
        found.annotations().get("kruise.io/podprobemarker-list").is_some_and(|names| names == name).then_some(())
    };
    let exchange = async |old: &str, new: &str| {
        create(&markers, marker(new, "example.io/new")).await;
        markers.delete(old, &DeleteParams::default()).await.expect("deleted");
    };
    exchange("up", "idle").await;
    eventually("its watches stand", async || named("idle").await).await;

    network.vanish().expect("ip");
    let (vanished, open) = (Instant::now(), network.lost(PORT).expect("table"));
    assert!(open > 5, "{open} connections: those of its watches");
    exchange("idle", "late").await;
    within(Duration::from_secs(15), "the running Pod follows", async || named("late").await).await;
    let followed = vanished.elapsed();
    assert!(followed > Duration::from_secs(2), "its packets were not lost: {followed:?}");
    // One that was asked for something in the last moment is found so much later.
    within(Duration::from_secs(10), "every dead connection is let go", async || {
        (network.lost(PORT).expect("table") == 0).then_some(())
    })
    .await;
    println!(
        "{open} connections died in silence: the Pod followed after {followed:?}, the last was let go after {:?}",
        vanished.elapsed()
    );
    let other = lab.opted_in("vanished-after").await;
    let bindings: Api<RoleBinding> = Api::namespaced(lab.client.clone(), &other);
    let there = async || bindings.get_opt("probelet-sidecar").await.expect("answer");
    within(Duration::from_secs(10), "namespaces are watched again", there).await;
}
