//! Overwrites of whole Pods by another identity, as virtual nodes make them, under the shield.

use crate::install::until;
use crate::request::{self, Change, Change::*};
use crate::stage::{Stage, Target, Who};
use anyhow::Result;
use k8s_openapi::api::core::v1::PodCondition;
use serde_json::{Value, json};

const TYPE: &str = "game.io/healthy";

/// A condition with every field that there is; no `..`, so a new field has to be added here.
fn full() -> Value {
    let time = || serde_json::from_value(json!("2026-02-03T04:05:06Z")).ok();
    let condition = PodCondition {
        last_probe_time: time(),
        last_transition_time: time(),
        message: Some("says \"why\" / ~ 中文".to_owned()),
        observed_generation: Some(1),
        reason: Some("Probe".to_owned()),
        status: "False".to_owned(),
        type_: TYPE.to_owned(),
    };
    serde_json::to_value(condition).unwrap_or_default()
}

/// No time, no reason, no message.
fn bare() -> Value {
    json!({"type": TYPE, "status": "Unknown", "lastProbeTime": null, "lastTransitionTime": null})
}

fn marks(condition: &Value, value: &str) -> Change {
    Strategic(json!({
        "metadata": {"labels": {TYPE: value}, "annotations": {"game.io/cost": value}},
        "status": {"conditions": [{"$patch": "delete", "type": TYPE}, condition]},
    }))
}

fn uncover() -> Change {
    Strategic(json!({
        "metadata": {"labels": {TYPE: null}, "annotations": {"game.io/cost": null}},
        "status": {"conditions": [{"type": TYPE, "$patch": "delete"}]},
    }))
}

fn own_condition(pod: &Value) -> Value {
    let list = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|item| item["type"] == TYPE).unwrap_or_default()
}

/// All that a plan's marks are made of.
fn seen(pod: &Value) -> [Value; 3] {
    [
        pod["metadata"]["labels"][TYPE].clone(),
        pod["metadata"]["annotations"]["game.io/cost"].clone(),
        own_condition(pod),
    ]
}

fn status_of<'a>(pod: &'a Value, kind: &str) -> Option<&'a str> {
    let list = pod["status"]["conditions"].as_array()?;
    list.iter().find(|item| item["type"] == kind)?["status"].as_str()
}

/// The whole object as somebody remembers it, with nothing that would make the API server check its age.
fn copy(pod: &Value, edit: impl FnOnce(&mut Value)) -> Change {
    let mut pod = pod.clone();
    for field in ["resourceVersion", "managedFields"] {
        pod["metadata"].as_object_mut().map(|metadata| metadata.remove(field));
    }
    edit(&mut pod);
    Put(pod)
}

/// An opted-in namespace in which the shield is up, or nothing where the API server has none.
async fn shielded() -> Result<Option<Stage>> {
    let stage = Stage::new(true).await?;
    if !stage.has_shield {
        println!("skipped: this API server has no MutatingAdmissionPolicy");
        return Ok(None);
    }
    until("the shield is up", async || {
        let target = stage.pod().await?;
        let wipe = Merge(json!({"metadata": {"labels": {TYPE: null}}}));
        let answer = stage.change(&target, Who::Provider, &wipe).await?;
        Ok(answer.code == 200 && seen(&answer.body)[0] == "true")
    })
    .await?;
    Ok(Some(stage))
}

async fn accepted(stage: &Stage, target: &Target, who: Who, what: &str, change: &Change) -> Result<Value> {
    let answer = stage.change(target, who, change).await?;
    assert_eq!(answer.code, 200, "{what}: {}", answer.message());
    stage.stored(target).await
}

#[tokio::test]
async fn an_overwrite_leaves_every_mark_with_all_its_fields() -> Result<()> {
    let Some(stage) = shielded().await? else { return Ok(()) };
    for condition in [full(), bare()] {
        let stale = |stale: &Value| -> Vec<(&'static str, Change)> {
            vec![
                ("the old copy", copy(stale, |_| ())),
                ("without labels", copy(stale, |pod| pod["metadata"]["labels"] = Value::Null)),
                ("without annotations", copy(stale, |pod| pod["metadata"]["annotations"] = Value::Null)),
                ("without conditions", copy(stale, |pod| pod["status"]["conditions"] = Value::Null)),
                ("without status", copy(stale, |pod| pod["status"] = json!({}))),
                (
                    "no metadata, no status",
                    copy(stale, |pod| {
                        pod["metadata"] =
                            json!({"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]});
                        pod["status"] = json!({});
                    }),
                ),
                ("another value of each", marks(&json!({"type": TYPE, "status": "True"}), "foreign")),
                ("each taken off", uncover()),
                ("the list replaced", Merge(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}))),
                (
                    "one field of the condition",
                    Strategic(json!({"status": {"conditions": [{"type": TYPE, "reason": "X"}]}})),
                ),
                (
                    "JSON patch",
                    Json(json!([
                        {"op": "remove", "path": "/metadata/labels"}, {"op": "remove", "path": "/status/conditions"},
                    ])),
                ),
            ]
        };
        let target = stage.pod().await?;
        let first = stage.stored(&target).await?;
        let marked = accepted(&stage, &target, Who::Pod, "marking", &marks(&condition, "mine")).await?;
        assert_eq!(own_condition(&marked)["message"], condition.get("message").cloned().unwrap_or_default());
        for (what, change) in stale(&first) {
            let after = accepted(&stage, &target, Who::Provider, what, &change).await?;
            assert_eq!(seen(&after), seen(&marked), "{what}");
            assert_eq!(after["metadata"]["annotations"]["probelet.io/writes"], crate::stage::WRITES, "{what}");
        }
    }
    stage.end().await
}

