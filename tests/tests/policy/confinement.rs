//! The attack table: who asks for what, and the verdict.

use crate::request::{self, Change, Change::*};
use crate::stage::{Stage, Target, Who, Who::*};
use anyhow::Result;
use serde_json::{Value, json};

/// What must come of a request.
enum Verdict {
    /// 200, and then this holds of the stored Pod.
    Allowed(fn(&Value) -> bool),
    /// 403 with this in its message; the stored Pod is as before.
    Refused(&'static str),
    /// Any refusal, the API server's own included (400, 403, 409, 422); the stored Pod is as before.
    Invalid,
}
use Verdict::{Allowed, Invalid, Refused};

type Row = (&'static str, Who, Change, Verdict);

const LABEL: &str = "a label that is not in";
const ANNOTATION: &str = "an annotation that is not in";
const CONDITION: &str = "a condition that is not in";
const STATUS: &str = "status other than conditions";
const METADATA: &str = "metadata other than labels";
const BOUND: &str = "own Pod only";

fn labels(labels: Value) -> Change {
    Strategic(json!({"metadata": {"labels": labels}}))
}

fn annotations(annotations: Value) -> Change {
    Strategic(json!({"metadata": {"annotations": annotations}}))
}

fn conditions(conditions: Value) -> Change {
    Strategic(json!({"status": {"conditions": conditions}}))
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Test"})
}

fn has_condition(pod: &Value, kind: &str, status: &str) -> bool {
    let list = pod["status"]["conditions"].as_array();
    list.is_some_and(|list| list.iter().any(|item| item["type"] == kind && item["status"] == status))
}

fn mark() -> Change {
    Strategic(json!({
        "metadata": {"labels": {"game.io/healthy": "false"}, "annotations": {"game.io/cost": "7"}},
        "status": {"conditions": [condition("game.io/healthy", "False")]},
    }))
}

fn is_marked(pod: &Value) -> bool {
    pod["metadata"]["labels"]["game.io/healthy"] == "false"
        && pod["metadata"]["annotations"]["game.io/cost"] == "7"
        && has_condition(pod, "game.io/healthy", "False")
        && has_condition(pod, "other.io/theirs", "True")
}

fn legitimate() -> Vec<Row> {
    let uncover = Strategic(json!({
        "metadata": {"labels": {"game.io/healthy": null}, "annotations": {"game.io/cost": null}},
        "status": {"conditions": [{"type": "game.io/healthy", "$patch": "delete"}]},
    }));
    let bare = |pod: &Value| {
        pod["metadata"]["labels"]["game.io/healthy"].is_null()
            && pod["metadata"]["annotations"]["game.io/cost"].is_null()
            && !has_condition(pod, "game.io/healthy", "True")
            && has_condition(pod, "other.io/theirs", "True")
    };
    let pointer = "/metadata/labels/game.io~1healthy";
    // One without a time is stale to the controller manager, which takes it back at once.
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let disruption = json!({"type": "DisruptionTarget", "status": "True", "lastTransitionTime": now});
    let applied = json!({
        "apiVersion": "v1", "kind": "Pod", "status": {"conditions": [condition("game.io/idle", "True")]},
    });
    vec![
        ("own condition, label and annotation in one", Pod, mark(), Allowed(is_marked)),
        ("own marks taken off in one", Pod, uncover, Allowed(bare)),
        ("a look that changes nothing", Pod, Strategic(json!({})), Allowed(|_| true)),
        (
            "a first condition of a listed type",
            Pod,
            conditions(json!([condition("game.io/idle", "True")])),
            Allowed(|pod| has_condition(pod, "game.io/idle", "True")),
        ),
        (
            "JSON patch of a listed label",
            Pod,
            Json(json!([{"op": "replace", "path": pointer, "value": "no"}])),
            Allowed(|pod| pod["metadata"]["labels"]["game.io/healthy"] == "no"),
        ),
        (
            "JSON merge patch of a listed annotation",
            Pod,
            Merge(json!({"metadata": {"annotations": {"game.io/cost": "9"}}})),
            Allowed(|pod| pod["metadata"]["annotations"]["game.io/cost"] == "9"),
        ),
        (
            "server-side apply of a listed condition",
            Pod,
            Apply(applied),
            Allowed(|pod| has_condition(pod, "game.io/idle", "True")),
        ),
        (
            "a controller of the namespace that may update sets Ready",
            Controller,
            conditions(json!([condition("Ready", "True")])),
            Allowed(|pod| has_condition(pod, "Ready", "True")),
        ),
        (
            "a controller of another namespace that may only patch sets DisruptionTarget",
            ForeignPatcher,
            conditions(json!([disruption])),
            Allowed(|pod| has_condition(pod, "DisruptionTarget", "True")),
        ),
    ]
}

fn identities() -> Vec<Row> {
    let ready = || conditions(json!([condition("Ready", "True")]));
    vec![
        ("another Pod's token", OtherPod, mark(), Refused(BOUND)),
        ("another Pod's token, no change", OtherPod, Strategic(json!({})), Refused(BOUND)),
        ("a token of the same account that is bound to no Pod", Unbound, mark(), Refused(BOUND)),
        ("an unbound token sets Ready", Unbound, ready(), Refused(BOUND)),
    ]
}

fn condition_attacks() -> Vec<Row> {
    let healthy = || condition("game.io/healthy", "False");
    let theirs = "other.io/theirs";
    let all = |own: Value| json!({"status": {"conditions": own}});
    let apply = json!({
        "apiVersion": "v1", "kind": "Pod", "status": {"conditions": [condition("Ready", "True")]},
    });
    let order = ["other.io/theirs", "PodScheduled", "Ready", "game.io/healthy"].map(|kind| json!({"type": kind}));
    let ordered = ["other.io/theirs", "PodScheduled", "Ready"].map(|kind| json!({"type": kind}));
    let rows = [
        ("Ready, although it is listed", conditions(json!([condition("Ready", "True")]))),
        ("a native type that the Pod has not yet", conditions(json!([condition("ContainersReady", "True")]))),
        ("DisruptionTarget", conditions(json!([condition("DisruptionTarget", "True")]))),
        ("a type that is not listed", conditions(json!([condition("x.io/new", "True")]))),
        ("a foreign condition changed", conditions(json!([condition(theirs, "False")]))),
        ("a foreign condition's message changed", conditions(json!([{"type": theirs, "message": "mine"}]))),
        ("a foreign condition deleted", conditions(json!([{"type": theirs, "$patch": "delete"}]))),
        ("PodScheduled deleted", conditions(json!([{"type": "PodScheduled", "$patch": "delete"}]))),
        ("own and foreign in one", conditions(json!([healthy(), condition("Ready", "True")]))),
        ("the list replaced", conditions(json!([{"$patch": "replace"}, healthy()]))),
        ("the list replaced by JSON merge patch", Merge(all(json!([healthy()])))),
        ("the list nulled by JSON merge patch", Merge(all(Value::Null))),
        ("the list nulled", Strategic(all(Value::Null))),
        ("the list removed by JSON patch", Json(json!([{"op": "remove", "path": "/status/conditions"}]))),
        (
            "a foreign condition renamed by JSON patch",
            Json(json!([{"op": "replace", "path": "/status/conditions/2/type", "value": "game.io/idle"}])),
        ),
        (
            "a second condition of a native type",
            Json(json!([{"op": "add", "path": "/status/conditions/-", "value": condition("Ready", "True")}])),
        ),
        ("Ready by server-side apply", Apply(apply)),
        (
            "foreign conditions put in another order",
            Strategic(json!({"status": {"$setElementOrder/conditions": order, "conditions": ordered}})),
        ),
    ];
    rows.map(|(name, change)| (name, Pod, change, Refused(CONDITION))).into()
}

fn label_attacks() -> Vec<Row> {
    let whole = json!([{"op": "replace", "path": "/metadata/labels", "value": {"game.io/healthy": "x"}}]);
    let apply = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"app": "mine"}}});
    let rows = [
        ("a foreign label changed", labels(json!({"app": "mine"}))),
        ("a foreign label taken off", labels(json!({"app": null}))),
        ("a label that is not listed", labels(json!({"x.io/new": "1"}))),
        ("a label whose name begins like a listed one", labels(json!({"game.io/healthy2": "1"}))),
        ("a reserved label, although it is listed", labels(json!({"kruise.io/bait": "1"}))),
        ("the opt-out label", labels(json!({"probelet.io/inject": "disabled"}))),
        ("a listed and a foreign label in one", labels(json!({"game.io/healthy": "x", "app": "mine"}))),
        ("all labels replaced", labels(json!({"$patch": "replace", "game.io/healthy": "x"}))),
        ("all labels nulled", Merge(json!({"metadata": {"labels": null}}))),
        ("all labels replaced by JSON patch", Json(whole)),
        ("a foreign label by server-side apply", Apply(apply)),
    ];
    rows.map(|(name, change)| (name, Pod, change, Refused(LABEL))).into()
}

