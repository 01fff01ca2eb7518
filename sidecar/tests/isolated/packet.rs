//! Threat T5, by what leaves: no form in which a probe can be asked to go elsewhere sends a packet out of the Pod.

use super::form::{ANSWERS, HOSTS, LOCATIONS, NAMES};
use super::grpc::{self, Script};
use super::net::{METADATA, Net, POD_IPS, alone, runtime};
use super::server::{Server, Tls};
use probelet_protocol::plan::Plan;
use probelet_protocol::setting::ProbeHost;
use probelet_sidecar::exec::AgentsHandle;
use probelet_sidecar::handler::{Handler, Target};
use probelet_sidecar::outcome::Outcome;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Nothing here takes long but what waits for an answer from outside.
const TIMEOUT: Duration = Duration::from_millis(300);
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// The tests' own probes, and how many forms they have been asked in.
struct Prober<'a> {
    net: &'a Net,
    target: Target,
    forms: usize,
}

impl<'a> Prober<'a> {
    /// Of a Pod with these addresses.
    fn new(net: &'a Net, host: ProbeHost, pod_ips: &[&str]) -> Self {
        let target = Target {
            host,
            pod_ips: pod_ips.iter().map(|ip| ip.parse().expect("address")).collect(),
            ports: Arc::default(),
            agents: AgentsHandle::none(),
            version: "test",
        };
        Self { net, target, forms: 0 }
    }

    /// Runs a probe once as the sidecar would; `None` where it refuses to.
    async fn run(&self, probe: &Value) -> Option<Outcome> {
        let text = json!([{"name": "p", "containerName": "main", "podConditionType": "c", "probe": probe}]).to_string();
        let plan = Plan::parse(Some(&text), None).ok()?;
        let handler = Handler::try_new(&plan.probes[0], &self.target).ok()?;
        Some(handler.run(TIMEOUT).await.expect("run"))
    }

    /// Packets that leave while it runs.
    async fn left(&self, probe: &Value) -> u64 {
        let before = self.net.left();
        self.run(probe).await;
        self.net.left() - before
    }

    /// One form: nothing may leave.
    async fn stays(&mut self, what: &str, probe: &Value) -> Option<Outcome> {
        self.forms += 1;
        let before = self.net.left();
        let outcome = self.run(probe).await;
        assert_eq!(self.net.left() - before, 0, "packets left for {what}, which came to {outcome:?}");
        outcome
    }

    /// One form that is answered by a server of the own Pod, which must have been asked.
    async fn stays_at(&mut self, server: &Server, what: &str, probe: &Value) {
        let before = server.connections();
        let outcome = self.stays(what, probe).await;
        assert!(server.connections() > before, "{what} was not tried: {outcome:?}");
    }
}

fn http(port: u16) -> Value {
    json!({"httpGet": {"port": port}})
}

fn with(mut probe: Value, field: &str, value: impl Into<Value>) -> Value {
    if let Some(handler) = probe.as_object_mut().and_then(|probe| probe.values_mut().next()) {
        handler[field] = value.into();
    }
    probe
}

/// A host as it stands in a URL.
fn in_url(host: &str) -> String {
    if host.matches(':').count() > 1 && !host.contains('[') {
        return format!("[{}]", host.replace('%', "%25"));
    }
    host.to_owned()
}

/// What follows could not fail if these did.
async fn what_leaves_is_counted(net: &Net) {
    assert!(net.left_by_client(METADATA) > 0, "a plain connection");
    assert_eq!(net.left_by_client("127.0.0.1") + net.left_by_client("::1") + net.left_by_client("localhost"), 0);
    for ip in POD_IPS {
        assert_eq!(net.left_by_client(ip), 0, "{ip} is this host's own");
    }
    for (host, leaves) in HOSTS {
        assert!(!leaves || net.left_by_client(host) > 0, "{host} led an ordinary client nowhere");
    }
    // The sidecar's own probes, told that the metadata service is the Pod.
    let misled = Prober::new(net, ProbeHost::PodIp, &[METADATA]);
    for probe in [http(80), json!({"tcpSocket": {"port": 80}}), json!({"grpc": {"port": 80}})] {
        assert!(misled.left(&probe).await > 0, "{probe}");
    }
    let misled = Prober::new(net, ProbeHost::Auto, &[METADATA]);
    assert!(misled.left(&with(http(80), "host", METADATA)).await > 0, "by its field host");
    let server = Server::redirecting(302, &format!("http://{METADATA}/")).await;
    assert!(misled.left(&http(server.port())).await > 0, "by a redirect");
}

/// `host` of httpGet and tcpSocket, grpc, which has no such field, and the setting for all of a Pod's probes.
async fn hosts(prober: &mut Prober<'_>) {
    prober.stays("host of grpc", &json!({"grpc": {"port": 80, "host": METADATA}})).await;
    for (host, _) in HOSTS {
        assert!(host.parse::<ProbeHost>().is_err(), "{host} was taken for all of a Pod's probes");
        for probe in [http(80), json!({"tcpSocket": {"port": 80}})] {
            for host in [(*host).to_owned(), in_url(host), format!("http://{host}/")] {
                prober.stays(&format!("host {host}"), &with(probe.clone(), "host", host)).await;
            }
        }
    }
}

