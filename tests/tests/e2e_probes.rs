//! Every kind of handler in real containers: what it is told, by port name too, in containers without a shell and with a
//! read-only root, beside hooks that the containers have of their own.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition};
use kube::api::LogParams;
use probelet_protocol::name;
use probelet_tests::image::TEST_APP;
use probelet_tests::pod::{Builder, CONTAINER, app, has_condition};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::{exec, marker};
use serde_json::{Value, json};
use std::time::Duration;

const START: Duration = Duration::from_secs(90);
/// A header's value, which is nobody's to read.
const SECRET: &str = "planted-secret";
const FOLLOW: Duration = Duration::from_secs(20);

/// A probe with a condition and a label of its name.
fn probe(name: &str, handler: Value) -> Value {
    marker::probe(name, handler, &condition(name), &format!("probes.example/{name}"))
}

fn condition(name: &str) -> String {
    format!("probes.example/{name}")
}

/// The same probe of another container.
fn of(container: &str, mut probe: Value) -> Value {
    probe["containerName"] = json!(container);
    probe
}

fn web(space: &Space) -> Result<Builder> {
    Ok(app("web", &space.cluster().image(TEST_APP)?).labelled("app", "web"))
}

/// Another container of the test application, called `name` for its orders too.
fn another(space: &Space, name: &str, arguments: &[&str]) -> Result<Container> {
    let mut container = web(space)?.build().spec.context("spec")?.containers.remove(0);
    container.name = name.to_owned();
    container.ports = None;
    container.args = Some(["serve", "--name", name].iter().chain(arguments).map(|word| (*word).to_owned()).collect());
    Ok(container)
}

fn found<'a>(pod: &'a Pod, name: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|found| found.type_ == condition(name))
}

/// Waits until each of these conditions has this status and a message that holds this text.
async fn expect(space: &Space, what: &str, rows: &[(&str, &str, &str)]) -> Result<()> {
    let is_so = |pod: &Pod, (name, status, text): &(&str, &str, &str)| {
        found(pod, name)
            .is_some_and(|found| found.status == *status && found.message.as_deref().unwrap_or_default().contains(text))
    };
    let pod = space.wait_for_pod("web", what, START, |pod| rows.iter().all(|row| is_so(pod, row))).await;
    pod.map(drop)
}

/// grpc: each answer with its message.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_health_is_told_by_service_and_by_what_is_missing() -> Result<()> {
    space::with("grpc", Labels::opted_in().restricted(), |space| async move {
        let grpc =
            |name: &str, port: u16, service: &str| probe(name, json!({"grpc": {"port": port, "service": service}}));
        let probes = [
            grpc("server", 9000, ""),
            grpc("service", 9000, "test-app"),
            grpc("unknown", 9000, "nobody"),
            grpc("missing", 9001, "test-app"),
            grpc("other", 8080, "test-app"),
        ];
        marker::create(&space, "grpc", "web", &probes).await?;
        let pod = web(&space)?
            .on("virtual-push")
            .running(&["serve", "--http", "8080", "--grpc", "9000"])
            .and_container(another(&space, "bare", &["--http", "0", "--grpc", "9001", "--no-grpc-health"])?);
        space.create_object(&pod.build()).await?;
        let absent = [
            ("unknown", "False", "rpc error: code = NotFound desc = unknown service"),
            ("missing", "False", "this server does not implement the grpc health protocol"),
            ("other", "False", "timeout: failed to connect service \"127.0.0.1:8080\" within 1s"),
        ];
        let serving = [("server", "True", "service healthy"), ("service", "True", "service healthy")];
        expect(&space, "to be served", &[&serving[..], &absent].concat()).await?;
        exec::switch(&space.api(), "web", CONTAINER, "fail").await?;
        let text = "service unhealthy (responded with \"NOT_SERVING\")";
        let failing = [("server", "False", text), ("service", "False", text)];
        expect(&space, "to be served no more", &[&failing[..], &absent].concat()).await
    })
    .await
}

