//! What injection writes, and that a second pass writes nothing.

use crate::harness::{Webhook, json, review};
use serde_json::{Value, json};

#[tokio::test]
async fn a_pod_on_a_virtual_node_gets_plan_and_sidecar() {
    let reply = Webhook::with_marker().create(|_| {}).await;
    assert!(reply.allowed);
    assert_eq!(reply.outcome(), "injected");
    assert_eq!(reply.last(), "probelet");
    assert_eq!(reply.warnings(), Vec::<String>::new());
    insta::assert_json_snapshot!("http_probe", reply.patch);
    assert_eq!(
        json(reply.annotation("kruise.io/podprobe")),
        json(
            r#"[{"name": "healthy", "containerName": "game", "podConditionType": "game.example/healthy",
                 "probe": {"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 2}}]"#
        )
    );
}

#[tokio::test]
async fn a_second_pass_changes_nothing() {
    let webhook = Webhook::with_marker();
    let first = webhook.create(|_| {}).await;
    let second = webhook.create(|pod| *pod = first.object.clone()).await;
    assert!(second.is_unchanged(), "{:?}", second.patch);
    assert_eq!(second.outcome(), "unchanged");
}

#[tokio::test]
async fn a_native_sidecar_comes_last_of_the_init_containers() {
    let webhook = Webhook::with_marker();
    let native = |pod: &mut Value| pod["metadata"]["annotations"]["probelet.io/native-sidecar"] = "true".into();
    let reply = webhook.create(native).await;
    let sidecar = &reply.object["spec"]["initContainers"][1];
    assert_eq!((&sidecar["name"], &sidecar["restartPolicy"]), (&"probelet".into(), &"Always".into()));
    assert!(
        sidecar["env"].as_array().expect("env").contains(&json!({"name": "PROBELET_NATIVE_SIDECAR", "value": "true"}))
    );
    assert_eq!(reply.last(), "metrics");
    let second = webhook.create(|pod| *pod = reply.object.clone()).await;
    assert!(second.is_unchanged(), "{:?}", second.patch);
}

/// Such a sidecar must not outlive the others, also where it stands by (fault F13).
#[tokio::test]
async fn a_plain_sidecar_is_told_that_its_pod_may_end() {
    for (policy, native, expected) in
        [("Always", "false", false), ("OnFailure", "false", true), ("Never", "false", true), ("Never", "true", false)]
    {
        let reply = Webhook::with_marker()
            .create(|pod| {
                pod["spec"]["restartPolicy"] = policy.into();
                pod["metadata"]["annotations"]["probelet.io/native-sidecar"] = native.into();
            })
            .await;
        let list = if native == "true" { "initContainers" } else { "containers" };
        let env = reply.container(list, "probelet")["env"].as_array().expect("env").clone();
        let told = env.contains(&json!({"name": "PROBELET_MAY_END", "value": "true"}));
        assert_eq!(told, expected, "{policy}, native sidecar {native}");
    }
}

#[tokio::test]
async fn a_container_that_another_webhook_added_is_taken_in_by_the_second_pass() {
    let webhook = Webhook::with_marker();
    webhook.mark(
        "proxy",
        r#"{"selector": {"matchLabels": {"app": "minecraft"}}, "probes": [{"name": "proxy", "containerName": "proxy",
            "probe": {"tcpSocket": {"port": "admin"}}, "podConditionType": "proxy.example/up"}]}"#,
    );
    let proxy = json!({"name": "proxy", "image": "proxy:1", "ports": [{"name": "admin", "containerPort": 15000}]});
    let before =
        webhook.create(|pod| pod["spec"]["containers"].as_array_mut().expect("list").push(proxy.clone())).await;
    let first = webhook.create(|_| {}).await;
    assert_eq!(first.annotation("kruise.io/podprobemarker-list"), "health");
    let after = webhook
        .create(|pod| {
            *pod = first.object.clone();
            pod["spec"]["containers"].as_array_mut().expect("list").push(proxy.clone());
            pod["metadata"]["annotations"]["other.example/seen"] = "yes".into();
        })
        .await;
    assert_eq!(after.annotation("kruise.io/podprobemarker-list"), "health,proxy");
    for key in
        ["kruise.io/podprobe", "kruise.io/podprobemarker-list", "probelet.io/marker-policies", "probelet.io/writes"]
    {
        assert_eq!(after.annotation(key), before.annotation(key), "{key}");
    }
    let env = |object: &Value| {
        let containers = object["spec"]["containers"].as_array().expect("list").clone();
        containers.into_iter().find(|container| container["name"] == "probelet").expect("sidecar")["env"].clone()
    };
    assert_eq!(env(&after.object), env(&before.object));
}

