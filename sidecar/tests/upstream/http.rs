//! kubernetes/kubernetes:pkg/probe/http/http_test.go

use super::server::Server;
use super::{LONG, handler};
use probelet_protocol::plan::Plan;
use probelet_sidecar::outcome::Outcome::{self, Failure, Success};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(300);

async fn get(port: u16, rest: &str, timeout: Duration) -> Outcome {
    let handler = handler(&format!(r#"{{"httpGet":{{"port":{port}{rest}}}}}"#)).expect("handler");
    handler.run(timeout).await.expect("run")
}

fn is_success(outcome: &Outcome) -> bool {
    matches!(outcome, Success(_))
}

/// `TestHTTPProbeChecker`, the cases whose server tells the request's header fields.
#[tokio::test]
async fn header_fields_are_those_of_kubelet() {
    let server = Server::echo().await;
    for (fields, has, lacks) in [
        (&[][..], "\r\nUser-Agent: kube-probe/", ""),
        (&[], "\r\nAccept: */*\r\n", ""),
        (&[("Accept-Encoding", "gzip")], "\r\nAccept-Encoding: gzip\r\n", ""),
        (&[("Accept-Encoding", "foo")], "\r\nAccept-Encoding: foo\r\n", ""),
        (&[("Accept-Encoding", "")], "\r\nAccept-Encoding: \r\n", ""),
        (&[("X-Muffins-Or-Cupcakes", "muffins")], "\r\nX-Muffins-Or-Cupcakes: muffins\r\n", ""),
        (&[("User-Agent", "foo/1.0")], "\r\nUser-Agent: foo/1.0\r\n", "kube-probe"),
        (&[("User-Agent", "")], "", "User-Agent"),
        (&[("User-Agent", "foo/1.0"), ("Accept", "text/html")], "\r\nAccept: text/html\r\n", "*/*"),
        (&[("User-Agent", "foo/1.0"), ("Accept", "foo/*")], "\r\nUser-Agent: foo/1.0\r\n", "*/*"),
        (&[("X-Muffins-Or-Cupcakes", "muffins"), ("Accept", "foo/*")], "\r\nX-Muffins-Or-Cupcakes: muffins\r\n", ""),
        (&[("Accept", "foo/*")], "\r\nAccept: foo/*\r\n", "*/*"),
        (&[("Accept", "")], "", "Accept:"),
        (&[("User-Agent", "foo/1.0"), ("Accept", "")], "\r\nUser-Agent: foo/1.0\r\n", "Accept:"),
        (&[("Host", "muffins.cupcakes.org")], "\r\nHost: muffins.cupcakes.org\r\n", "127.0.0.1"),
    ] {
        let list: Vec<_> = fields.iter().map(|(n, v)| format!(r#"{{"name":"{n}","value":"{v}"}}"#)).collect();
        let rest = format!(r#","httpHeaders":[{}]"#, list.join(","));
        let Success(request) = get(server.port(), &rest, LONG).await else { panic!("{fields:?} failed") };
        assert!(request.contains(has), "{fields:?}: {request}");
        assert!(lacks.is_empty() || !request.contains(lacks), "{fields:?}: {request}");
    }
    // Upstream counts three fields, which there leaves out Host.
    let Success(request) = get(server.port(), "", LONG).await else { panic!("failed") };
    let mut names: Vec<_> = request.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["Accept", "Connection", "Host", "User-Agent"]);
}

/// `TestHTTPProbeChecker`, the cases of one answer.
#[tokio::test]
async fn answers_count_as_in_kubelet() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nok body", Some("ok body")),
        // Upstream's server dies of the status -1 and cuts the connection.
        ("", None),
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 9\r\n\r\nfail body", None),
    ] {
        let server = Server::answering(answer).await;
        let outcome = get(server.port(), "", LONG).await;
        match expected {
            Some(body) => assert_eq!(outcome, Success(body.into()), "{answer:?}"),
            None => assert!(!is_success(&outcome), "{answer:?}: {outcome:?}"),
        }
    }
    let silent = Server::dripping("", "", Duration::from_secs(3)).await;
    assert!(!is_success(&get(silent.port(), "", SHORT).await));
}

/// `TestHTTPProbeChecker`, the cases of a redirect within the server.
#[tokio::test]
async fn redirects_of_the_same_server_are_followed() {
    const WARNING: &str = "Probe terminated redirects, Response body: ";
    for status in [301, 302, 307, 308] {
        for (new, expected) in [
            ("200 OK\r\nContent-Length: 0", Some(String::new())),
            ("500 No\r\nContent-Length: 0", None),
            // Answers with the same status, but leads nowhere.
            ("308 No\r\nContent-Length: 0", Some(WARNING.into())),
            ("308 No\r\nContent-Length: 7\r\n\r\nok body", Some(format!("{WARNING}ok body"))),
        ] {
            let second = if new.contains("\r\n\r\n") { new.to_owned() } else { format!("{new}\r\n\r\n") };
            let server = Server::new(move |request| {
                if request.starts_with("GET / ") {
                    format!("HTTP/1.1 {status} Moved\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n")
                } else {
                    format!("HTTP/1.1 {second}")
                }
            })
            .await;
            let outcome = get(server.port(), "", LONG).await;
            match expected {
                Some(message) => assert_eq!(outcome, Success(message), "{status} {new}"),
                None => assert!(!is_success(&outcome), "{status} {new}: {outcome:?}"),
            }
        }
    }
}

/// `TestHTTPProbeChecker_NonLocalRedirects` with `followNonLocalRedirects` false, as kubelet and kruise-daemon have it. The same
/// host at another port is the same host.
#[tokio::test]
async fn redirects_elsewhere_count_as_in_kubelet() {
    async fn start() -> Server {
        Server::new(|request| {
            let path = request.split(' ').nth(1).unwrap_or_default();
            let to =
                |location: &str| format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            match path.strip_prefix("/redirect?loc=") {
                Some(location) => to(location),
                None if path == "/loop" => to("/loop"),
                None if path == "/success" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
                None => "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".into(),
            }
        })
        .await
    }
    let (server, other) = (start().await, start().await);
    for (location, expected) in [
        ("/success".to_owned(), true),
        ("/fail".into(), false),
        (format!("http://127.0.0.1:{}/success", other.port()), true),
        (format!("http://127.0.0.1:{}/fail", other.port()), false),
        // Upstream's Warning.
        ("http://0.0.0.0/fail".into(), true),
        ("/loop".into(), false),
    ] {
        let outcome = get(server.port(), &format!(r#","path":"/redirect?loc={location}""#), LONG).await;
        assert_eq!(is_success(&outcome), expected, "{location}: {outcome:?}");
    }
}

/// `TestHTTPProbeChecker_HostHeaderPreservedAfterRedirect`.
#[tokio::test]
async fn the_host_field_stays_through_a_redirect() {
    let server = Server::new(|request| {
        if request.starts_with("GET /redirect ") {
            "HTTP/1.1 302 Found\r\nLocation: /success\r\nContent-Length: 0\r\n\r\n".into()
        } else if request.contains("\r\nHost: www.success.com\r\n") {
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()
        } else {
            "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n".into()
        }
    })
    .await;
    for (host, expected) in [("www.success.com", true), ("www.fail.com", false)] {
        let rest = format!(r#","path":"/redirect","httpHeaders":[{{"name":"Host","value":"{host}"}}]"#);
        assert_eq!(is_success(&get(server.port(), &rest, LONG).await), expected, "{host}");
    }
}

/// `TestHTTPProbeChecker_PayloadTruncated` and `_PayloadNormal`. kubelet keeps 10 KiB of the body; we read as much, and keep the
/// 1024 bytes that OpenKruise lets a condition carry (openkruise/kruise:pkg/daemon/podprobe/prober.go `maxProbeMessageLength`).
#[tokio::test]
async fn bodies_are_cut() {
    const LIMIT: usize = 10 * 1024;
    for (length, kept) in [(LIMIT + 1, 1024), (LIMIT - 1, 1024), (1025, 1024), (1024, 1024), (1023, 1023)] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "a".repeat(length));
        let server = Server::answering(&answer).await;
        assert_eq!(get(server.port(), "", LONG).await, Success("a".repeat(kept)), "{length}");
    }
}

/// openkruise/kruise:pkg/daemon/podprobe/prober_test.go `TestRunProbe`, httpGet; also the probe without a handler: an error at each
/// run upstream, a plan that is refused as a whole here.
#[tokio::test]
async fn kruise_runs_the_same() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(get(server.port(), r#","path":"/","host":"127.0.0.1""#, LONG).await, Success(String::new()));
    let plan = r#"[{"name":"p","containerName":"main","podConditionType":"c","probe":{"initialDelaySeconds":100}}]"#;
    let error = Plan::parse(Some(plan), None).expect_err("no handler").to_string();
    assert!(error.contains("no handler: one of exec, httpGet, tcpSocket, grpc must be set"), "{error}");
    let refused = get(super::closed_port().await, "", LONG).await;
    assert!(matches!(refused, Failure(_)), "{refused:?}");
}