#[tokio::test]
async fn marks_that_the_pod_took_off_stay_off() -> Result<()> {
    let Some(stage) = shielded().await? else { return Ok(()) };
    let target = stage.pod().await?;
    let stale = stage.stored(&target).await?;
    let gone = accepted(&stage, &target, Who::Pod, "taking marks off", &uncover()).await?;
    assert_eq!(seen(&gone), [Value::Null, Value::Null, Value::Null], "the Pod itself may delete");
    let after = accepted(&stage, &target, Who::Provider, "old copy", &copy(&stale, |_| ())).await?;
    assert_eq!(seen(&after), [Value::Null, Value::Null, Value::Null]);
    stage.end().await
}

#[tokio::test]
async fn the_providers_own_status_arrives() -> Result<()> {
    let Some(stage) = shielded().await? else { return Ok(()) };
    let target = stage.pod().await?;
    let stale = stage.stored(&target).await?;
    let marked = accepted(&stage, &target, Who::Pod, "marking", &marks(&full(), "mine")).await?;
    let change = copy(&stale, |pod| {
        pod["metadata"]["labels"]["zone"] = json!("a");
        pod["metadata"]["labels"]["app"] = json!("renamed");
        pod["metadata"]["annotations"]["provider.io/id"] = json!("7");
        pod["status"]["podIP"] = json!("10.1.1.1");
        pod["status"]["podIPs"] = json!([{"ip": "10.1.1.1"}]);
        pod["status"]["phase"] = json!("Failed");
        pod["status"]["containerStatuses"][0]["restartCount"] = json!(3);
        pod["status"]["conditions"] =
            json!([{"type": "Ready", "status": "True"}, {"type": "x.io/new", "status": "True"}]);
    });
    let after = accepted(&stage, &target, Who::Provider, "a new status", &change).await?;
    assert_eq!(seen(&after), seen(&marked));
    assert_eq!(after["metadata"]["labels"]["zone"], "a");
    assert_eq!(after["metadata"]["labels"]["app"], "renamed");
    assert_eq!(after["metadata"]["annotations"]["provider.io/id"], "7");
    assert_eq!(after["status"]["podIP"], "10.1.1.1");
    assert_eq!(after["status"]["phase"], "Failed");
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 3);
    // Ready is in this Pod's list; a native condition is never shielded.
    assert_eq!(status_of(&after, "Ready"), Some("True"));
    assert_eq!(status_of(&after, "x.io/new"), Some("True"));
    assert_eq!(status_of(&after, "other.io/theirs"), None, "a condition that is not listed is the provider's to drop");
    stage.end().await
}

#[tokio::test]
async fn live_edits_of_the_plan_survive_an_old_copy() -> Result<()> {
    let Some(stage) = shielded().await? else { return Ok(()) };
    let target = stage
        .pod_with(|pod| {
            pod["metadata"]["annotations"]["kruise.io/podprobe"] = json!("[]");
            pod["metadata"]["annotations"]["probelet.io/marker-policies"] = json!("[]");
        })
        .await?;
    let stale = stage.stored(&target).await?;
    let path = stage.path(&format!("pods/{}", target.name));
    let edit = |annotations: Value| Merge(json!({"metadata": {"annotations": annotations}}));
    let plan = json!({"kruise.io/podprobe": "[ ]", "probelet.io/writes": "l:game.io/other", "probelet.io/new": "1"});
    assert_eq!(request::send(&stage.admin, &path, &edit(plan)).await?.code, 200);
    let after = accepted(&stage, &target, Who::Provider, "old copy", &copy(&stale, |_| ())).await?;
    let annotations = &after["metadata"]["annotations"];
    assert_eq!(annotations["kruise.io/podprobe"], "[ ]");
    assert_eq!(annotations["probelet.io/writes"], "l:game.io/other");
    assert_eq!(annotations["probelet.io/new"], "1");

    let none = json!({
        "kruise.io/podprobe": null, "probelet.io/writes": null, "probelet.io/new": null,
        "probelet.io/marker-policies": null,
    });
    assert_eq!(request::send(&stage.admin, &path, &edit(none)).await?.code, 200);
    let after = accepted(&stage, &target, Who::Provider, "old copy", &copy(&stale, |_| ())).await?;
    assert_eq!(after["metadata"]["annotations"]["kruise.io/podprobe"], Value::Null, "a plan taken away stays away");
    assert_eq!(after["metadata"]["annotations"]["probelet.io/writes"], Value::Null);
    stage.end().await
}