/// A server of the own Pod that says where to go instead.
async fn redirects(prober: &mut Prober<'_>) {
    for (host, _) in HOSTS {
        for (index, status) in STATUSES.into_iter().enumerate() {
            let scheme = ["http", "https"][index % 2];
            let server = Server::redirecting(status, &format!("{scheme}://{}/latest/", in_url(host))).await;
            prober.stays_at(&server, &format!("{status} to {scheme}://{host}"), &http(server.port())).await;
        }
        let server = Server::redirecting(302, &format!("//{}/", in_url(host))).await;
        // The first leads to the own Pod, and is followed.
        let first = Server::redirecting(307, &format!("http://localhost:{}/", server.port())).await;
        prober.stays_at(&server, &format!("a second redirect, to //{host}"), &http(first.port())).await;
    }
    for location in LOCATIONS {
        let server = Server::redirecting(302, location).await;
        prober.stays_at(&server, location, &http(server.port())).await;
    }
    for answer in ANSWERS {
        let place = format!("http://{METADATA}/");
        let server = Server::answering(&(answer.replace("PLACE", &place) + "Content-Length: 0\r\n\r\n")).await;
        prober.stays_at(&server, answer, &http(server.port())).await;
    }
}

/// Requests that name another place to a server of the own Pod: an absolute-form path, and header fields.
async fn requests(prober: &mut Prober<'_>) {
    let server = Server::echo().await;
    let port = server.port();
    let hosts = HOSTS.iter().map(|(host, _)| in_url(host)).flat_map(|host| {
        [format!("http://{host}/"), format!("//{host}/"), format!("https://{host}"), format!("@{host}/"), host]
    });
    for path in hosts.chain(LOCATIONS.iter().map(|text| (*text).to_owned())) {
        // Such as `http:rest`, which is refused.
        prober.stays(&format!("path {path}"), &with(http(port), "path", path)).await;
    }
    let path = format!("http://{METADATA}/latest");
    prober.stays_at(&server, "an absolute-form path", &with(http(port), "path", path.as_str())).await;
    let tls = Tls::new().await;
    for (host, _) in HOSTS {
        for name in ["Host", "X-Forwarded-Host", "Forwarded", "Referer", "Origin", "Proxy", "Upgrade"] {
            let fields = json!([{"name": name, "value": in_url(host)}, {"name": "Connection", "value": "Upgrade"}]);
            prober.stays(&format!("{name}: {host}"), &with(http(port), "httpHeaders", fields)).await;
        }
        let fields = json!([{"name": "Host", "value": in_url(host)}]);
        let https = with(with(http(tls.port), "scheme", "HTTPS"), "httpHeaders", fields);
        prober.stays(&format!("TLS for {host}"), &https).await;
    }
    let fields = json!([{"name": "Host", "value": METADATA}]);
    prober.stays_at(&server, "a Host", &with(http(port), "httpHeaders", fields)).await;
}

async fn grpc_answers(prober: &mut Prober<'_>) {
    let place = || format!("http://{METADATA}/");
    for script in [
        Script { status: 302, headers: vec![("location", place())], ..Script::default() },
        Script {
            status: 307,
            headers: vec![("location", place()), ("alt-svc", "h2=\"169.254.169.254:80\"".into())],
            ..Script::default()
        },
        Script::status("14", &place()),
        Script {
            headers: vec![("content-type", "application/grpc".into()), ("location", place())],
            ..Script::message(&[8, 1])
        },
    ] {
        let (port, mut requests) = grpc::serve(script).await;
        prober.stays("an answer of grpc", &json!({"grpc": {"port": port, "service": place()}})).await;
        assert!(requests.try_recv().is_ok(), "it was not asked");
    }
}

/// What stays in the Pod works: its own address, and a redirect to it.
async fn own_addresses(prober: &mut Prober<'_>) {
    for ip in POD_IPS {
        let listener = tokio::net::TcpListener::bind((ip, 0)).await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let outcome = prober.stays(ip, &with(json!({"tcpSocket": {"port": port}}), "host", ip)).await;
        assert_eq!(outcome, Some(Outcome::Success(String::new())), "{ip}");
        let server = Server::redirecting(302, &format!("http://{}:{port}/", in_url(ip))).await;
        let redirected = prober.stays(ip, &http(server.port())).await;
        // Nobody answers there, but somebody was asked.
        assert!(matches!(&redirected, Some(Outcome::Failure(message)) if message.contains(ip)), "{redirected:?}");
    }
}

#[test]
fn no_form_of_a_probe_sends_a_packet_out_of_the_pod() {
    alone("packet::no_form_of_a_probe_sends_a_packet_out_of_the_pod", |net| {
        net.ask_once();
        net.names(&NAMES.map(|name| format!("{METADATA} {name}")).join("\n"));
        runtime().block_on(what_leaves_is_counted(net));
        let (before, mut forms) = (net.left(), 0);
        for pod_ips in [&[][..], &POD_IPS] {
            runtime().block_on(async {
                let mut prober = Prober::new(net, ProbeHost::Auto, pod_ips);
                hosts(&mut prober).await;
                redirects(&mut prober).await;
                requests(&mut prober).await;
                grpc_answers(&mut prober).await;
                forms += prober.forms;
                if !pod_ips.is_empty() {
                    own_addresses(&mut prober).await;
                }
                // And nothing late.
                tokio::time::sleep(TIMEOUT).await;
            });
        }
        assert_eq!(net.left() - before, 0, "packets left afterwards");
        println!("{forms} forms, no packet");
    });
}
