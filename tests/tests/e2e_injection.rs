//! What injection does to real Pods on a real cluster: class, quota, refusals, dry run, native sidecars, both kinds of node.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{LimitRange, Pod, ResourceQuota};
use kube::api::{LogParams, PostParams};
use probelet_protocol::name;
use probelet_tests::image::TEST_APP;
use probelet_tests::pod::{self, Builder, app, has_container, has_label};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::{marker, wait};
use serde_json::json;
use std::time::Duration;

const LABEL: &str = "games.example/healthy";
const START: Duration = Duration::from_secs(90);

async fn mark(space: &Space) -> Result<()> {
    let http = json!({"httpGet": {"port": "http", "path": "/health"}});
    marker::create(space, "health", "web", &[marker::probe("healthy", http, "games.example/Healthy", LABEL)]).await?;
    Ok(())
}

fn web(space: &Space) -> Result<Builder> {
    Ok(app("web", &space.cluster().image(TEST_APP)?).labelled("app", "web"))
}

fn class(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.qos_class.as_deref()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guaranteed_pod_stays_guaranteed_under_quota_limits_and_the_restricted_standard() -> Result<()> {
    space::with("guaranteed", Labels::opted_in().restricted(), |space| async move {
        let limits: LimitRange = serde_json::from_value(json!({
            "metadata": {"name": "limits"},
            "spec": {"limits": [{"type": "Container", "min": {"cpu": "5m", "memory": "8Mi"},
                "max": {"cpu": "1", "memory": "256Mi"}, "default": {"cpu": "100m", "memory": "64Mi"},
                "defaultRequest": {"cpu": "50m", "memory": "32Mi"}}]},
        }))?;
        space.create_object(&limits).await?;
        let quota: ResourceQuota = serde_json::from_value(json!({
            "metadata": {"name": "quota"},
            "spec": {"hard": {"requests.cpu": "1", "requests.memory": "512Mi", "limits.cpu": "2", "limits.memory": "1Gi"}},
        }))?;
        space.create_object(&quota).await?;
        mark(&space).await?;
        let same = json!({"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "20m", "memory": "32Mi"}});
        space.create_object(&web(&space)?.with_resources(same).on("virtual-push").build()).await?;
        let pod = space.wait_for_pod("web", "to be marked", START, |pod| has_label(pod, LABEL, "true")).await?;
        ensure!(has_container(&pod, name::SIDECAR_CONTAINER), "not injected");
        ensure!(class(&pod) == "Guaranteed", "the class is {}", class(&pod));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_best_effort_pod_stays_best_effort_and_its_logs_are_the_apps() -> Result<()> {
    space::with("besteffort", Labels::opted_in(), |space| async move {
        mark(&space).await?;
        space.create_object(&web(&space)?.on("virtual-poll").build()).await?;
        let pod = space.wait_for_pod("web", "to be marked", START, |pod| has_label(pod, LABEL, "true")).await?;
        ensure!(class(&pod) == "BestEffort", "the class is {}", class(&pod));
        let annotations = pod.metadata.annotations.clone().unwrap_or_default();
        ensure!(annotations.get(name::DEFAULT_CONTAINER_ANNOTATION).map(String::as_str) == Some(pod::CONTAINER));
        ensure!(
            annotations.get(name::WRITES_ANNOTATION).is_some_and(|writes| writes.contains(LABEL)),
            "{annotations:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_a_native_sidecar_completes() -> Result<()> {
    space::with("native", Labels::opted_in(), |space| async move {
        mark(&space).await?;
        let job = web(&space)?
            .on_a_virtual_node()
            .annotated("probelet.io/native-sidecar", "true")
            .running(&["serve", "--http", "8080", "--exit-after", "4"])
            .job();
        space.create_object(&job).await?;
        wait::until(&space.api::<Job>(), "web", "Job web to complete", START, |job: Option<&Job>| {
            job.and_then(|job| job.status.as_ref()).is_some_and(|status| status.succeeded == Some(1))
        })
        .await?;
        let pods = space.api::<Pod>().list(&Default::default()).await?;
        let pod = pods.items.first().context("the Job's Pod")?;
        let mut inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let native = inits.find(|init| init.name == name::SIDECAR_CONTAINER).context("native sidecar")?;
        ensure!(native.restart_policy.as_deref() == Some("Always"), "{native:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_setting_is_refused_by_its_name_and_nothing_is_created() -> Result<()> {
    space::with("refused", Labels::opted_in(), |space| async move {
        mark(&space).await?;
        let bad = web(&space)?
            .on("virtual-push")
            .annotated("probelet.io/period", "fast")
            .annotated("probelet.io/peroid", "1s");
        let error = space.create_object(&bad.build()).await.err().context("it was accepted")?;
        let message = format!("{error:#}");
        ensure!(message.contains("probelet.io/period") && message.contains("50ms"), "{message}");
        ensure!(message.contains("probelet.io/peroid: no such setting"), "{message}");
        ensure!(space.api::<Pod>().list(&Default::default()).await?.items.is_empty(), "nothing is created");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_injected_pod_and_creates_nothing() -> Result<()> {
    space::with("dryrun", Labels::opted_in(), |space| async move {
        mark(&space).await?;
        let pods = space.api::<Pod>();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let shown = pods.create(&dry, &web(&space)?.on("virtual-push").build()).await?;
        ensure!(has_container(&shown, name::SIDECAR_CONTAINER), "not injected");
        ensure!(pods.list(&Default::default()).await?.items.is_empty(), "something was created");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_lands_on_an_ordinary_node_stands_by() -> Result<()> {
    space::with("hybrid", Labels::opted_in(), |space| async move {
        mark(&space).await?;
        // The toleration alone: it may land on either kind. The scheduler is told where, as a hybrid cluster's would decide.
        let either = web(&space)?.on_a_virtual_node().with(|spec| {
            spec.node_selector = Some([("kubernetes.io/hostname".to_owned(), "node-1".to_owned())].into());
        });
        let injected = either.labelled(name::INJECT_LABEL, name::INJECT_ENABLED).build();
        space.create_object(&injected).await?;
        let pod = space.wait_for_pod("web", "to run", START, pod::is_ready).await?;
        ensure!(has_container(&pod, name::SIDECAR_CONTAINER), "not injected");
        let kind = pod.metadata.annotations.iter().flatten().find(|(key, _)| *key == name::NODE_KIND_ANNOTATION);
        ensure!(kind.is_some_and(|(_, kind)| kind == name::NODE_KIND_ORDINARY), "node kind: {kind:?}");
        let sidecar = LogParams { container: Some(name::SIDECAR_CONTAINER.into()), ..LogParams::default() };
        let log = space.api::<Pod>().logs("web", &sidecar).await?;
        ensure!(log.contains("standing by"), "log:\n{log}");
        ensure!(!has_label(&pod, LABEL, "true"), "it was marked");
        Ok(())
    })
    .await
}
