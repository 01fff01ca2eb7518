//! Pods that controllers make, of every kind of controller. Nothing schedules them but what a DaemonSet does by itself.

use super::with_marker;
use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::api::{ListParams, Patch, PatchParams};
use probelet_protocol::name;
use probelet_tests::pod::has_container;
use probelet_tests::space::Space;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn template(kind: &str, restart: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web", "kind": kind}},
        "spec": {
            "schedulerName": "nobody", "restartPolicy": restart, "nodeSelector": {"type": "virtual-kubelet"},
            "containers": [{"name": "app", "image": "none"}],
        },
    })
}

fn spec(kind: &str) -> Value {
    json!({"replicas": 1, "selector": {"matchLabels": {"kind": kind}}, "template": template(kind, "Always")})
}

/// Waits until there are so many Pods of a controller; they must all be injected, and have names that it gave them.
async fn injected(space: &Space, kind: &str, count: usize) -> Result<()> {
    let begin = Instant::now();
    let wanted = ListParams::default().labels(&format!("kind={kind}"));
    let pods = loop {
        let found = space.api::<Pod>().list(&wanted).await?.items;
        if found.len() >= count {
            break found;
        }
        ensure!(begin.elapsed() < LIMIT, "the {kind} has {} Pods", found.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for pod in pods {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        ensure!(has_container(&pod, name::SIDECAR_CONTAINER), "{kind}: {name} is not injected");
        ensure!(name.starts_with(kind), "{kind}: {name}");
    }
    Ok(())
}

async fn create<K>(space: &Space, kind: &str, spec: Value) -> Result<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    space.create_object(&serde_json::from_value::<K>(json!({"metadata": {"name": kind}, "spec": spec}))?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_every_kind_of_controller() -> Result<()> {
    with_marker("kinds", |space| async move {
        create::<Deployment>(&space, "deployment", spec("deployment")).await?;
        create::<ReplicaSet>(&space, "replicaset", spec("replicaset")).await?;
        let mut controller = spec("controller");
        controller["selector"] = json!({"kind": "controller"});
        create::<ReplicationController>(&space, "controller", controller).await?;
        let mut set = spec("statefulset");
        set["serviceName"] = json!("none");
        create::<StatefulSet>(&space, "statefulset", set).await?;
        create::<Job>(&space, "job", json!({"template": template("job", "Never")})).await?;
        let job = json!({"spec": {"template": template("cronjob", "OnFailure")}});
        let cron = json!({"schedule": "* * * * *", "suspend": true, "jobTemplate": job});
        create::<CronJob>(&space, "cronjob", cron).await?;
        for kind in ["deployment", "replicaset", "controller", "statefulset", "job"] {
            injected(&space, kind, 1).await?;
        }
        // One run is overdue, so nobody waits for the next minute.
        let crons = space.api::<CronJob>();
        let past = json!({"status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}});
        crons.patch_status("cronjob", &PatchParams::default(), &Patch::Merge(past)).await?;
        let go = json!({"spec": {"suspend": false}});
        crons.patch("cronjob", &PatchParams::default(), &Patch::Merge(go)).await?;
        injected(&space, "cronjob", 1).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_sets_pods_are_injected_where_their_node_is_virtual() -> Result<()> {
    with_marker("daemons", |space| async move {
        let mut template = template("daemonset", "Always");
        template["spec"]["nodeSelector"] = json!({});
        template["spec"]["tolerations"] = json!([{"key": "virtual-kubelet.io/provider", "operator": "Exists"}]);
        let spec = json!({"selector": {"matchLabels": {"kind": "daemonset"}}, "template": template});
        create::<DaemonSet>(&space, "daemonset", spec).await?;
        let wanted = ListParams::default().labels("kind=daemonset");
        let begin = Instant::now();
        let pods = loop {
            let found = space.api::<Pod>().list(&wanted).await?.items;
            if found.len() >= 3 {
                break found;
            }
            ensure!(begin.elapsed() < LIMIT, "the DaemonSet has {} Pods", found.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let mut injected = 0;
        for pod in pods {
            let spec = serde_json::to_value(&pod.spec)?;
            let field = spec.pointer(
                "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0",
            );
            let node = field.and_then(Value::as_str).unwrap_or_default();
            let expected = node.starts_with("virtual-");
            ensure!(has_container(&pod, name::SIDECAR_CONTAINER) == expected, "the Pod for {node}");
            injected += usize::from(expected);
        }
        ensure!(injected == 2, "{injected} Pods for virtual nodes");
        Ok(())
    })
    .await
}