fn annotation_attacks() -> Vec<Row> {
    let rows = [
        ("its own list widened", annotations(json!({"probelet.io/writes": "c:x,l:app"}))),
        ("its own list taken off", annotations(json!({"probelet.io/writes": null}))),
        ("a foreign annotation changed", annotations(json!({"note": "mine"}))),
        ("a foreign annotation taken off", annotations(json!({"note": null}))),
        ("a plan", annotations(json!({"kruise.io/podprobe": "[]"}))),
        ("an annotation that is not listed", annotations(json!({"x.io/new": "1"}))),
        ("all annotations nulled", Merge(json!({"metadata": {"annotations": null}}))),
        ("all annotations replaced", annotations(json!({"$patch": "replace", "game.io/cost": "1"}))),
        (
            "the list widened and used in one",
            Strategic(json!({"metadata": {
                "annotations": {"probelet.io/writes": "a:probelet.io/writes,l:app"}, "labels": {"game.io/healthy": "x"},
            }})),
        ),
    ];
    rows.map(|(name, change)| (name, Pod, change, Refused(ANNOTATION))).into()
}

fn object_attacks() -> Vec<Row> {
    let finalizers = Strategic(json!({"metadata": {"finalizers": ["x.io/pin"]}}));
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]);
    let image = json!({"spec": {"containers": [{"name": "game", "image": "evil"}]}});
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "evil"}]}});
    let ignored = |pod: &Value| {
        pod["spec"]["containers"][0]["image"] == "game"
            && pod["spec"]["ephemeralContainers"].is_null()
            && pod["metadata"]["ownerReferences"].is_null()
            && pod["metadata"]["deletionTimestamp"].is_null()
    };
    vec![
        ("a finalizer", Pod, finalizers, Refused(METADATA)),
        ("another generateName", Pod, Strategic(json!({"metadata": {"generateName": "x-"}})), Refused(METADATA)),
        ("the phase", Pod, Strategic(json!({"status": {"phase": "Failed"}})), Refused(STATUS)),
        ("the Pod's address", Pod, Strategic(json!({"status": {"podIP": "10.9.9.9"}})), Refused(STATUS)),
        ("a status field nulled", Pod, Strategic(json!({"status": {"startTime": null}})), Refused(STATUS)),
        ("the whole status nulled", Pod, Merge(json!({"status": null})), Refused("would change")),
        (
            "the whole status replaced",
            Pod,
            Strategic(json!({"status": {"$patch": "replace", "phase": "Running"}})),
            Refused("would change"),
        ),
        (
            "all of the status dropped but conditions",
            Pod,
            Strategic(json!({"status": {"$retainKeys": ["conditions"], "conditions": []}})),
            Refused(STATUS),
        ),
        ("the whole metadata replaced", Pod, Strategic(json!({"metadata": {"$patch": "replace"}})), Invalid),
        ("the whole object replaced", Pod, Strategic(json!({"$patch": "replace", "status": {}})), Invalid),
        ("the whole object deleted", Pod, Strategic(json!({"$patch": "delete"})), Invalid),
        ("another UID", Pod, Strategic(json!({"metadata": {"uid": "other"}})), Invalid),
        ("another name", Pod, Strategic(json!({"metadata": {"name": "other"}})), Invalid),
        ("an owner is ignored", Pod, Strategic(json!({"metadata": {"ownerReferences": owner}})), Allowed(ignored)),
        ("a spec is ignored", Pod, Strategic(image), Allowed(ignored)),
        ("an ephemeral container is ignored", Pod, Strategic(debug), Allowed(ignored)),
        (
            "a deletion time is ignored",
            Pod,
            Strategic(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
            Allowed(ignored),
        ),
    ]
}

