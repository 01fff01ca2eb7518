//! Threat T8: whatever one caller does, others are answered.

use crate::harness::{Edge, PATIENCE, limits, post, read_to_end};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post as route;
use probelet_webhook::server::Limits;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn echo() -> Router {
    Router::new()
        .route("/echo", route(async |body: Bytes| body))
        .route("/panic", route(async || -> &'static str { panic!("on purpose") }))
        .route("/never", route(async || std::future::pending::<&'static str>().await))
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let edge = Edge::start(limits(), echo()).await;
    let mut silent = edge.tcp().await;
    let start = Instant::now();
    assert_eq!(read_to_end(&mut silent).await, "");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_handshake_and_then_nothing_is_closed() {
    let edge = Edge::start(limits(), echo()).await;
    let mut idle = edge.tls("http/1.1").await;
    let mut some = Vec::new();
    tokio::time::timeout(PATIENCE, idle.read_to_end(&mut some)).await.expect("closed").ok();
}

#[tokio::test]
async fn http_2_alone_is_not_spoken() {
    let edge = Edge::start(limits(), echo()).await;
    let refused = crate::harness::connect(edge.tcp().await, crate::harness::client(&[&edge.material], "h2")).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("NoApplicationProtocol")));
}

#[tokio::test]
async fn a_connection_that_waits_for_its_next_request_outlives_the_time_for_a_header() {
    let edge = Edge::start(Limits { idle: PATIENCE, ..limits() }, echo()).await;
    let mut sender = edge.connect().await;
    assert_eq!(post(&mut sender, "first").await.expect("answer").0, 200);
    tokio::time::sleep(2 * limits().header).await; // the time that must not count
    assert_eq!(post(&mut sender, "second").await.expect("answer").0, 200);
}

#[tokio::test]
async fn a_header_that_drips_after_a_good_request_is_cut_off_too() {
    let edge = Edge::start(Limits { idle: PATIENCE, ..limits() }, echo()).await;
    let mut stream = edge.tls("http/1.1").await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi").await.expect("request");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost").await.expect("half a header");
    let begin = Instant::now();
    read_to_end(&mut stream).await;
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_header_that_drips_is_cut_off() {
    let edge = Edge::start(limits(), echo()).await;
    let mut stream = edge.tls("http/1.1").await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\n").await.expect("first lines");
    let dripping = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if stream.write_all(b"x: y\r\n").await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, dripping).await.expect("the server hangs up");
}

#[tokio::test]
async fn a_body_that_drips_is_answered_408() {
    let edge = Edge::start(limits(), echo()).await;
    let answer = edge.raw(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nab").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("the body did not come within 1s"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_413_announced_or_not() {
    let edge = Edge::start(limits(), echo()).await;
    let answer = edge.raw(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 262145\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("the body is larger than 262144 bytes"), "{answer}");
    let mut chunked = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..5 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend(std::iter::repeat_n(b'x', 0x10000));
        chunked.extend_from_slice(b"\r\n");
    }
    let answer = edge.raw(&chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let (status, body) = post(&mut edge.connect().await, vec![b'x'; 262_144]).await.expect("answer");
    assert_eq!((status, body.len()), (200, 262_144), "the largest one passes");
}

#[tokio::test]
async fn garbage_ends_its_connection_and_no_other() {
    let edge = Edge::start(Limits { idle: PATIENCE, ..limits() }, echo()).await;
    let mut sender = edge.connect().await;
    for garbage in
        [&b"\x16\x03\x01\xff\xff"[..], b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n", &[0; 4096], &[0xff; 70_000]]
    {
        let mut stream = edge.tcp().await;
        let _ = stream.write_all(garbage).await;
        read_to_end(&mut stream).await;
        let answer = edge.raw(garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert_eq!(post(&mut sender, "still here").await.expect("answer").0, 200);
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_goes_on() {
    let edge = Edge::start(limits(), echo()).await;
    let mut sender = edge.connect().await;
    let request =
        http::Request::post("https://localhost/panic").body(http_body_util::Full::default()).expect("request");
    assert_eq!(sender.send_request(request).await.expect("answer").status(), 500);
    assert_eq!(post(&mut sender, "on").await.expect("answer"), (200, "on".to_owned()));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_503() {
    let edge = Edge::start(limits(), echo()).await;
    let mut sender = edge.connect().await;
    let request =
        http::Request::post("https://localhost/never").body(http_body_util::Full::default()).expect("request");
    assert_eq!(sender.send_request(request).await.expect("answer").status(), 503);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_there_is_room_again_after() {
    let edge = Edge::start(Limits { connections: 2, handshake: PATIENCE, ..limits() }, echo()).await;
    let (first, _second) = (edge.tcp().await, edge.tcp().await);
    let mut third = edge.tcp().await;
    assert_eq!(read_to_end(&mut third).await, "");
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let attempt =
            crate::harness::connect(edge.tcp().await, crate::harness::client(&[&edge.material], "http/1.1")).await;
        if attempt.is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "no room again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_callers_do_not_slow_an_honest_one() {
    let edge = Edge::start(Limits { connections: 4096, ..Limits::default() }, echo()).await;
    let mut sender = edge.connect().await;
    let alone = worst(&mut sender).await;
    let mut slow = Vec::new();
    for index in 0..2_000 {
        let mut stream = edge.tcp().await;
        if index % 2 == 0 {
            // The beginning of a handshake.
            stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.expect("written");
        }
        slow.push(stream);
    }
    let beside = worst(&mut sender).await;
    // A busy machine is slow without them, too.
    assert!(beside < Duration::from_millis(250).max(alone * 4), "99th percentile {beside:?}, alone {alone:?}");
    assert_eq!(post(&mut edge.connect().await, "new").await.expect("a new connection is served too").0, 200);
}

/// The 99th percentile of 200 requests.
async fn worst(sender: &mut crate::harness::Sender) -> Duration {
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        assert_eq!(post(sender, vec![b'x'; 9_000]).await.expect("answer").0, 200);
        times.push(start.elapsed());
    }
    times.sort();
    times[197]
}
