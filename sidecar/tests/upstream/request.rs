//! URLs and header fields: kubernetes/kubernetes:pkg/probe/http/request_test.go and
//! openkruise/kruise:pkg/daemon/podprobe/prober_test.go, seen from outside: by what is told of a request that fails, and by what
//! arrives at a server.

use super::server::Server;
use super::{LONG, closed_port, handler};
use probelet_sidecar::outcome::Outcome::{Failure, Success};

/// `TestFormatURL` of both projects, and their `TestGetURLParts` for a path without a slash.
#[tokio::test]
async fn urls_are_built_as_upstream_builds_them() {
    let port = closed_port().await;
    for (scheme, path, expected) in [
        ("HTTP", "", "http://HOST"),
        ("HTTPS", "/path", "https://HOST/path"),
        ("HTTP", "?foo", "http://HOST?foo"),
        ("HTTPS", "/path?bar", "https://HOST/path?bar"),
        ("HTTP", "/path#foo", "http://HOST/path#foo"),
        ("HTTP", "path", "http://HOST/path"),
        // kruise-daemon refuses this one (`invalid path`); kubelet's formatURL escapes what does not parse, and so do we.
        ("HTTP", "path%notvalid", "http://HOST/path%25notvalid"),
    ] {
        let json = format!(r#"{{"httpGet":{{"port":{port},"scheme":"{scheme}","path":"{path}"}}}}"#);
        let Ok(Failure(message)) = handler(&json).expect("handler").run(LONG).await else { panic!("{path}") };
        let expected = format!("Get {:?}: ", expected.replace("HOST", &format!("127.0.0.1:{port}")));
        assert!(message.starts_with(&expected), "{message}");
    }
}

/// `Test_v1HeaderToHTTPHeader`, `TestHTTPHeaders` and `TestHeaderConversion`: names in their canonical form, values of a name in
/// their order; `TestNewRequestForHTTPGetAction`: own fields in place of defaults.
#[tokio::test]
async fn header_fields_are_written_as_upstream_writes_them() {
    let server = Server::echo().await;
    for (fields, expected) in [
        (
            &[("Connection", "Keep-Alive"), ("Content-Type", "text/html"), ("Accept-Ranges", "bytes")][..],
            &["Connection: Keep-Alive", "Content-Type: text/html", "Accept-Ranges: bytes"][..],
        ),
        (&[("HOST", "example.com"), ("FOO-bAR", "value")], &["Host: example.com", "Foo-Bar: value"]),
        (&[("X-Muffins-Or-Cupcakes", "Muffins")], &["X-Muffins-Or-Cupcakes: Muffins"]),
        (
            &[("X-Muffins-Or-Cupcakes", "Muffins"), ("X-Muffins-Or-Plumcakes", "Muffins!")],
            &["X-Muffins-Or-Cupcakes: Muffins", "X-Muffins-Or-Plumcakes: Muffins!"],
        ),
        (
            &[("X-Muffins-Or-Cupcakes", "Muffins"), ("X-Muffins-Or-Cupcakes", "Cupcakes, too")],
            &["X-Muffins-Or-Cupcakes: Muffins", "X-Muffins-Or-Cupcakes: Cupcakes, too"],
        ),
        (
            &[
                ("accept", "application/json"),
                ("Accept", "*/*"),
                ("pragma", "no-cache"),
                ("X-forwarded-for", "username"),
            ],
            &["Accept: application/json", "Accept: */*", "Pragma: no-cache", "X-Forwarded-For: username"],
        ),
        (
            &[("Accept", "application/json"), ("User-Agent", "custom-agent")],
            &["User-Agent: custom-agent", "Accept: application/json"],
        ),
        (&[("X-Custom-Header", "value")], &["X-Custom-Header: value", "User-Agent: kube-probe/test", "Accept: */*"]),
    ] {
        let list: Vec<_> = fields.iter().map(|(n, v)| format!(r#"{{"name":"{n}","value":"{v}"}}"#)).collect();
        let json = format!(r#"{{"httpGet":{{"port":{},"httpHeaders":[{}]}}}}"#, server.port(), list.join(","));
        let Ok(Success(request)) = handler(&json).expect("handler").run(LONG).await else { panic!("{fields:?}") };
        // Values of one name are in their order; names among each other need not be.
        let mut rest: Vec<_> = request.lines().collect();
        for line in expected {
            let at = rest.iter().position(|found| found == line);
            rest.remove(at.unwrap_or_else(|| panic!("{line} is missing in {request}")));
        }
        if expected.len() == 2 && expected[0].split(':').next() == expected[1].split(':').next() {
            assert!(request.find(expected[0]) < request.find(expected[1]), "{request}");
        }
    }
}
