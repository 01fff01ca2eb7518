use super::*;
use tokio::net::TcpListener;

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn dialer() -> Dialer {
    Dialer::try_new(ProbeHost::Auto, &[ip("10.1.2.3"), ip("fd00::3")]).expect("dialer")
}

#[test]
fn targets_follow_the_setting() {
    assert_eq!(dialer().targets(), [ip("127.0.0.1"), ip("::1"), ip("10.1.2.3"), ip("fd00::3")]);
    let pod = Dialer::try_new(ProbeHost::PodIp, &[ip("10.1.2.3")]).expect("dialer");
    assert_eq!(pod.targets(), [ip("10.1.2.3")]);
    assert_eq!(Dialer::try_new(ProbeHost::PodIp, &[]).expect_err("no address"), UnknownAddress);
    let one = Dialer::try_new(ProbeHost::Loopback(ip("127.0.0.9")), &[]).expect("dialer");
    assert_eq!(one.targets(), [ip("127.0.0.9")]);
}

#[test]
fn own_hosts_resolve() {
    for (host, expected) in [
        ("localhost", vec![ip("127.0.0.1"), ip("::1")]),
        ("LocalHost", vec![ip("127.0.0.1"), ip("::1")]),
        ("127.0.0.1", vec![ip("127.0.0.1")]),
        ("127.9.8.7", vec![ip("127.9.8.7")]),
        ("::1", vec![ip("::1")]),
        ("0:0:0:0:0:0:0:1", vec![ip("::1")]),
        ("10.1.2.3", vec![ip("10.1.2.3")]),
        ("::ffff:10.1.2.3", vec![ip("10.1.2.3")]),
        ("::ffff:127.0.0.1", vec![ip("127.0.0.1")]),
        ("fd00::3", vec![ip("fd00::3")]),
        ("fd00:0::3", vec![ip("fd00::3")]),
    ] {
        assert_eq!(dialer().resolve(host), Some(expected), "{host}");
    }
}

/// Threat T5: the forms in which servers are led to foreign addresses.
#[test]
fn foreign_hosts_never_resolve() {
    for host in [
        "",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2852039166",
        "0xa9fea9fe",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.254.169.254.",
        "169.254.169.254.nip.io",
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "0x7f.1",
        "127.0.0.1.",
        "localhost.",
        "localhost.evil.example",
        "localhost%00.evil.example",
        "0",
        "0.0.0.0",
        "::",
        "fe80::1%eth0",
        "::1%lo",
        "10.1.2.4",
        "10.1.2.3@evil.example",
        "metadata.google.internal",
        "kubernetes.default.svc",
        "⑯⑨.②⑤④.⑯⑨.②⑤④",
        "127。0。0。1",
    ] {
        assert_eq!(dialer().resolve(host), None, "{host}");
    }
}

#[tokio::test]
async fn a_foreign_address_is_refused_at_the_dial() {
    for address in ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "::", "10.1.2.4"] {
        let error = dialer().connect(&[ip(address)], 80).await.expect_err(address).to_string();
        assert!(error.ends_with("not an address of this Pod"), "{error}");
    }
}

#[tokio::test]
async fn the_next_address_is_tried_where_one_refuses() {
    let listener = TcpListener::bind("127.0.0.3:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let addresses = [ip("127.0.0.2"), ip("127.0.0.3")];
    let connection = dialer().connect(&addresses, port).await.expect("second");
    assert_eq!(connection.peer.ip(), ip("127.0.0.3"));
    drop(listener);
    let error = dialer().connect(&addresses, port).await.expect_err("all refuse");
    assert_eq!(error.to_string(), format!("dial tcp 127.0.0.2:{port}: connect: connection refused"));
}