/// httpGet over TLS, tcpSocket and httpGet by the names of ports; the name of another container's port leads nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn https_and_tcp_are_probed_by_the_names_of_ports() -> Result<()> {
    space::with("ports", Labels::opted_in(), |space| async move {
        let get = |name: &str, port: &str, scheme: &str| {
            let secret = json!([{"name": "Authorization", "value": SECRET}]);
            probe(name, json!({"httpGet": {"port": port, "scheme": scheme, "path": "/health", "httpHeaders": secret}}))
        };
        let probes = [
            get("http", "http", "HTTP"),
            get("https", "secure", "HTTPS"),
            get("plain", "http", "HTTPS"),
            probe("tcp", json!({"tcpSocket": {"port": "tcp"}})),
            of("bare", get("lost", "secure", "HTTPS")),
        ];
        marker::create(&space, "ports", "web", &probes).await?;
        let pod = web(&space)?
            .on("virtual-poll")
            .annotated("probelet.io/log-level", "trace")
            .running(&["serve", "--http", "8080", "--https", "8443", "--tcp", "9090"])
            .and_container(another(&space, "bare", &["--http", "8081"])?)
            .with(|spec| {
                let port = json!({"name": "secure", "containerPort": 8443});
                let port = serde_json::from_value(port).expect("a port of this test");
                spec.containers[0].ports.get_or_insert_default().push(port);
            });
        space.create_object(&pod.build()).await?;
        let steady = [
            // The application hangs up on what is no HTTP.
            ("plain", "False", ": EOF"),
            ("lost", "Unknown", "has no port named \"secure\""),
        ];
        let up = [("http", "True", "healthy"), ("https", "True", "healthy"), ("tcp", "True", "")];
        expect(&space, "to be up", &[&up[..], &steady].concat()).await?;
        exec::switch(&space.api(), "web", CONTAINER, "fail").await?;
        let down = [
            ("http", "False", "statuscode: 503"),
            ("https", "False", "statuscode: 503"),
            ("tcp", "False", "connection refused"),
        ];
        expect(&space, "to be down", &[&down[..], &steady].concat()).await?;
        let sidecar = LogParams { container: Some(name::SIDECAR_CONTAINER.into()), ..LogParams::default() };
        let log = space.api::<Pod>().logs("web", &sidecar).await?;
        ensure!(log.contains("ran") && !log.contains(SECRET), "a header's value is in the log, or no run is:\n{log}");
        Ok(())
    })
    .await
}

/// An application that asks is probed at once, however long the period is.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_asks_is_marked_at_once() -> Result<()> {
    const SOON: Duration = Duration::from_secs(5);
    space::with("look", Labels::opted_in(), |space| async move {
        let mut check = probe("slow", json!({"exec": {"command": ["/test-app", "check"]}}));
        check["probe"]["periodSeconds"] = json!(600);
        marker::create(&space, "look", "web", &[check]).await?;
        space.create_object(&web(&space)?.on("virtual-push").build()).await?;
        expect(&space, "to have its first result", &[("slow", "True", "")]).await?;
        let pods = space.api::<Pod>();
        for (order, status) in [("fail", "False"), ("heal", "True")] {
            exec::switch(&pods, "web", CONTAINER, order).await?;
            let look = format!("{}{}", name::AGENT_DIR, name::AGENT_BINARY);
            let asked = exec::run(&pods, "web", CONTAINER, &[&look, "look", "slow"]).await?;
            ensure!(asked.code == 0, "{asked:?}");
            let is_so = |pod: &Pod| has_condition(pod, &condition("slow"), status);
            space.wait_for_pod("web", "to be marked because it asked", SOON, is_so).await?;
        }
        Ok(())
    })
    .await
}

