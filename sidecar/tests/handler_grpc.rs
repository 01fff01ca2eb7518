//! grpc probes against real HTTP/2 servers on loopback: kubernetes/kubernetes:pkg/probe/grpc/grpc_test.go, every answer that
//! a server can give, and servers that mean ill (fault F25).

#[path = "handler_grpc/server.rs"]
mod server;

use probelet_protocol::plan::Plan;
use probelet_protocol::setting::ProbeHost;
use probelet_sidecar::exec::AgentsHandle;
use probelet_sidecar::handler::{Handler, Target};
use probelet_sidecar::outcome::Outcome::{self, Failure, Success};
use server::{Script, answer, serve};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);
/// What a busy machine may add; without a timeout these servers would hold a probe for ever.
const BUSY: Duration = Duration::from_secs(5);

async fn check(port: u16, service: &str, timeout: Duration) -> Outcome {
    handler(port, service).run(timeout).await.expect("run")
}

fn handler(port: u16, service: &str) -> Handler {
    let text = format!(
        r#"[{{"name":"p","containerName":"main","podConditionType":"c","probe":{{"grpc":{{"port":{port},"service":"{service}"}}}}}}]"#
    );
    let plan = Plan::parse(Some(&text), None).expect("plan");
    let target = Target {
        host: ProbeHost::Auto,
        pod_ips: Vec::new(),
        ports: Arc::default(),
        agents: AgentsHandle::none(),
        version: "test",
    };
    Handler::try_new(&plan.probes[0], &target).expect("handler")
}

#[tokio::test]
async fn answers_count_as_kubelet_counts_them() {
    let failed = |text: &str| Failure(format!("error: health rpc probe failed: rpc error: code = {text}"));
    let not_health = |text: &str| {
        Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {text}"
        ))
    };
    let unhealthy = |text: &str| Failure(format!("service unhealthy (responded with \"{text}\")"));
    let html = || ("content-type", "text/html; charset=utf-8".to_owned());
    for (script, expected) in [
        (Script::message(&[8, 1]), Success("service healthy".into())),
        (Script::message(&[8, 2]), unhealthy("NOT_SERVING")),
        (Script::message(&[]), unhealthy("UNKNOWN")),
        (Script::message(&[8, 3]), unhealthy("SERVICE_UNKNOWN")),
        (Script::message(&[8, 9]), unhealthy("9")),
        (Script::message(&[8]), failed("Internal desc = grpc: failed to unmarshal the received message")),
        (Script::status("5", "unknown service"), failed("NotFound desc = unknown service")),
        (
            Script::status("12", "unknown service grpc.health.v1.Health"),
            not_health("unknown service grpc.health.v1.Health"),
        ),
        (Script::status("13", "50%25 gone: %E4%B8%AD 7%"), failed("Internal desc = 50% gone: 中 7%")),
        (Script::status("4", "too late"), Failure("timeout: health rpc did not complete within 10s".into())),
        (Script::status("42", "x"), failed("Code(42) desc = x")),
        (
            Script { status: 503, headers: vec![html()], ..Script::default() },
            failed(
                "Unavailable desc = unexpected HTTP status code received from server: 503 (Service Unavailable); \
             transport: received unexpected content-type \"text/html; charset=utf-8\"",
            ),
        ),
        (
            Script { status: 404, ..Script::default() },
            not_health(
                "unexpected HTTP status code received from server: 404 (Not Found); malformed header: missing HTTP content-type",
            ),
        ),
        (
            Script { status: 200, headers: vec![html()], ..Script::default() },
            failed("Unknown desc = transport: received unexpected content-type \"text/html; charset=utf-8\""),
        ),
        (
            Script { data: Some(vec![0, 0, 0, 0, 2, 8, 1]), ..Script::grpc() },
            failed("Internal desc = server closed the stream without sending trailers"),
        ),
        (Script { trailers: Some(vec![]), ..Script::message(&[8, 1]) }, failed("Unknown desc = ")),
        (
            Script { data: Some(vec![1, 0, 0, 0, 2, 8, 1]), ..Script::message(&[8, 1]) },
            failed("Internal desc = grpc: compressed flag set with identity or empty encoding"),
        ),
        (
            Script { data: Some(vec![0; 20_000]), ..Script::message(&[]) },
            failed("ResourceExhausted desc = grpc: received message larger than max (16384)"),
        ),
        (
            Script { reset: Some(h2::Reason::CANCEL), ..Script::default() },
            failed("Canceled desc = stream terminated by RST_STREAM with error code: CANCEL"),
        ),
    ] {
        let (port, _requests) = serve(script).await;
        assert_eq!(check(port, "", LONG).await, expected);
    }
}

