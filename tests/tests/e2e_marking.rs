//! Real Pods on virtual nodes: injected, probed, marked, in both of virtual-kubelet's status styles.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use probelet_protocol::name;
use probelet_tests::audit::AuditLog;
use probelet_tests::image::TEST_APP;
use probelet_tests::pod::{self, CONTAINER, app, has_condition, has_container, has_label};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::{exec, marker};
use serde_json::json;
use std::time::Duration;

const CONDITION: &str = "games.example/Healthy";
const LABEL: &str = "games.example/healthy";
const START: Duration = Duration::from_secs(90);
const FOLLOW: Duration = Duration::from_secs(20);

async fn marker_by_http(space: &Space) -> Result<()> {
    let http = json!({"httpGet": {"port": "http", "path": "/health"}});
    marker::create(space, "health", "web", &[marker::probe("healthy", http, CONDITION, LABEL)]).await?;
    Ok(())
}

fn is_marked(pod: &Pod, healthy: bool) -> bool {
    let (status, value) = if healthy { ("True", "true") } else { ("False", "false") };
    let annotation = pod.metadata.annotations.iter().flatten().any(|(key, _)| *key == format!("{LABEL}-healthy"));
    has_condition(pod, CONDITION, status) && has_label(pod, LABEL, value) && annotation == healthy
}

/// Creates the Pod and waits for its first mark.
async fn start(space: &Space, node: &str) -> Result<Pod> {
    let image = space.cluster().image(TEST_APP)?;
    let web = app("web", &image).on(node).labelled("app", "web").build();
    space.create_object(&web).await?;
    space.wait_for_pod("web", "to be marked as healthy", START, |pod| is_marked(pod, true)).await
}

