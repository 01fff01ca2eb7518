//! Every field of the newest PodStatus, one by one. The struct literal has no `..`: a field that a newer k8s-openapi
//! brings stops this file from compiling until it is attacked here too.

use crate::request::{self, Change};
use crate::stage::{Stage, Who};
use anyhow::Result;
use k8s_openapi::api::core::v1::PodStatus;
use probelet_protocol::name::NATIVE_CONDITIONS;
use serde_json::{Map, Value, json};

/// Another value for each field than the stage's Pods have.
fn attacks() -> Map<String, Value> {
    let status: PodStatus = PodStatus {
        allocated_resources: from(json!({"cpu": "9"})),
        // What it may change is confinement.rs's subject.
        conditions: None,
        container_statuses: from(json!([container("game", true)])),
        ephemeral_container_statuses: from(json!([container("debug", true)])),
        extended_resource_claim_status: from(json!({
            "resourceClaimName": "c",
            "requestMappings": [{"containerName": "game", "requestName": "r", "resourceName": "x.io/gpu"}],
        })),
        host_ip: from(json!("10.9.9.8")),
        host_ips: from(json!([{"ip": "10.9.9.8"}])),
        init_container_statuses: from(json!([container("init", true)])),
        message: from(json!("spoofed")),
        node_allocatable_resource_claim_statuses: from(json!([{"resourceClaimName": "c"}])),
        nominated_node_name: from(json!("node")),
        observed_generation: from(json!(9)),
        phase: from(json!("Succeeded")),
        pod_ip: from(json!("10.9.9.9")),
        pod_ips: from(json!([{"ip": "10.0.0.7"}, {"ip": "fd00::9"}])),
        qos_class: from(json!("Guaranteed")),
        reason: from(json!("Evicted")),
        resize: from(json!("Infeasible")),
        resource_claim_statuses: from(json!([{"name": "c", "resourceClaimName": "c"}])),
        resources: from(json!({"limits": {"cpu": "9"}})),
        start_time: from(json!("2020-01-01T00:00:00Z")),
        volume_health: from(json!([{"name": "v"}])),
    };
    match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        other => panic!("a PodStatus is an object: {other:?}"),
    }
}

fn container(name: &str, ready: bool) -> Value {
    json!({"name": name, "image": "game", "imageID": "", "ready": ready, "restartCount": 9})
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> Option<T> {
    Some(serde_json::from_value(value).expect("a value of this field"))
}

#[tokio::test]
async fn every_other_status_field_is_out_of_reach() -> Result<()> {
    let stage = Stage::new(false).await?;
    stage.confined().await?;
    let attacks = attacks();
    assert_eq!(attacks.len(), 21, "every field but conditions is attacked");
    let mut unknown = Vec::new();
    for (field, value) in attacks {
        let target = stage.pod().await?;
        let before = stage.stored(&target).await?;
        let change = Change::Merge(json!({"status": {field.clone(): value}}));
        let answer = stage.change(&target, Who::Pod, &change).await?;
        let after = stage.stored(&target).await?;
        assert_eq!(before["status"], after["status"], "{field}");
        match answer.code {
            200 => unknown.push(field),
            code => assert!([403, 422].contains(&code), "{field}: {code} {}", answer.message()),
        }
    }
    // An older API server, or one with the feature off, drops the field before anyone sees it.
    println!("dropped by this API server: {}", unknown.join(", "));
    stage.end().await
}

/// The rule names what is exempt, not what is covered, so fields that nobody knows yet are covered.
#[test]
fn policies_name_the_native_conditions_of_the_protocol() {
    let list = NATIVE_CONDITIONS.map(|name| format!("'{name}'")).join(", ");
    for file in ["probelet.yaml", "shield-v1.yaml", "shield-v1beta1.yaml"] {
        let path = probelet_tests::work_tree().join("manifests").join(file);
        let text = std::fs::read_to_string(&path).expect("rendered file");
        assert!(text.contains(&list), "{file}: helper probelet.nativeConditions must be [{list}]");
    }
}

/// The API server's own type check, where a controller manager runs it: a warning is a rule that may not do what it says.
#[tokio::test]
async fn policies_type_check_without_a_warning() -> Result<()> {
    let stage = Stage::new(false).await?;
    let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let list = request::read(&stage.admin, path).await?.body;
    let ours: Vec<_> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|policy| policy["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("probelet-")))
        .collect();
    assert_eq!(ours.len(), 5);
    for policy in ours {
        let warnings = &policy["status"]["typeChecking"]["expressionWarnings"];
        assert!(warnings.is_null(), "{}: {warnings}", policy["metadata"]["name"]);
    }
    stage.end().await
}
