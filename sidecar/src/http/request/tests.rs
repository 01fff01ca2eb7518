use super::*;
use crate::http::url::Reference;

fn headers(pairs: &[(&str, &str)]) -> Result<Headers, HeaderError> {
    let headers: Vec<_> =
        pairs.iter().map(|(name, value)| HttpHeader { name: (*name).into(), value: (*value).into() }).collect();
    Headers::try_new(&headers, "kube-probe/1.2")
}

fn sent(pairs: &[(&str, &str)]) -> String {
    let url = Reference::from_path("/p?q").on("http", "127.0.0.1:80".into());
    let text = headers(pairs).expect("headers").request(&url);
    text.strip_suffix("\r\n\r\n").expect("end").replace("\r\n", "|")
}

/// kubernetes/kubernetes:pkg/probe/http/http_test.go, case by case.
#[test]
fn headers_are_written_as_kubelet_writes_them() {
    const START: &str = "GET /p?q HTTP/1.1|Host: 127.0.0.1:80|";
    for (pairs, expected) in [
        (&[][..], "User-Agent: kube-probe/1.2|Accept: */*|Connection: close"),
        (&[("User-Agent", "foo/1.0")], "User-Agent: foo/1.0|Accept: */*|Connection: close"),
        (&[("User-Agent", "")], "Accept: */*|Connection: close"),
        (&[("Accept", "")], "User-Agent: kube-probe/1.2|Connection: close"),
        (&[("accept", "foo/*")], "User-Agent: kube-probe/1.2|Accept: foo/*|Connection: close"),
        (
            &[("accept", "application/json"), ("Accept", "*/*"), ("pragma", "no-cache"), ("X-forwarded-for", "me")],
            "User-Agent: kube-probe/1.2|Accept: application/json|Accept: */*|Pragma: no-cache|X-Forwarded-For: me|\
             Connection: close",
        ),
        (&[("Accept-Encoding", "")], "User-Agent: kube-probe/1.2|Accept: */*|Accept-Encoding: |Connection: close"),
        (
            &[("Connection", "Keep-Alive")],
            "User-Agent: kube-probe/1.2|Accept: */*|Connection: Keep-Alive|Connection: close",
        ),
        (&[("Connection", "close")], "User-Agent: kube-probe/1.2|Accept: */*|Connection: close"),
        (
            &[("Connection", "Upgrade"), ("Upgrade", "x")],
            "User-Agent: kube-probe/1.2|Accept: */*|Connection: Upgrade|Upgrade: x",
        ),
        (
            &[("Content-Length", "5"), ("transfer-encoding", "chunked"), ("B", " v\t")],
            "User-Agent: kube-probe/1.2|Accept: */*|B: v|Connection: close",
        ),
    ] {
        assert_eq!(sent(pairs), format!("{START}{expected}"), "{pairs:?}");
    }
}

#[test]
fn host_replaces_the_address() {
    assert!(sent(&[("host", "muffins.cupcakes.org")]).contains("|Host: muffins.cupcakes.org|"));
    assert!(sent(&[("Host", "a:8080"), ("Host", "b")]).contains("|Host: a:8080|"));
    assert!(sent(&[("Host", "")]).contains("|Host: 127.0.0.1:80|"));
    // golang/go#61431: what is no host is sent empty, so that it smuggles nothing.
    assert!(sent(&[("Host", "/var/run/x y")]).contains("|Host: |"));
}

#[test]
fn the_server_name_is_the_hosts() {
    let url = Reference::from_path("/").on("https", "127.0.0.1:443".into());
    assert_eq!(server_name(&headers(&[("Host", "a.example:8443")]).expect("headers"), &url), "a.example");
    assert_eq!(server_name(&headers(&[]).expect("headers"), &url), "127.0.0.1");
}

#[test]
fn a_bad_header_is_named_without_its_value() {
    for (pair, expected) in [
        (("a b", "secret"), "httpGet.httpHeaders[1].name: \"a b\" is not a header name"),
        (("", "secret"), "httpGet.httpHeaders[1].name: \"\" is not"),
        (("X\r\nY", "secret"), "httpGet.httpHeaders[1].name: \"X\\r\\nY\" is not"),
        (("X", "secret\r\nEvil: 1"), "httpGet.httpHeaders[1].value: control characters are not allowed (header \"X\")"),
        (("X", "secret\0"), "httpGet.httpHeaders[1].value: "),
    ] {
        let error = headers(&[("Fine", "1"), pair]).err().expect("refused").to_string();
        assert!(error.starts_with(expected) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn a_redirect_keeps_secrets_at_home_and_tells_where_it_came_from() {
    let url = |authority: &str, scheme: &str| Reference::from_path("/a").on(scheme, authority.into());
    let headers = headers(&[("Authorization", "s"), ("Host", "h"), ("X", "1")]).expect("headers");
    let here = url("127.0.0.1:80", "https");
    let same = headers.redirected(&here, &url("127.0.0.1:81", "https"), true).request(&here);
    assert!(same.contains("Host: h\r\n") && same.contains("Authorization: s\r\n"), "{same}");
    assert!(same.contains("Referer: https://127.0.0.1:80/a\r\n"), "{same}");
    let again = headers.redirected(&url("x", "http"), &here, true).redirected(&here, &here, true).request(&here);
    assert_eq!(again.matches("Referer: ").count(), 1);
    assert!(again.contains("Referer: https://127.0.0.1:80/a\r\n"), "{again}");
    let other = url("localhost:81", "http");
    let other = headers.redirected(&here, &other, false).request(&other);
    assert!(other.contains("Host: localhost:81\r\n") && other.contains("X: 1\r\n"), "{other}");
    assert!(!other.contains("Authorization") && !other.contains("Referer"), "{other}");
}
