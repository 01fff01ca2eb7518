//! Fault F8: connections whose packets are dropped without a word.

use super::app::{App, Folder};
use super::net::{alone, runtime};
use super::sidecar::{Options, Sidecar};
use super::stub::{Reply, Stub, label, pod};
use std::time::{Duration, Instant};

#[test]
fn a_kept_connection_that_dies_in_silence_is_replaced_within_five_seconds() {
    alone("silence::a_kept_connection_that_dies_in_silence_is_replaced_within_five_seconds", |net| {
        runtime().block_on(async {
            let mut app = App::start().await;
            // What is sent on the dead connection is lost.
            let stub = Stub::start(pod(), |number, seen| match number > 0 && seen.connection == 0 {
                true => Reply::Hang,
                false => Reply::Serve,
            })
            .await;
            let folder = Folder::new(&stub.ca, "t");
            let _sidecar = Sidecar::start(&stub, &folder, app.port, Options { has_shield: true, ..Default::default() });
            stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
            tokio::time::sleep(Duration::from_millis(300)).await; // until it is answered
            net.vanish(stub.port);
            app.fail();
            let begin = Instant::now();
            stub.until("down", |pod| label(pod, "up") == Some("no")).await;
            let took = begin.elapsed();
            assert!(took > Duration::from_secs(2), "its packets were not lost: {took:?}");
            assert!(took < Duration::from_secs(5), "{took:?}");
        });
    });
}

#[test]
fn a_watch_that_dies_in_silence_is_begun_anew_within_ten_seconds() {
    alone("silence::a_watch_that_dies_in_silence_is_begun_anew_within_ten_seconds", |net| {
        runtime().block_on(async {
            let app = App::start().await;
            let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
            let folder = Folder::new(&stub.ca, "t");
            let _sidecar = Sidecar::start(&stub, &folder, app.port, Options { has_watch: true, ..Default::default() });
            stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
            net.vanish(stub.port);
            stub.edit(|pod| pod["metadata"]["labels"] = serde_json::json!({}));
            let begin = Instant::now();
            stub.until("healed", |pod| label(pod, "up") == Some("yes")).await;
            let took = begin.elapsed();
            assert!(took > Duration::from_secs(2), "its packets were not lost: {took:?}");
            assert!(took < Duration::from_secs(10), "{took:?}");
        });
    });
}