async fn judge(stage: &Stage, row: &Row, target: &Target) -> Result<Option<String>> {
    let (name, who, change, verdict) = row;
    let before = stage.stored(target).await?;
    let answer = stage.change(target, *who, change).await?;
    let after = stage.stored(target).await?;
    let same = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"];
    let holds = match verdict {
        Allowed(effect) => answer.code == 200 && effect(&after),
        Refused(text) => answer.code == 403 && answer.message().contains(text) && same,
        Invalid => matches!(answer.code, 400 | 403 | 409 | 422) && same,
    };
    println!("{} {:>3} {who:?}: {name}", if holds { "ok  " } else { "HOLE" }, answer.code);
    Ok((!holds).then(|| format!("{who:?}: {name}: {} {}", answer.code, answer.message())))
}

#[tokio::test]
async fn attack_table() -> Result<()> {
    let stage = Stage::new(false).await?;
    stage.confined().await?;
    let mut wrong = Vec::new();
    let tables =
        [legitimate(), identities(), condition_attacks(), label_attacks(), annotation_attacks(), object_attacks()];
    for row in tables.iter().flatten() {
        let target = stage.pod().await?;
        wrong.extend(judge(&stage, row, &target).await?);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.end().await
}

/// RBAC gives nothing but `patch` on `pods/status`.
#[tokio::test]
async fn a_pods_own_identity_may_call_nothing_else() -> Result<()> {
    let stage = Stage::new(false).await?;
    let target = stage.pod().await?;
    let pod = stage.path(&format!("pods/{}", target.name));
    let stored = stage.stored(&target).await?;
    for path in [pod.clone(), format!("{pod}/ephemeralcontainers"), format!("{pod}/resize")] {
        let answer = request::send(&target.client, &path, &labels(json!({"game.io/healthy": "x"}))).await?;
        assert_eq!(answer.code, 403, "PATCH {path}");
    }
    let answer = request::send(&target.client, &format!("{pod}/status"), &Put(stored)).await?;
    assert_eq!(answer.code, 403, "PUT status");
    for path in [pod.clone(), stage.path("pods"), stage.path("secrets")] {
        assert_eq!(request::read(&target.client, &path).await?.code, 403, "GET {path}");
    }
    assert_eq!(request::create(&target.client, &format!("{pod}/exec?command=id"), &json!({})).await?.code, 403);
    assert_eq!(request::delete(&target.client, &pod).await?.code, 403);
    stage.end().await
}

#[tokio::test]
async fn a_pod_without_a_list_may_write_nothing() -> Result<()> {
    let stage = Stage::new(false).await?;
    stage.confined().await?;
    for writes in [None, Some(""), Some(",,l:,c:,a:"), Some("game.io/healthy"), Some("L:game.io/healthy")] {
        let target = stage
            .pod_with(|pod| match writes {
                Some(text) => pod["metadata"]["annotations"]["probelet.io/writes"] = json!(text),
                None => pod["metadata"]["annotations"] = Value::Null,
            })
            .await?;
        for change in [labels(json!({"game.io/healthy": "x"})), conditions(json!([condition("game.io/idle", "True")]))]
        {
            let answer = stage.change(&target, Pod, &change).await?;
            assert_eq!(answer.code, 403, "{writes:?} {change:?} {}", answer.message());
        }
        let answer = stage.change(&target, Pod, &Strategic(json!({}))).await?;
        assert_eq!(answer.code, 200, "{writes:?}: a look: {}", answer.message());
    }
    stage.end().await
}

#[tokio::test]
async fn a_terminating_pod_goes_on_marking_itself() -> Result<()> {
    let stage = Stage::new(false).await?;
    stage.confined().await?;
    let target = stage.pod_with(|pod| pod["metadata"]["finalizers"] = json!(["x.io/hold"])).await?;
    request::delete(&stage.admin, &stage.path(&format!("pods/{}", target.name))).await?;
    assert!(!stage.stored(&target).await?["metadata"]["deletionTimestamp"].is_null());
    let answer = stage.change(&target, Pod, &mark()).await?;
    assert_eq!(answer.code, 200, "{}", answer.message());
    assert!(is_marked(&answer.body));
    let unpin = stage.change(&target, Pod, &Merge(json!({"metadata": {"finalizers": null}}))).await?;
    assert_eq!(unpin.code, 403, "{}", unpin.message());
    let finalizers = Merge(json!({"metadata": {"finalizers": null}}));
    request::send(&stage.admin, &stage.path(&format!("pods/{}", target.name)), &finalizers).await?;
    stage.end().await
}

#[tokio::test]
async fn a_deleted_pods_token_dies_and_never_fits_its_successor() -> Result<()> {
    let stage = Stage::new(false).await?;
    stage.confined().await?;
    let old = stage.pod_with(|pod| pod["metadata"]["name"] = json!("reborn")).await?;
    request::delete(&stage.admin, &stage.path("pods/reborn?gracePeriodSeconds=0")).await?;
    let new = stage.pod_with(|pod| pod["metadata"]["name"] = json!("reborn")).await?;
    assert_ne!(old.uid, new.uid);
    let answer = stage.change(&new, Pod, &Strategic(json!({}))).await?;
    assert_eq!(answer.code, 200, "{}", answer.message());
    let first = request::send(&old.client, &stage.status_path("reborn"), &mark()).await?;
    assert!(matches!(first.code, 401 | 403), "{}", first.code);
    crate::install::until("a deleted Pod's token answers 401", async || {
        let answer = request::send(&old.client, &stage.status_path("reborn"), &mark()).await?;
        assert!(matches!(answer.code, 401 | 403), "{}", answer.code);
        Ok(answer.code == 401)
    })
    .await?;
    stage.end().await
}

/// As much as a plan can hold, all of it written at once: the policy's cost limit must not be the narrower one.
#[tokio::test]
async fn the_longest_list_can_be_evaluated() -> Result<()> {
    let stage = Stage::new(false).await?;
    stage.confined().await?;
    let keys = |kind: char, count: usize| (0..count).map(move |index| (kind, format!("game.example.com/key-{index}")));
    let all: Vec<_> = keys('c', 64).chain(keys('l', 256)).chain(keys('a', 256)).collect();
    let writes: Vec<_> = all.iter().map(|(kind, key)| format!("{kind}:{key}")).collect();
    let target =
        stage.pod_with(|pod| pod["metadata"]["annotations"]["probelet.io/writes"] = json!(writes.join(","))).await?;
    let map = |wanted: char| -> serde_json::Map<_, _> {
        all.iter().filter(|(kind, _)| *kind == wanted).map(|(_, key)| (key.clone(), json!("1"))).collect()
    };
    let list: Vec<_> = all.iter().filter(|(kind, _)| *kind == 'c').map(|(_, key)| condition(key, "True")).collect();
    let change = Strategic(json!({
        "metadata": {"labels": map('l'), "annotations": map('a')}, "status": {"conditions": list},
    }));
    let answer = stage.change(&target, Pod, &change).await?;
    assert_eq!(answer.code, 200, "{}", answer.message());
    stage.end().await
}

/// Who set what is the record that an audit reads.
#[tokio::test]
async fn a_pod_cannot_rewrite_the_record_of_who_set_what() -> Result<()> {
    let stage = Stage::new(false).await?;
    stage.confined().await?;
    let eve = json!([{"manager": "eve", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}}}}, "time": "2026-01-01T00:00:00Z"}]);
    for forged in [json!([{}]), json!([]), Value::Null, eve] {
        let target = stage.pod().await?;
        let before = owners(&stage.stored(&target).await?);
        let metadata = json!({"managedFields": forged, "labels": {"game.io/healthy": "false"}});
        let answer = stage.change(&target, Pod, &Merge(json!({"metadata": metadata}))).await?;
        assert_eq!(answer.code, 200, "the API server ignores it: {}", answer.message());
        let after = owners(&stage.stored(&target).await?);
        assert_eq!(before, ["unknown"]);
        assert_eq!(after, ["unknown"], "whoever set the label app is still on record");
    }
    stage.end().await
}

/// Who is on record for the label `app`.
fn owners(pod: &Value) -> Vec<String> {
    let entries = pod["metadata"]["managedFields"].as_array().into_iter().flatten();
    let owns = |entry: &&Value| !entry["fieldsV1"]["f:metadata"]["f:labels"]["f:app"].is_null();
    entries.filter(owns).filter_map(|entry| entry["manager"].as_str().map(str::to_owned)).collect()
}