#[tokio::test]
async fn the_request_is_kubelets() {
    let (port, mut requests) = serve(Script::message(&[8, 1])).await;
    assert_eq!(check(port, "shop.v1.Cart", LONG).await, Success("service healthy".into()));
    let (parts, message) = requests.recv().await.expect("request");
    assert_eq!(parts.method, "POST");
    assert_eq!(parts.uri.to_string(), format!("http://127.0.0.1:{port}/grpc.health.v1.Health/Check"));
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!((header("content-type"), header("te")), ("application/grpc", "trailers"));
    assert_eq!(header("user-agent"), "kube-probe/test");
    assert!(header("grpc-timeout").ends_with('m'));
    assert_eq!(&message[..], b"\0\0\0\0\x0e\x0a\x0cshop.v1.Cart");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_apart_from_one_that_is_not_there() {
    let (port, _requests) = serve(Script { is_silent: true, ..Script::default() }).await;
    let start = Instant::now();
    let outcome = check(port, "", SHORT).await;
    assert_eq!(outcome, Failure("timeout: health rpc did not complete within 300ms".into()));
    assert!(start.elapsed() < SHORT + BUSY);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let expected =
        format!("timeout: failed to connect service \"127.0.0.1:{port}\" within 300ms: context deadline exceeded");
    assert_eq!(check(port, "", SHORT).await, Failure(expected));
}

#[tokio::test]
async fn a_server_that_comes_up_within_the_timeout_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let served = tokio::spawn(async move {
        // The first connection breaks, as of a server that is just starting.
        drop(listener.accept().await.expect("accept"));
        let (stream, _) = listener.accept().await.expect("accept");
        let mut connection = h2::server::handshake(stream).await.expect("handshake");
        while let Some(Ok((request, respond))) = connection.accept().await {
            let (sender, _) = tokio::sync::mpsc::unbounded_channel();
            tokio::spawn(answer(Script::message(&[8, 1]), request, respond, sender));
        }
    });
    assert_eq!(check(port, "", LONG).await, Success("service healthy".into()));
    served.abort();
}

/// Fault F26: whatever the status says.
#[tokio::test]
async fn a_probe_leaves_at_most_two_connections_waiting() {
    let scripts = [
        Script::message(&[8, 1]),
        Script::status("5", "unknown service"),
        Script::status("12", "unknown service grpc.health.v1.Health"),
        Script { trailers: Some(vec![("grpc-status", "13".into())]), ..Script::message(&[8, 1]) },
    ];
    let mut servers = Vec::new();
    for script in scripts {
        let (port, requests) = serve(script).await;
        servers.push((port, handler(port, ""), requests));
    }
    let mut period = tokio::time::interval(Duration::from_millis(1100));
    for _ in 0..5 {
        period.tick().await;
        for (_, handler, _) in &servers {
            handler.run(LONG).await.expect("run");
        }
    }
    period.tick().await;
    for (port, ..) in &servers {
        assert!(waiting(*port) <= 2, "{} connections wait", waiting(*port));
    }
}

/// Connections of this server in TIME_WAIT.
fn waiting(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("table");
    let port = format!(":{port:04X} ");
    table.lines().filter(|line| line.contains(" 06 ") && line.contains(&port)).count()
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A server that says this once it was asked, and then that for ever.
async fn raw(first: Vec<u8>, cycle: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let (first, cycle) = (first.clone(), cycle.clone());
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await?;
                stream.write_all(&first).await?;
                while !cycle.is_empty() {
                    stream.write_all(&cycle).await?;
                    tokio::task::yield_now().await;
                }
                // Reads to the end, so that what was sent is not reset.
                while stream.read(&mut [0; 1024]).await? > 0 {}
                std::io::Result::Ok(())
            });
        }
    });
    port
}

