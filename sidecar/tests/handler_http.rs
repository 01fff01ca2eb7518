//! httpGet probes against real servers on loopback: kubernetes/kubernetes:pkg/probe/http/http_test.go case by case, and
//! servers that mean ill (faults F25, F26; threats T5, T11).

#[path = "handler_http/server.rs"]
mod server;

use probelet_protocol::plan::Plan;
use probelet_protocol::setting::ProbeHost;
use probelet_sidecar::exec::AgentsHandle;
use probelet_sidecar::handler::{Handler, HandlerError, Target};
use probelet_sidecar::outcome::Outcome::{self, Failure, Success};
use server::Server;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const LONG: Duration = Duration::from_secs(10);
/// What a busy machine may add; without a timeout these runs would not end.
const BUSY: Duration = Duration::from_secs(5);

fn handler(json: &str) -> Result<Handler, HandlerError> {
    handler_with_ips(json, &[])
}

fn handler_with_ips(json: &str, pod_ips: &[&str]) -> Result<Handler, HandlerError> {
    let text = format!(r#"[{{"name":"p","containerName":"main","podConditionType":"c","probe":{json}}}]"#);
    let plan = Plan::parse(Some(&text), None).expect("plan");
    let pod_ips = pod_ips.iter().map(|ip| ip.parse::<IpAddr>().expect("address")).collect();
    let ports = serde_json::from_str(r#"{"main":{"web":8080}}"#).expect("ports");
    let ports = std::sync::Arc::new(ports);
    let target = Target { host: ProbeHost::Auto, pod_ips, ports, agents: AgentsHandle::none(), version: "test" };
    Handler::try_new(&plan.probes[0], &target)
}

async fn get(port: u16, rest: &str, timeout: Duration) -> Outcome {
    let handler = handler(&format!(r#"{{"httpGet":{{"port":{port}{rest}}}}}"#)).expect("handler");
    handler.run(timeout).await.expect("run")
}

#[tokio::test]
async fn statuses_count_as_kubelet_counts_them() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nok body", Success("ok body".into())),
        ("HTTP/1.0 200 OK\r\n\r\nold", Success("old".into())),
        ("HTTP/1.1 204 No Content\r\n\r\n", Success(String::new())),
        ("HTTP/1.1 304 No\r\n\r\n", Success("Probe terminated redirects, Response body: ".into())),
        (
            "HTTP/1.1 302 No\r\nContent-Length: 1\r\n\r\nx",
            Success("Probe terminated redirects, Response body: x".into()),
        ),
        (
            "HTTP/1.1 400 No\r\nContent-Length: 6\r\n\r\nsecret",
            Failure("HTTP probe failed with statuscode: 400".into()),
        ),
        ("HTTP/1.1 503 No\r\n\r\n", Failure("HTTP probe failed with statuscode: 503".into())),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Failure("HTTP probe failed with statuscode: 101".into())),
    ] {
        let server = Server::answering(answer).await;
        assert_eq!(get(server.port(), "", LONG).await, expected, "{answer:?}");
    }
}

#[tokio::test]
async fn broken_answers_are_failures_with_the_url() {
    for (answer, expected) in [
        ("", "EOF"),
        ("garbage\r\n", "net/http: HTTP/1.x transport connection broken: malformed HTTP response \"garbage\""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "unexpected EOF"),
    ] {
        let server = Server::answering(answer).await;
        let url = format!("Get \"http://127.0.0.1:{}/x?y\": ", server.port());
        assert_eq!(get(server.port(), r#","path":"/x?y""#, LONG).await, Failure(format!("{url}{expected}")));
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_that_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let expected = format!("Get \"http://127.0.0.1:{port}\": dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(get(port, "", LONG).await, Failure(expected));
}

#[tokio::test]
async fn the_request_is_the_one_that_was_asked_for() {
    let server = Server::echo().await;
    let rest = r#","path":"/a?b=\"c\"","httpHeaders":[{"name":"x-a","value":"1"},{"name":"X-A","value":"2"},{"name":"Host","value":"muffins.cupcakes.org"}]"#;
    let Success(request) = get(server.port(), rest, LONG).await else { panic!("not a success") };
    let expected = "GET /a?b=\"c\" HTTP/1.1\r\nHost: muffins.cupcakes.org\r\nUser-Agent: kube-probe/test\r\n\
                    Accept: */*\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n";
    assert_eq!(request, expected);
}

#[tokio::test]
async fn every_run_is_a_fresh_connection() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let handler = handler(&format!(r#"{{"httpGet":{{"port":{}}}}}"#, server.port())).expect("handler");
    for _ in 0..3 {
        assert_eq!(handler.run(LONG).await, Ok(Success(String::new())));
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_body_is_told_up_to_1024_bytes_at_a_character() {
    let body = format!("x{}", "é".repeat(10_000));
    let server = Server::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(get(server.port(), "", LONG).await, Success(format!("x{}", "é".repeat(511))));
}

#[tokio::test]
async fn redirects_within_the_pod_are_followed() {
    let other = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere").await;
    let failing = Server::answering("HTTP/1.1 500 No\r\n\r\n").await;
    for status in [301, 302, 303, 307, 308] {
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
            let location = format!("http://{host}:{}/x", other.port());
            let server = Server::redirecting(status, &location).await;
            assert_eq!(get(server.port(), "", LONG).await, Success("there".into()), "{status} {location}");
        }
        let server = Server::redirecting(status, &format!("//127.0.0.1:{}/x", failing.port())).await;
        let expected = Failure("HTTP probe failed with statuscode: 500".into());
        assert_eq!(get(server.port(), "", LONG).await, expected);
    }
}

/// golang/go:src/net/http/client.go `do`: what is wrong with the body of a redirect is of no matter where it is followed.
#[tokio::test]
async fn the_body_of_a_redirect_matters_only_where_it_is_not_followed() {
    let cut = "Content-Length: 20\r\n\r\nx";
    let broken = "Transfer-Encoding: chunked\r\n\r\nnothing of this kind";
    for (rest, expected) in [
        (cut, "unexpected EOF"),
        ("Content-Length: 5000\r\n\r\nx", "unexpected EOF"),
        (broken, "invalid byte in chunk length"),
    ] {
        for (location, is_followed) in [("/ok", true), ("http://evil.example/", false)] {
            let server = Server::new(move |request| {
                if request.starts_with("GET /ok ") {
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere".into()
                } else {
                    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n{rest}")
                }
            })
            .await;
            let outcome = get(server.port(), "", LONG).await;
            if is_followed {
                assert_eq!(outcome, Success("there".into()), "{rest:?}");
            } else {
                let Failure(message) = outcome else { panic!("{outcome:?} of {rest:?}") };
                assert!(message.ends_with(expected), "{message} of {rest:?}");
            }
        }
    }
}

/// A body that does not come is waited for where it is short, and left where it is long.
#[tokio::test]
async fn a_redirect_whose_body_stalls_is_followed_where_the_body_is_long() {
    let there = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere").await;
    let there = format!("http://127.0.0.1:{}/x", there.port());
    let limit = Duration::from_millis(500);
    let waited = format!("Get {there:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
    for (length, limit, expected) in [
        ("Content-Length: 5000", LONG, Success("there".into())),
        ("Content-Length: 2048", limit, Failure(waited.clone())),
        ("Transfer-Encoding: chunked", limit, Failure(waited.clone())),
    ] {
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {there}\r\n{length}\r\n\r\n");
        let server = Server::dripping(&answer, "", Duration::ZERO).await;
        assert_eq!(get(server.port(), "", limit).await, expected, "{length}");
    }
}

/// Threat T5: a redirect that leads elsewhere is not followed, and counts as kubelet counts it.
#[tokio::test]
async fn redirects_elsewhere_are_a_success_with_a_warning() {
    for location in [
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/fail",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1%25eth0]/",
        "http://2130706433/",
        "http://evil.example/",
        "//evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://localhost./",
        "https://kubernetes.default.svc/",
        "ftp://evil.example/",
        "mailto:someone",
        "file:///etc/passwd",
        "http:///x",
        "http:\\\\evil.example",
    ] {
        let server = Server::redirecting(302, location).await;
        let expected = Success("Probe terminated redirects, Response body: moved".into());
        assert_eq!(get(server.port(), "", LONG).await, expected, "{location}");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn a_redirect_that_cannot_be_read_is_a_failure() {
    let server = Server::redirecting(302, "/%zz").await;
    let expected = format!(
        "Get \"http://127.0.0.1:{}\": failed to parse Location header \"/%zz\": parse \"/%zz\": invalid URL escape \"%zz\"",
        server.port()
    );
    assert_eq!(get(server.port(), "", LONG).await, Failure(expected));
    let server = Server::redirecting(302, "ftp://127.0.0.1/x").await;
    let expected = "Get \"ftp://127.0.0.1/x\": unsupported protocol scheme \"ftp\"";
    assert_eq!(get(server.port(), "", LONG).await, Failure(expected.into()));
}

#[tokio::test]
async fn a_redirect_loop_ends_after_ten_requests() {
    let server = Server::redirecting(302, "/loop").await;
    assert_eq!(get(server.port(), "", LONG).await, Failure("Get \"/loop\": stopped after 10 redirects".into()));
    assert_eq!(server.connections(), 10);
}

#[tokio::test]
async fn a_custom_host_stays_through_a_relative_redirect() {
    let server = Server::new(|request| {
        if request.starts_with("GET /redirect ") {
            "HTTP/1.1 302 Found\r\nLocation: /success\r\n\r\n".into()
        } else if request.contains("\r\nHost: www.success.com\r\n") {
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()
        } else {
            "HTTP/1.1 400 Bad Request\r\n\r\n".into()
        }
    })
    .await;
    let rest = |host: &str| format!(r#","path":"/redirect","httpHeaders":[{{"name":"Host","value":"{host}"}}]"#);
    assert_eq!(get(server.port(), &rest("www.success.com"), LONG).await, Success(String::new()));
    let failed = Failure("HTTP probe failed with statuscode: 400".into());
    assert_eq!(get(server.port(), &rest("www.fail.com"), LONG).await, failed);
}

/// Fault F25: whatever a server does, a run ends at its timeout.
#[tokio::test]
async fn ill_servers_are_left_at_the_timeout() {
    let awaiting = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    let reading = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
    for (first, cycle, pause, expected) in [
        ("", "", 1, awaiting),
        ("", "H", 20, "malformed"),
        ("HTTP/1.1 200 OK\r\n", "A: b\r\n", 1, awaiting),
        ("", "HTTP/1.1 100 Continue\r\n\r\n", 1, awaiting),
        ("HTTP/1.1 200 OK\r\nA: ", "x", 1, awaiting),
        ("HTTP/1.1 200 OK\r\n\r\n", "x", 1, reading),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", "x", 1, reading),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", 5, reading),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0", 5, reading),
    ] {
        let server = Server::dripping(first, cycle, Duration::from_millis(pause)).await;
        // Enough for the headers to come on a busy machine where they have to.
        let limit = Duration::from_millis(if expected == reading { 1000 } else { 300 });
        let start = Instant::now();
        let outcome = get(server.port(), "", limit).await;
        let took = start.elapsed();
        let Failure(message) = outcome else { panic!("{outcome:?} of {first:?} {cycle:?}") };
        if expected != "malformed" {
            assert!(message.ends_with(expected), "{message} of {first:?} {cycle:?}");
        }
        assert!(took >= limit && took < limit + BUSY, "{took:?} {first:?}");
    }
}

/// Fault F25 again, as fast as loopback carries it: memory and time stay bounded.
#[tokio::test]
async fn floods_end_in_time_and_in_little_memory() {
    let before = resident();
    for (first, cycle) in [
        ("HTTP/1.1 200 OK\r\n", "A: header\r\n"),
        ("HTTP/1.1 200 OK\r\nA: ", "no end to this line"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "endless extension"),
    ] {
        let server = Server::flooding(first, &cycle.repeat(100));
        let start = Instant::now();
        let outcome = get(server, "", Duration::from_millis(500)).await;
        assert!(matches!(outcome, Failure(_)), "{outcome:?}");
        assert!(start.elapsed() < BUSY, "{:?} {first:?}", start.elapsed());
    }
    let server = Server::flooding("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", &"x".repeat(4096));
    assert_eq!(get(server, "", LONG).await, Success("x".repeat(1024)));
    assert!(resident() < before + 2048, "{} KiB, {before} KiB before", resident());
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("number").parse().expect("number")
}

#[tokio::test]
async fn https_takes_any_certificate_and_asks_for_the_hosts_name() {
    let server = server::Tls::new().await;
    let rest = r#","scheme":"HTTPS","httpHeaders":[{"name":"Host","value":"shop.example:8443"}]"#;
    assert_eq!(get(server.port, rest, LONG).await, Success("name shop.example".into()));
    assert_eq!(get(server.port, r#","scheme":"HTTPS""#, LONG).await, Success("name none".into()));
    let redirect = Server::redirecting(307, &format!("https://localhost:{}/", server.port)).await;
    assert_eq!(get(redirect.port(), "", LONG).await, Success("name localhost".into()));
}

/// Many servers close so, and Go takes it for an end.
#[tokio::test]
async fn https_may_end_without_a_word() {
    let server = server::Tls::closing(false).await;
    assert_eq!(get(server.port, r#","scheme":"HTTPS""#, LONG).await, Success("name none".into()));
}

#[tokio::test]
async fn https_to_a_plain_server_says_so() {
    let server = Server::dripping("HTTP/1.1 400 Bad Request\r\n\r\n", "", Duration::ZERO).await;
    let port = server.port();
    let expected = format!("Get \"https://127.0.0.1:{port}\": http: server gave HTTP response to HTTPS client");
    assert_eq!(get(port, r#","scheme":"HTTPS""#, LONG).await, Failure(expected));
    let silent = Server::dripping("", "", Duration::from_secs(1)).await;
    let Failure(message) = get(silent.port(), r#","scheme":"HTTPS""#, Duration::from_millis(200)).await else {
        panic!("not a failure")
    };
    assert!(message.contains("TLS handshake timeout"), "{message}");
}

#[test]
fn what_can_never_run_is_refused_by_field() {
    for (json, expected) in [
        (r#"{"httpGet":{"port":0}}"#, "httpGet.port: port 0 is not between 1 and 65535"),
        (r#"{"httpGet":{"port":"nope"}}"#, "httpGet.port: container \"main\" has no port named \"nope\" (it has: web)"),
        (
            r#"{"httpGet":{"port":"web","scheme":"FTP"}}"#,
            "httpGet.scheme: \"FTP\" is not allowed: must be HTTP or HTTPS",
        ),
        (r#"{"httpGet":{"port":"web","path":"mailto:x"}}"#, "httpGet.path: \"mailto:x\" is not a path"),
        (r#"{"httpGet":{"port":"web","host":"169.254.169.254"}}"#, "httpGet.host: \"169.254.169.254\" is not allowed"),
        (r#"{"httpGet":{"port":"web","host":"evil.example"}}"#, "httpGet.host: \"evil.example\" is not allowed"),
        (r#"{"tcpSocket":{"port":"web","host":"2852039166"}}"#, "tcpSocket.host: \"2852039166\" is not allowed"),
        (r#"{"tcpSocket":{"port":65536}}"#, "tcpSocket.port: port 65536 is not between"),
        (
            r#"{"httpGet":{"port":"web","httpHeaders":[{"name":"a b","value":"x"}]}}"#,
            "httpGet.httpHeaders[0].name: \"a b\" is not a header name",
        ),
    ] {
        let error = handler(json).err().expect(json).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    for json in [
        r#"{"httpGet":{"port":"web","host":"127.0.0.1"}}"#,
        r#"{"httpGet":{"port":"81","scheme":"https","path":"a b"}}"#,
        r#"{"tcpSocket":{"port":"web","host":"localhost"}}"#,
    ] {
        assert!(handler(json).is_ok(), "{json}");
    }
    assert!(handler_with_ips(r#"{"tcpSocket":{"port":1,"host":"10.1.2.3"}}"#, &["10.1.2.3"]).is_ok());
}

#[tokio::test]
async fn tcp_succeeds_where_a_connection_is_accepted() {
    let listener = TcpListener::bind("[::1]:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let handler = handler(&format!(r#"{{"tcpSocket":{{"port":{port}}}}}"#)).expect("handler");
    assert_eq!(handler.run(LONG).await, Ok(Success(String::new())));
    drop(listener);
    let expected = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(handler.run(LONG).await, Ok(Failure(expected)));
}

#[tokio::test]
async fn tcp_times_out_where_nobody_accepts() {
    // A listener with a full queue drops what comes after.
    let socket = tokio::net::TcpSocket::new_v4().expect("socket");
    socket.bind("127.0.0.1:0".parse().expect("address")).expect("bind");
    let listener = socket.listen(1).expect("listen");
    let address = listener.local_addr().expect("address");
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(stream);
    }
    let handler = handler(&format!(r#"{{"tcpSocket":{{"port":{}}}}}"#, address.port())).expect("handler");
    let start = Instant::now();
    let outcome = handler.run(Duration::from_millis(200)).await;
    assert_eq!(outcome, Ok(Failure(format!("dial tcp {address}: i/o timeout"))));
    assert!(start.elapsed() < BUSY);
}

/// Fault F26: closed connections do not pile up, whichever end closes first.
#[tokio::test]
async fn a_probe_leaves_at_most_two_connections_waiting() {
    let closing = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let handlers = ["httpGet", "tcpSocket"]
        .map(|kind| handler(&format!(r#"{{"{kind}":{{"port":{}}}}}"#, closing.port())).expect("handler"));
    let mut period = tokio::time::interval(Duration::from_millis(1100));
    for _ in 0..5 {
        period.tick().await;
        for handler in &handlers {
            assert_eq!(handler.run(LONG).await, Ok(Success(String::new())));
        }
    }
    period.tick().await;
    assert_eq!(closing.connections(), 10);
    assert!(waiting(closing.port()) <= 4, "{} connections wait", waiting(closing.port()));
}

/// Connections of this server in TIME_WAIT.
fn waiting(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("table");
    let port = format!(":{port:04X} ");
    table.lines().filter(|line| line.contains(" 06 ") && line.contains(&port)).count()
}