#[tokio::test]
async fn pods_without_a_list_and_plain_namespaces_are_left_alone() -> Result<()> {
    let Some(stage) = shielded().await? else { return Ok(()) };
    let wipe = Merge(json!({
        "metadata": {"labels": {TYPE: null}, "annotations": {"game.io/cost": null}}, "status": {"conditions": null},
    }));
    let none = [Value::Null, Value::Null, Value::Null];
    let plain = stage.pod_with(|pod| pod["metadata"]["annotations"] = json!({"game.io/cost": "1"})).await?;
    assert_eq!(seen(&accepted(&stage, &plain, Who::Provider, "wipe", &wipe).await?), none);
    let outside = Stage::new(false).await?;
    let target = outside.pod().await?;
    assert_eq!(seen(&accepted(&outside, &target, Who::Provider, "wipe", &wipe).await?), none);
    outside.end().await?;
    stage.end().await
}

/// kruise-manager marks Pods of ordinary nodes: it reads the whole Pod, changes it and writes it
/// (openkruise/kruise:pkg/controller/nodepodprobe/node_pod_probe_controller.go `updatePodProbeStatus`).
#[tokio::test]
async fn on_an_ordinary_node_marks_are_somebody_elses_and_only_the_plan_comes_back() -> Result<()> {
    let Some(stage) = shielded().await? else { return Ok(()) };
    let target = stage
        .pod_with(|pod| {
            let annotations = &mut pod["metadata"]["annotations"];
            annotations["probelet.io/writes"] = json!("c:game.io/health,l:game.io/h,a:game.io/cost");
            annotations["probelet.io/node-kind"] = json!("ordinary");
            annotations["kruise.io/podprobe"] = json!("[]");
        })
        .await?;
    let seen = |pod: &Value| {
        let metadata = &pod["metadata"];
        let condition = status_of(pod, "game.io/health").map(str::to_owned);
        (condition, metadata["labels"]["game.io/h"].clone(), metadata["annotations"]["game.io/cost"].clone())
    };
    let mark = |pod: &mut Value, status: &str, value: &str| {
        if let Some(list) = pod["status"]["conditions"].as_array_mut() {
            list.retain(|item| item["type"] != "game.io/health");
            list.push(json!({"type": "game.io/health", "status": status}));
        }
        pod["metadata"]["labels"]["game.io/h"] = json!(value);
        pod["metadata"]["annotations"]["game.io/cost"] = json!(value);
    };
    for (status, value) in [("True", "yes"), ("False", "no")] {
        let before = stage.stored(&target).await?;
        let marked =
            accepted(&stage, &target, Who::Provider, "marking", &copy(&before, |pod| mark(pod, status, value))).await?;
        assert_eq!(seen(&marked), (Some(status.to_owned()), json!(value), json!(value)));
    }
    // The annotation that lifts the shield is under it, and so is what the sidecar obeys.
    let marked = stage.stored(&target).await?;
    let change = copy(&marked, |pod| {
        mark(pod, "True", "again");
        let annotations = &mut pod["metadata"]["annotations"];
        annotations["probelet.io/node-kind"] = json!("virtual");
        annotations["probelet.io/writes"] = json!("l:app");
        annotations["kruise.io/podprobe"] = json!("[ ]");
    });
    let after = accepted(&stage, &target, Who::Provider, "another plan", &change).await?;
    assert_eq!(seen(&after), (Some("True".to_owned()), json!("again"), json!("again")));
    for key in ["probelet.io/node-kind", "probelet.io/writes", "kruise.io/podprobe"] {
        assert_eq!(after["metadata"]["annotations"][key], marked["metadata"]["annotations"][key], "{key}");
    }
    stage.end().await
}