#[tokio::test]
async fn a_pod_without_annotations_volumes_and_name_is_injected() {
    let reply = Webhook::with_marker()
        .create(|pod| {
            let metadata = pod["metadata"].as_object_mut().expect("metadata");
            metadata.remove("annotations");
            metadata.remove("generateName");
            pod["spec"].as_object_mut().expect("spec").remove("volumes");
        })
        .await;
    assert_eq!((reply.outcome(), reply.last()), ("injected", "probelet"));
}

#[tokio::test]
async fn pull_secrets_are_added_once() {
    let mut webhook = Webhook::with_marker();
    webhook.config.image_pull_secrets = vec!["mine".into(), "ours".into()];
    webhook.config.image_pull_policy = Some("IfNotPresent".into());
    let reply = webhook.create(|pod| pod["spec"]["imagePullSecrets"] = json!([{"name": "mine"}])).await;
    assert_eq!(reply.object["spec"]["imagePullSecrets"], json!([{"name": "mine"}, {"name": "ours"}]));
    assert_eq!(reply.container("containers", "probelet")["imagePullPolicy"], "IfNotPresent");
}

#[tokio::test]
async fn the_default_container_is_kept_or_the_first() {
    let key = "kubectl.kubernetes.io/default-container";
    let webhook = Webhook::with_marker();
    assert_eq!(webhook.create(|_| {}).await.annotation(key), "game");
    let own = webhook.create(|pod| pod["metadata"]["annotations"][key] = "metrics".into()).await;
    assert_eq!(own.annotation(key), "metrics");
}

#[tokio::test]
async fn nothing_opens_a_port_or_makes_a_disk_volume_unless_asked_for() {
    let webhook = Webhook::with_marker();
    let plain = webhook.create(|_| {}).await;
    assert_eq!(plain.container("containers", "probelet")["ports"], Value::Null);
    assert_eq!(plain.annotation("cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"), "");
    let asked = webhook.create(|pod| pod["metadata"]["annotations"]["probelet.io/metrics-port"] = "9900".into()).await;
    assert_eq!(asked.container("containers", "probelet")["ports"][0]["containerPort"], 9900);
}

#[tokio::test]
async fn a_guaranteed_pod_in_a_limited_namespace_stays_guaranteed() {
    let webhook = Webhook::with_marker();
    let items: Vec<probelet_webhook::limit_range::LimitRangeItem> =
        serde_json::from_value(json!([{"type": "Container", "min": {"cpu": "50m"}}])).expect("items");
    webhook.cluster.set_limit_range("games", "limits", items);
    let reply = webhook
        .create(|pod| {
            let amounts = json!({"cpu": "1", "memory": "1Gi"});
            let resources = json!({"requests": amounts, "limits": amounts});
            pod["spec"]["containers"].as_array_mut().expect("list").truncate(1);
            pod["spec"]["containers"][0]["resources"] = resources.clone();
            pod["spec"]["initContainers"][0]["resources"] = resources;
        })
        .await;
    let amounts = json!({"cpu": "50m", "memory": "16Mi"});
    assert_eq!(reply.container("containers", "probelet")["resources"], json!({"requests": amounts, "limits": amounts}));
}

#[tokio::test]
async fn a_pod_on_an_ordinary_node_is_taken_by_its_label() {
    let webhook = Webhook::with_marker();
    let reply = webhook
        .create(|pod| {
            pod["spec"]["nodeSelector"] = Value::Null;
            pod["spec"]["tolerations"] = Value::Null;
            pod["metadata"]["labels"]["probelet.io/inject"] = "enabled".into();
        })
        .await;
    assert_eq!(reply.outcome(), "injected");
}

#[tokio::test]
async fn a_namespace_younger_than_the_watch_is_trusted_to_the_api_servers_selector() {
    let webhook = Webhook::empty();
    webhook.cluster.remove_namespace("games");
    let plan = r#"[{"name": "a", "containerName": "game", "probe": {"tcpSocket": {"port": 1}}, "podConditionType": "x.io/A"}]"#;
    let reply = webhook.create(|pod| pod["metadata"]["annotations"]["kruise.io/podprobe"] = plan.into()).await;
    assert_eq!(reply.outcome(), "injected");
}

#[tokio::test]
async fn dry_run_is_answered_alike() {
    let webhook = Webhook::with_marker();
    let mut dry = review(|_| {});
    dry["request"]["dryRun"] = true.into();
    assert_eq!(webhook.review("/mutate-pods", &dry).await.patch, webhook.create(|_| {}).await.patch);
}