async fn label_follows_health_both_ways_on(node: &'static str) -> Result<()> {
    space::with("marking", Labels::opted_in().restricted(), move |space| async move {
        marker_by_http(&space).await?;
        let marked = start(&space, node).await?;
        ensure!(has_container(&marked, name::SIDECAR_CONTAINER), "no sidecar was injected");
        let pods = space.api::<Pod>();
        for healthy in [false, true, false, true] {
            exec::switch(&pods, "web", CONTAINER, if healthy { "heal" } else { "fail" }).await?;
            let what = if healthy { "to be marked as healthy again" } else { "to be marked as failing" };
            space.wait_for_pod("web", what, FOLLOW, |pod| is_marked(pod, healthy)).await?;
        }
        let sidecar = kube::api::LogParams { container: Some(name::SIDECAR_CONTAINER.into()), ..Default::default() };
        let log = pods.logs("web", &sidecar).await?;
        ensure!(
            log.contains("healthy") && log.contains("Failed") && log.contains("Succeeded"),
            "log without transitions:\n{log}"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn label_follows_health_where_status_is_pushed() -> Result<()> {
    label_follows_health_both_ways_on("virtual-push").await
}

#[tokio::test(flavor = "multi_thread")]
async fn label_follows_health_where_status_is_polled() -> Result<()> {
    label_follows_health_both_ways_on("virtual-poll").await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_transition_is_one_request_and_nothing_else_is_sent() -> Result<()> {
    space::with("requests", Labels::opted_in(), |space| async move {
        let Some(lab) = space.cluster().lab().cloned() else {
            println!("skipped: only the lab has an audit log to count requests in");
            return Ok(());
        };
        let log = AuditLog::of(&lab);
        let begin = log.mark()?;
        marker_by_http(&space).await?;
        start(&space, "virtual-push").await?;
        let pods = space.api::<Pod>();
        let by_sidecar = {
            let namespace = space.name().to_owned();
            move |request: &probelet_tests::audit::Request| request.is_by(&namespace, "default")
        };
        // The first mark's line comes a moment after the mark itself, and is not to be counted.
        log.until(begin, 1, FOLLOW, &by_sidecar).await?;
        // The sidecar looks once or twice in the seconds after a transition; where the shield stands it never does.
        let transitions = 6;
        let mark = log.mark()?;
        for flip in 0..transitions {
            exec::switch(&pods, "web", CONTAINER, if flip % 2 == 1 { "heal" } else { "fail" }).await?;
            space.wait_for_pod("web", "to follow", FOLLOW, |pod| is_marked(pod, flip % 2 == 1)).await?;
        }
        let requests = log.until(mark, transitions, FOLLOW, &by_sidecar).await?;
        ensure!(
            requests.iter().all(|request| request.verb == "patch" && request.resource == "pods/status"),
            "{requests:#?}"
        );
        ensure!(requests.iter().all(|request| request.code == 200), "{requests:#?}");
        ensure!(
            requests.len() == transitions,
            "{transitions} transitions took {} requests: {requests:#?}",
            requests.len()
        );
        ensure!(requests.iter().all(|request| request.agent.starts_with("probelet/")), "{requests:#?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_probes_of_every_kind_mark_one_pod() -> Result<()> {
    space::with("kinds", Labels::opted_in(), |space| async move {
        let probes = [
            marker::probe(
                "http",
                json!({"httpGet": {"port": 8080, "path": "/health"}}),
                "x.example/Http",
                "x.example/http",
            ),
            marker::probe("tcp", json!({"tcpSocket": {"port": "tcp"}}), "x.example/Tcp", "x.example/tcp"),
            marker::probe(
                "exec",
                json!({"exec": {"command": ["/test-app", "check"]}}),
                "x.example/Exec",
                "x.example/exec",
            ),
        ];
        marker::create(&space, "kinds", "web", &probes).await?;
        let image = space.cluster().image(TEST_APP)?;
        space.create_object(&app("web", &image).on("virtual-push").labelled("app", "web").build()).await?;
        let all = |status: &'static str, value: &'static str| {
            move |pod: &Pod| {
                ["http", "tcp", "exec"].into_iter().zip(["Http", "Tcp", "Exec"]).all(|(label, condition)| {
                    has_condition(pod, &format!("x.example/{condition}"), status)
                        && has_label(pod, &format!("x.example/{label}"), value)
                })
            }
        };
        space.wait_for_pod("web", "to succeed by all probes", START, all("True", "true")).await?;
        exec::switch(&space.api::<Pod>(), "web", CONTAINER, "fail").await?;
        space.wait_for_pod("web", "to fail by all probes", FOLLOW, all("False", "false")).await?;
        exec::switch(&space.api::<Pod>(), "web", CONTAINER, "heal").await?;
        space.wait_for_pod("web", "to succeed again", FOLLOW, all("True", "true")).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_scheduled_to_a_virtual_node_is_marked() -> Result<()> {
    space::with("deployment", Labels::opted_in(), |space| async move {
        marker_by_http(&space).await?;
        let image = space.cluster().image(TEST_APP)?;
        space.create_object(&app("web", &image).on_a_virtual_node().deployment(2)).await?;
        let pods = space.api::<Pod>();
        let marked = kube::api::ListParams::default().labels(&format!("{LABEL}=true"));
        let begin = std::time::Instant::now();
        while pods.list(&marked).await?.items.len() < 2 {
            ensure!(begin.elapsed() < START, "two Pods should be marked");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marked_job_completes() -> Result<()> {
    space::with("job", Labels::opted_in(), |space| async move {
        marker_by_http(&space).await?;
        let image = space.cluster().image(TEST_APP)?;
        let job = app("web", &image)
            .on_a_virtual_node()
            .labelled("app", "web")
            .running(&["serve", "--http", "8080", "--exit-after", "6"])
            .job();
        space.create_object(&job).await?;
        let jobs = space.api::<k8s_openapi::api::batch::v1::Job>();
        probelet_tests::wait::until(&jobs, "web", "Job web to complete", START, |job| {
            let status = job.and_then(|job| job.status.as_ref());
            status.is_some_and(|status| status.succeeded == Some(1))
        })
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_marker_reaches_the_running_pod() -> Result<()> {
    space::with("edit", Labels::opted_in(), |space| async move {
        marker_by_http(&space).await?;
        start(&space, "virtual-push").await?;
        let http = json!({"httpGet": {"port": "http", "path": "/health"}});
        marker::edit(&space, "health", &[marker::probe("healthy", http, "other.example/Up", "other.example/up")])
            .await?;
        space
            .wait_for_pod("web", "to carry the new marks and not the old ones", START, |pod| {
                has_condition(pod, "other.example/Up", "True")
                    && has_label(pod, "other.example/up", "true")
                    && !has_condition(pod, CONDITION, "True")
                    && !pod.metadata.labels.iter().flatten().any(|(key, _)| key == LABEL)
            })
            .await?;
        marker::delete(&space, "health").await?;
        space
            .wait_for_pod("web", "to carry no marks", START, |pod| {
                !has_condition(pod, "other.example/Up", "True")
                    && !pod.metadata.labels.iter().flatten().any(|(key, _)| key == "other.example/up")
            })
            .await?;
        Ok(())
    })
    .await
}

#[test]
fn pods_of_the_harness_are_for_virtual_nodes() {
    let built = pod::app("a", "i").on_a_virtual_node().build();
    let spec = built.spec.expect("spec");
    assert_eq!(spec.node_selector.expect("selector")["type"], "virtual-kubelet");
}