/// exec in several containers at once, none of which has a shell or a root that can be written; each result is its own.
async fn exec_probes_tell_containers_apart_on(node: &'static str) -> Result<()> {
    space::with("exec", Labels::opted_in().restricted(), move |space| async move {
        let check = |name: &str, server: &str| {
            probe(name, json!({"exec": {"command": ["/test-app", "check", "--name", server]}}))
        };
        let probes = [
            check("first", "test-app"),
            of("second", check("second", "second")),
            of("third", check("third", "third")),
            probe("absent", json!({"exec": {"command": ["/bin/sh", "-c", "true"]}})),
        ];
        marker::create(&space, "exec", "web", &probes).await?;
        let pod = web(&space)?
            .on(node)
            .labelled("probelet.io/inject", "enabled")
            .and_container(another(&space, "second", &["--http", "0"])?)
            .and_container(another(&space, "third", &["--http", "0", "--unhealthy"])?);
        space.create_object(&pod.build()).await?;
        let steady = [("third", "False", ""), ("absent", "Unknown", "/bin/sh: No such file or directory")];
        let up = [("first", "True", "healthy"), ("second", "True", "healthy")];
        expect(&space, "to have a result of each container", &[&up[..], &steady].concat()).await?;
        let failed = exec::run(&space.api(), "web", "second", &["/test-app", "fail", "--name", "second"]).await?;
        ensure!(failed.code == 0, "{failed:?}");
        let down = [("first", "True", "healthy"), ("second", "False", "")];
        expect(&space, "to fail in one container", &[&down[..], &steady].concat()).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_probes_tell_containers_apart_under_kubelet() -> Result<()> {
    exec_probes_tell_containers_apart_on("node-1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_probes_tell_containers_apart_on_virtual_nodes() -> Result<()> {
    let nodes = ["virtual-push", "virtual-poll"].map(exec_probes_tell_containers_apart_on);
    try_join_all(nodes).await.map(drop)
}

/// A container's own postStart of each kind still does what it did, beside the exec probe's agent.
async fn own_hooks_still_work_on(node: &'static str) -> Result<()> {
    const SLEEP: i64 = 2;
    space::with("hooks", Labels::opted_in(), move |space| async move {
        let check = |server: &str| json!({"exec": {"command": ["/test-app", "check", "--name", server]}});
        let probes = [
            of("by-exec", probe("by-exec", check("by-exec"))),
            of("by-http", probe("by-http", check("by-http"))),
            probe("marked", json!({"httpGet": {"port": 8081, "path": "/marked"}})),
            of("by-sleep", probe("by-sleep", check("by-sleep"))),
        ];
        marker::create(&space, "hooks", "web", &probes).await?;
        let hooked = |name: &str, arguments: &[&str], hook: Value| -> Result<Container> {
            let mut container = another(&space, name, arguments)?;
            container.lifecycle = serde_json::from_value(json!({"postStart": hook}))?;
            Ok(container)
        };
        let heal = json!({"exec": {"command": ["/test-app", "heal", "--name", "by-exec", "--wait", "10"]}});
        let pod = web(&space)?
            .on(node)
            .labelled("probelet.io/inject", "enabled")
            // Unhealthy until its hook heals it.
            .and_container(hooked("by-exec", &["--http", "0", "--unhealthy"], heal)?)
            .and_container(hooked("by-http", &["--http", "8081"], json!({"httpGet": {"port": 8081, "path": "/mark"}}))?)
            .and_container(hooked("by-sleep", &["--http", "0"], json!({"sleep": {"seconds": SLEEP}}))?);
        let pod = space.create_object(&pod.build()).await?;
        let chained = pod.spec.iter().flat_map(|spec| &spec.containers).filter(|container| {
            let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
            hook.and_then(|hook| hook.exec.as_ref()?.command.as_ref())
                .is_some_and(|words| words[0].ends_with("/probelet-agent"))
        });
        ensure!(chained.count() == 3, "not every hook is chained: {:#?}", pod.spec);
        expect(
            &space,
            "to have run its hooks",
            &[("by-exec", "True", ""), ("by-http", "True", ""), ("marked", "True", ""), ("by-sleep", "True", "")],
        )
        .await?;
        // kubelet calls a container running once its hook has ended, so the Pod is ready no sooner.
        let pod = space.wait_for_pod("web", "to be ready", FOLLOW, |pod| has_condition(pod, "Ready", "True")).await?;
        let status = pod.status.context("status")?;
        let slept = status.container_statuses.iter().flatten().find(|container| container.name == "by-sleep");
        let slept = slept.and_then(|container| container.state.as_ref()?.running.as_ref()?.started_at.clone());
        let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
        let ready = ready.and_then(|condition| condition.last_transition_time.clone());
        let waited = ready.context("ready")?.0.as_second() - slept.context("by-sleep runs")?.0.as_second();
        ensure!(waited >= SLEEP - 1, "ready {waited} s after the start of a container whose hook sleeps {SLEEP} s");
        ensure!(status.container_statuses.iter().flatten().all(|container| container.restart_count == 0), "restarted");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn own_hooks_still_work_under_kubelet() -> Result<()> {
    own_hooks_still_work_on("node-1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn own_hooks_still_work_on_a_virtual_node() -> Result<()> {
    own_hooks_still_work_on("virtual-push").await
}