/// Who may write a Pod's status may not call its node ordinary: not alone, not together with marks, not before them.
#[tokio::test]
async fn a_foreign_status_write_cannot_lift_the_shield_by_the_nodes_kind() -> Result<()> {
    let Some(stage) = shielded().await? else { return Ok(()) };
    for kind in [None, Some("virtual"), Some("")] {
        let target = stage
            .pod_with(|pod| {
                if let Some(kind) = kind {
                    pod["metadata"]["annotations"]["probelet.io/node-kind"] = json!(kind);
                }
            })
            .await?;
        let before = accepted(&stage, &target, Who::Pod, "marking", &marks(&full(), "mine")).await?;
        let ordinary = json!({"probelet.io/node-kind": "ordinary"});
        let mut both = json!({"metadata": {"labels": {TYPE: "foreign"}, "annotations": ordinary}});
        both["status"] = json!({"conditions": [{"type": TYPE, "status": "True"}]});
        let wiped = |pod: &mut Value| {
            pod["metadata"]["annotations"]["probelet.io/node-kind"] = json!("ordinary");
            pod["metadata"]["labels"] = json!({});
            pod["status"]["conditions"] = json!([]);
        };
        for (what, change) in [
            ("the kind alone", Merge(json!({"metadata": {"annotations": ordinary}}))),
            ("marks after it", uncover()),
            ("both at once", Strategic(both)),
            ("a whole Pod", copy(&before, wiped)),
            ("marks after all", marks(&json!({"type": TYPE, "status": "True"}), "foreign")),
        ] {
            for who in [Who::Provider, Who::Controller] {
                let after = accepted(&stage, &target, who, what, &change).await?;
                assert_eq!(seen(&after), seen(&before), "{kind:?}, {who:?}: {what}");
                let found = &after["metadata"]["annotations"]["probelet.io/node-kind"];
                assert_eq!(found.as_str(), kind, "{who:?}: {what}");
            }
        }
    }
    stage.end().await
}

/// The provider writes its first copy after each transition: nothing is lost, so nothing needs to be healed.
#[tokio::test]
async fn no_transition_is_lost_in_a_war() -> Result<()> {
    let Some(stage) = shielded().await? else { return Ok(()) };
    let target = stage.pod().await?;
    let stale = copy(&stage.stored(&target).await?, |_| ());
    for round in 0..50 {
        let status = if round % 2 == 0 { "True" } else { "False" };
        let condition = json!({"type": TYPE, "status": status, "message": format!("round {round}")});
        let marked = accepted(&stage, &target, Who::Pod, "marking", &marks(&condition, &format!("v{round}"))).await?;
        let after = accepted(&stage, &target, Who::Provider, "old copy", &stale).await?;
        assert_eq!(seen(&after), seen(&marked), "round {round}");
        assert_eq!(seen(&after)[0], format!("v{round}"));
    }
    stage.end().await
}

/// A foreign identity that carries claims of another Pod is a stranger like any other.
#[tokio::test]
async fn another_pods_token_cannot_wipe_marks_either() -> Result<()> {
    let Some(stage) = shielded().await? else { return Ok(()) };
    let target = stage.pod().await?;
    let before = stage.stored(&target).await?;
    for who in [Who::OtherPod, Who::Unbound] {
        assert_eq!(stage.change(&target, who, &uncover()).await?.code, 403, "{who:?}");
    }
    let after = accepted(&stage, &target, Who::Controller, "wipe", &uncover()).await?;
    assert_eq!(seen(&after), seen(&before), "a controller of the namespace is put back too");
    stage.end().await
}

/// As much as a plan can hold, wiped at once: beyond the cost limit a shield that fails open would fail in silence.
#[tokio::test]
async fn the_longest_list_is_put_back() -> Result<()> {
    let Some(stage) = shielded().await? else { return Ok(()) };
    let key = |index: usize| format!("game.example.com/key-{index}");
    let items = |kind: char, count: usize| (0..count).map(move |index| format!("{kind}:{}", key(index)));
    let writes: Vec<_> = items('c', 64).chain(items('l', 256)).chain(items('a', 256)).collect();
    let keys: serde_json::Map<_, _> = (0..256).map(|index| (key(index), json!("1"))).collect();
    let conditions: Vec<_> = (0..64).map(|index| json!({"type": key(index), "status": "True"})).collect();
    let target =
        stage.pod_with(|pod| pod["metadata"]["annotations"]["probelet.io/writes"] = json!(writes.join(","))).await?;
    let stale = stage.stored(&target).await?;
    let change = Strategic(json!({
        "metadata": {"labels": keys, "annotations": keys}, "status": {"conditions": conditions},
    }));
    let marked = accepted(&stage, &target, Who::Pod, "marking", &change).await?;
    let after = accepted(&stage, &target, Who::Provider, "old copy", &copy(&stale, |_| ())).await?;
    for field in ["labels", "annotations"] {
        assert_eq!(after["metadata"][field], marked["metadata"][field]);
    }
    let count = |pod: &Value| pod["status"]["conditions"].as_array().map_or(0, Vec::len);
    assert_eq!(count(&after), count(&marked));
    stage.end().await
}