#[tokio::test]
async fn what_is_not_grpc_is_a_failure() {
    for (first, expected) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "timeout: failed to connect service"),
        (b"220 smtp ready\r\n".to_vec(), "timeout: failed to connect service"),
        (Vec::new(), "timeout: failed to connect service"),
        (
            [frame(4, 0, 0, &[]), b"garbage that is too long a frame".to_vec()].concat(),
            "error: health rpc probe failed: rpc error: code = Unavailable",
        ),
        (
            [frame(4, 0, 0, &[]), frame(7, 0, 0, &[0; 8])].concat(),
            "error: health rpc probe failed: rpc error: code = Unavailable desc = the connection is draining",
        ),
        (
            [frame(4, 0, 0, &[]), frame(1, 4, 1, &[0xbe])].concat(),
            "error: health rpc probe failed: rpc error: code = Internal desc = headers cannot be decoded",
        ),
        (
            [frame(4, 0, 0, &[]), frame(5, 4, 1, &[0; 4])].concat(),
            "error: health rpc probe failed: rpc error: code = Unavailable desc = server pushes",
        ),
        (
            [frame(4, 0, 0, &[]), frame(0, 8, 1, &[9, 1])].concat(),
            "error: health rpc probe failed: rpc error: code = Unavailable desc = malformed frame",
        ),
        (
            [frame(4, 0, 0, &[]), frame(9, 4, 1, &[])].concat(),
            "error: health rpc probe failed: rpc error: code = Unavailable desc = header block without a start",
        ),
        (
            [frame(4, 0, 0, &[]), frame(1, 0, 1, &[]), frame(0, 0, 1, &[])].concat(),
            "error: health rpc probe failed: rpc error: code = Unavailable desc = header block is interrupted",
        ),
    ] {
        let port = raw(first.clone(), Vec::new()).await;
        let Failure(message) = check(port, "", SHORT).await else { panic!("success of {first:?}") };
        assert!(message.starts_with(expected), "{message}");
    }
}

/// A server that uses a dynamic table, although our settings ask for none.
#[tokio::test]
async fn fields_of_a_dynamic_table_are_understood() {
    let text = |first: u8, texts: &[&str]| {
        let texts = texts.iter().flat_map(|text| [&[text.len() as u8], text.as_bytes()].concat());
        [first].into_iter().chain(texts).collect::<Vec<_>>()
    };
    let headers = [vec![0x88], text(0x5f, &["application/grpc"]), text(0x40, &["grpc-status", "0"])].concat();
    let answer = [
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &headers),
        frame(0, 0, 1, &[0, 0, 0, 0, 2, 8, 1]),
        frame(1, 5, 1, &[0xbe]),
    ];
    let port = raw(answer.concat(), Vec::new()).await;
    assert_eq!(check(port, "", LONG).await, Success("service healthy".into()));
}

/// Fault F25, RUSTSEC-2026-0258: floods end at the timeout, in little memory.
#[tokio::test]
async fn floods_end_at_the_timeout() {
    let settings = || frame(4, 0, 0, &[]);
    let headers = || {
        frame(
            1,
            4,
            1,
            &[
                0x88, 0x0f, 0x10, 16, b'a', b'p', b'p', b'l', b'i', b'c', b'a', b't', b'i', b'o', b'n', b'/', b'g',
                b'r', b'p', b'c',
            ],
        )
    };
    let before = resident();
    for (name, first, cycle) in [
        ("empty DATA", [settings(), headers()].concat(), frame(0, 0, 1, &[])),
        ("padded DATA", [settings(), headers()].concat(), frame(0, 8, 1, &[100; 101])),
        ("CONTINUATION", [settings(), frame(1, 0, 1, &[])].concat(), frame(9, 0, 1, &[])),
        ("SETTINGS", settings(), settings()),
        ("PING", settings(), frame(6, 0, 0, &[0; 8])),
        ("unknown", settings(), frame(200, 0, 0, &[0; 1000])),
        ("WINDOW_UPDATE", settings(), frame(8, 0, 0, &[0, 0, 0, 1])),
        ("foreign streams", settings(), frame(1, 5, 3, &[0x88])),
    ] {
        let port = raw(first, cycle.repeat(50)).await;
        let start = Instant::now();
        let outcome = check(port, "", SHORT).await;
        assert_eq!(outcome, Failure("timeout: health rpc did not complete within 300ms".into()), "{name}");
        assert!(start.elapsed() < SHORT + BUSY, "{name}: {:?}", start.elapsed());
    }
    // A header block without end is refused at its limit.
    let port = raw([settings(), frame(1, 0, 1, &[])].concat(), frame(9, 0, 1, &[0x88; 1000])).await;
    let Failure(message) = check(port, "", LONG).await else { panic!("success") };
    assert!(message.ends_with("peer header list size exceeded limit"), "{message}");
    // Other tests, and their servers, run beside this one.
    assert!(resident() < before + 4096, "{} KiB, {before} KiB before", resident());
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("number").parse().expect("number")
}
