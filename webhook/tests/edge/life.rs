//! Certificates change and processes end while requests come.

use crate::harness::{Edge, HOUR, PATIENCE, client, connect, limits, material, parsed, post, speak};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post as route;
use probelet_webhook::certificate::plan::Step;
use probelet_webhook::certificate::tls::{Served, server_config};
use probelet_webhook::certificate::{Validity, parse_certificates, renew};
use probelet_webhook::server::{Limits, Phase};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, oneshot};

fn echo() -> Router {
    Router::new().route("/echo", route(async |body: Bytes| body))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_authority_and_certificate_are_exchanged() {
    let edge = Edge::start(Limits { idle: HOUR, ..limits() }, echo()).await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut held = edge.connect().await;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let validity = Validity { serving: HOUR, authority: HOUR };
    let mut now = edge.material.clone();
    for round in 0..10 {
        // Trusted first, then signed with: what a client with either bundle sees is always good.
        let next = renew(&now, Step::AddAuthority, SystemTime::now(), &names, validity).expect("authority");
        let next = renew(&next, Step::SignServing, SystemTime::now(), &names, validity).expect("serving");
        let load: Vec<_> = (0..4)
            .map(|_| {
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                let (address, config) = (edge.address, client(&[&next], "http/1.1"));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let stream = tokio::net::TcpStream::connect(address).await.expect("connects");
                        let mut sender = speak(connect(stream, config.clone()).await.expect("handshake")).await;
                        assert_eq!(post(&mut sender, "new connection").await.expect("answer").0, 200);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let target = answered.load(Ordering::Relaxed) + 20;
        while answered.load(Ordering::Relaxed) < target {
            assert_eq!(post(&mut held, "held connection").await.expect("answer").0, 200, "round {round}");
        }
        edge.served.set(&parsed(&next)).expect("exchanged");
        let target = answered.load(Ordering::Relaxed) + 20;
        while answered.load(Ordering::Relaxed) < target {
            assert_eq!(post(&mut held, "held connection").await.expect("answer").0, 200, "round {round}");
        }
        stop.store(true, Ordering::Relaxed);
        for client in load {
            client.await.expect("no client saw an error");
        }
        stop.store(false, Ordering::Relaxed);
        now = next;
    }
    let fresh = connect(edge.tcp().await, client(&[&now], "http/1.1")).await.expect("handshake");
    let seen = fresh.get_ref().1.peer_certificates().expect("certificates")[0].clone();
    assert_eq!(seen, now.serving.der, "the newest one is served");
}

#[tokio::test]
async fn a_pair_that_does_not_match_leaves_the_one_before() {
    let edge = Edge::start(limits(), echo()).await;
    let other = material();
    let torn = probelet_webhook::certificate::Parsed {
        chain: parse_certificates("x", other.serving_chain.as_bytes()).expect("chain"),
        key: PrivateKeyDer::from_pem_slice(edge.material.serving_key.as_bytes()).expect("key"),
    };
    edge.served.set(&torn).expect_err("refused");
    assert_eq!(post(&mut edge.connect().await, "on").await.expect("answer").0, 200);
}

#[tokio::test]
async fn a_caller_without_certificate_is_refused_where_one_is_asked_for() {
    let (material, served) = (material(), Served::default());
    served.set(&parsed(&material)).expect("served");
    let tls = server_config(&served, Some(&material.authorities)).expect("tls");
    let edge = Edge::with(material, served, tls, limits(), echo()).await;
    // In TLS 1.3 the client believes that it is done before the server has looked.
    let outcome = async {
        let stream = connect(edge.tcp().await, client(&[&edge.material], "http/1.1")).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        post(&mut sender, "who am I").await.map_err(std::io::Error::other)
    };
    tokio::time::timeout(PATIENCE, outcome).await.expect("in time").expect_err("refused");
}

#[tokio::test]
async fn an_end_answers_the_request_in_hand_and_takes_no_new_connection() {
    let (reached_out, reached) = oneshot::channel();
    let (reached_out, go) = (std::sync::Mutex::new(Some(reached_out)), Arc::new(Notify::new()));
    let reached_out = Arc::new(reached_out);
    let wait = Arc::clone(&go);
    let slow = async move || {
        reached_out.lock().expect("lock").take().expect("one request").send(()).expect("test waits");
        wait.notified().await;
        "answered"
    };
    let edge = Edge::start(Limits { request: PATIENCE, ..limits() }, echo().route("/slow", route(slow))).await;
    let mut sender = edge.connect().await;
    assert_eq!(post(&mut sender, "before").await.expect("answer").0, 200);
    let request = http::Request::post("https://localhost/slow").body(http_body_util::Full::default()).expect("request");
    let in_hand = tokio::spawn(sender.send_request(request));
    reached.await.expect("the handler runs");
    edge.phase.send_replace(Phase::Closing);
    // The connection says goodbye, and no new one is taken.
    tokio::time::timeout(PATIENCE, async {
        while tokio::net::TcpStream::connect(edge.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("new connections are refused");
    assert!(!edge.serving.is_finished(), "it waits for the request in hand");
    go.notify_one();
    assert_eq!(in_hand.await.expect("task").expect("answer").status(), 200);
    tokio::time::timeout(PATIENCE, edge.serving).await.expect("it ends").expect("without panic");
}

#[tokio::test]
async fn while_it_drains_every_call_is_answered_and_its_connection_given_back_by_the_caller() {
    let edge = Edge::start(Limits { idle: HOUR, ..limits() }, echo()).await;
    let mut idle = edge.connect().await;
    assert_eq!(post(&mut idle, "kept").await.expect("answer").0, 200);
    let hold = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\non";
    let open = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nend";
    let before = edge.raw(format!("{hold}{open}").as_bytes()).await;
    assert_eq!(before.matches("HTTP/1.1 200 OK").count(), 2, "a connection is kept before: {before}");
    edge.phase.send_replace(Phase::Draining);
    // New connections are taken: endpoints still lead here. `raw` reads until this end closes, which nothing but the answer's
    // own header can have asked for.
    for _ in 0..3 {
        let answer = edge.raw(hold.as_bytes()).await.to_lowercase();
        assert!(answer.starts_with("http/1.1 200 ok") && answer.contains("connection: close"), "{answer}");
    }
    // One that was idle is not closed under its caller's hands; it has one more call.
    assert!(!idle.is_closed(), "closed from this end");
    assert_eq!(post(&mut idle, "last").await.expect("answer").0, 200);
    tokio::time::timeout(PATIENCE, async {
        while !idle.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("given back after its last call");
    assert!(!edge.serving.is_finished(), "it serves on");
}

#[tokio::test]
async fn an_idle_keep_alive_connection_is_given_back() {
    let edge = Edge::start(limits(), echo()).await;
    let mut sender = edge.connect().await;
    assert_eq!(post(&mut sender, "once").await.expect("answer").0, 200);
    tokio::time::timeout(PATIENCE, async {
        while !sender.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("closed when idle");
}
