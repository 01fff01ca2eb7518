//! Per-Pod settings: into the sidecar's environment, or refused by key.

use crate::harness::{Reply, Webhook};
use serde_json::{Value, json};

async fn with(webhook: &Webhook, settings: &[(&str, &str)]) -> Reply {
    webhook
        .create(|pod| {
            for (key, value) in settings {
                pod["metadata"]["annotations"][format!("probelet.io/{key}")] = (*value).into();
            }
        })
        .await
}

fn env(reply: &Reply, name: &str) -> Value {
    let env = reply.container("containers", "probelet")["env"].as_array().expect("env").clone();
    env.into_iter().find(|entry| entry["name"] == name).map_or(Value::Null, |entry| entry["value"].clone())
}

#[tokio::test]
async fn settings_reach_the_sidecar_in_their_own_words() {
    let mut webhook = Webhook::with_marker();
    webhook.config.shield = true;
    webhook.config.settings = [("observe", "watch"), ("log-format", "json")].map(|(k, v)| (k.into(), v.into())).into();
    let settings = [
        ("observe", "patch"),
        ("marks", "conditions"),
        ("defaults", "core"),
        ("probe-host", "::1"),
        ("period", "1s,healthy=250ms,$(HOME)=2s"),
        ("timeout", "2s"),
        ("look", "30m"),
        ("retry-spread", "40s"),
        ("log-level", "debug"),
        ("metrics-port", "9900"),
        ("events", "true"),
    ];
    let reply = with(&webhook, &settings).await;
    for (name, value) in [
        ("PROBELET_SHIELD", "true"),
        ("PROBELET_OBSERVE", "patch"),
        ("PROBELET_MARKS", "conditions"),
        ("PROBELET_DEFAULTS", "core"),
        ("PROBELET_PROBE_HOST", "::1"),
        ("PROBELET_PERIOD", "1s,$$(HOME)=2s,healthy=250ms"),
        ("PROBELET_TIMEOUT", "2s"),
        ("PROBELET_LOOK", "30m"),
        ("PROBELET_RETRY_SPREAD", "40s"),
        ("PROBELET_LOG_LEVEL", "debug"),
        ("PROBELET_LOG_FORMAT", "json"),
        ("PROBELET_METRICS_PORT", "9900"),
        ("PROBELET_EVENTS", "true"),
    ] {
        assert_eq!(env(&reply, name), value, "{name}");
    }
}

#[tokio::test]
async fn bad_settings_are_refused_with_all_keys() {
    let webhook = Webhook::with_marker();
    let reply = with(&webhook, &[("peroid", "1s"), ("observe", "poll"), ("log-level", "info")]).await;
    assert!(!reply.allowed);
    assert_eq!((&reply.response["status"]["code"], &reply.patch), (&json!(422), &json!([])));
    for part in
        ["annotation probelet.io/peroid: no such setting", "annotation probelet.io/observe: \"poll\" is not allowed"]
    {
        assert!(reply.message().contains(part), "{}", reply.message());
    }
    let reply = with(&webhook, &[("cpu-request", "much"), ("image", "evil.example/x")]).await;
    for part in
        ["probelet.io/cpu-request: \"much\" is not a quantity", "probelet.io/image: \"evil.example/x\" is not allowed"]
    {
        assert!(reply.message().contains(part), "{}", reply.message());
    }
}

#[tokio::test]
async fn the_image_is_the_pods_only_within_allowed_prefixes() {
    let mut webhook = Webhook::with_marker();
    webhook.config.allowed_image_prefixes = vec!["registry.example/probelet".into()];
    let reply = with(&webhook, &[("image", "registry.example/probelet:next")]).await;
    assert_eq!(reply.container("containers", "probelet")["image"], "registry.example/probelet:next");
    for image in ["registry.example/probelet-evil:1", "registry.example.evil/probelet", "a b"] {
        let reply = with(&webhook, &[("image", image)]).await;
        assert!(reply.message().contains("annotation probelet.io/image"), "{}", reply.message());
    }
}

#[tokio::test]
async fn resources_of_a_best_effort_pod_stay_away_and_that_is_told() {
    let webhook = Webhook::with_marker();
    let reply = webhook
        .create(|pod| {
            pod["spec"]["containers"][0]["resources"] = json!({});
            pod["metadata"]["annotations"]["probelet.io/cpu-request"] = "1".into();
        })
        .await;
    assert_eq!(reply.container("containers", "probelet")["resources"], Value::Null);
    assert_eq!(
        reply.warnings(),
        ["probelet: annotation probelet.io/cpu-request: not applied, the Pod would lose its QoS class BestEffort"]
    );
}
