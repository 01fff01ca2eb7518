use super::*;
use crate::outcome::Outcome;
use crate::threshold::ProbeState;
use probelet_protocol::plan::ProbeId;

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.expect("connect");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answer");
    answer
}

#[tokio::test]
async fn metrics_health_and_probe_now_are_served() {
    let stats = Arc::new(Stats::default());
    stats.ran(&Ok(&Outcome::Success(String::new())), Duration::from_millis(250));
    let id = |name: &str| ProbeId { container: "game".into(), name: name.into() };
    stats.settled(&id("up"), ProbeState::Failed);
    stats.settled(&id("odd\"\n"), ProbeState::Unknown);
    stats.settled(&id("gone"), ProbeState::Succeeded);
    stats.forget(&id("gone"));
    let (knocks, mut knocked) = broadcast::channel(4);
    let server = Server::bind(0, stats, knocks).await.expect("bind");
    let address = server.address().expect("address");
    let task = tokio::spawn(server.run());
    let metrics = ask(address, "GET /metrics HTTP/1.1\r\n\r\n").await;
    for line in [
        "probelet_probe_total{result=\"success\"} 1",
        "probelet_probe_duration_seconds_sum 0.25",
        "probelet_heals_total 0",
        "probelet_probe_state{container=\"game\",probe=\"up\",state=\"Succeeded\"} 0",
        "probelet_probe_state{container=\"game\",probe=\"up\",state=\"Failed\"} 1",
        "probelet_probe_state{container=\"game\",probe=\"odd\\\"\\n\",state=\"Unknown\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    assert!(!metrics.contains("gone"), "{metrics}");
    assert!(ask(address, "GET /healthz HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    assert!(ask(address, "POST /probe?name=health HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 202"));
    assert_eq!(knocked.try_recv().expect("knock"), Knock::Probes(BTreeSet::from(["health".to_owned()])));
    assert!(ask(address, "DELETE /metrics HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405"));
    assert!(ask(address, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 404"));
    task.abort();
}

#[test]
fn only_the_own_pod_may_ask_for_a_probe() {
    let ip = |text: &str| text.parse::<IpAddr>().expect("address");
    for (own, peer, expected) in [
        ("127.0.0.1", "127.0.0.1", true),
        ("::1", "::1", true),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", true),
        ("10.0.0.5", "10.0.0.5", true),
        ("10.0.0.5", "10.0.0.6", false),
        ("fd00::5", "fd00::6", false),
    ] {
        assert_eq!(is_own(ip(own), ip(peer)), expected, "{own} {peer}");
    }
    let (knocks, _) = broadcast::channel(4);
    assert_eq!(route("POST /probe HTTP/1.1", false, &Stats::default(), &knocks).0, "403 Forbidden");
}
