//! PodProbeMarkers: what is refused, warned of and accepted.

use crate::harness::{Reply, Webhook, add, json};
use serde_json::{Value, json};

const REVIEW: &str = include_str!("../fixtures/marker-review.json");

async fn create(change: impl FnOnce(&mut Value)) -> Reply {
    let mut review = json(REVIEW);
    change(&mut review["request"]["object"]["spec"]);
    Webhook::empty().review("/validate-podprobemarkers", &review).await
}

async fn update(old: impl FnOnce(&mut Value), new: impl FnOnce(&mut Value)) -> Reply {
    let mut review = json(REVIEW);
    let request = &mut review["request"];
    request["operation"] = "UPDATE".into();
    request["oldObject"] = request["object"].clone();
    old(&mut request["oldObject"]);
    request["object"] = request["oldObject"].clone();
    new(&mut request["object"]);
    Webhook::empty().review("/validate-podprobemarkers", &review).await
}

fn probe(spec: &mut Value) -> &mut Value {
    &mut spec["probes"][0]
}

fn get(spec: &mut Value) -> &mut Value {
    &mut spec["probes"][0]["probe"]["httpGet"]
}

fn policy(spec: &mut Value) -> &mut Value {
    &mut spec["probes"][0]["markerPolicy"][0]
}

/// A change to a good spec, and what the refusal says.
type Row = (fn(&mut Value), &'static str);

async fn refused(rows: &[Row]) {
    for (change, message) in rows {
        let reply = create(change).await;
        assert!(!reply.allowed, "{message}");
        assert_eq!(reply.response["status"]["code"], 422);
        assert!(reply.message().contains(message), "{}\nshould contain\n{message}", reply.message());
    }
}

#[tokio::test]
async fn a_good_marker_is_accepted_without_a_word() {
    let reply = create(|_| {}).await;
    assert!(reply.is_unchanged());
    assert_eq!((reply.warnings().len(), reply.outcome()), (0, "allowed"));
}

#[tokio::test]
async fn selectors_are_refused_as_openkruise_refuses_them() {
    refused(&[
        (|spec| spec["selector"] = Value::Null, "spec.selector: must not be empty"),
        (|spec| spec["selector"] = json!({}), "spec.selector: must not be empty"),
        (|spec| spec["selector"] = json!({"matchLabels": {"a b": "c"}}), "spec.selector.matchLabels: key \"a b\""),
        (|spec| spec["selector"] = json!({"matchLabels": {"a": "c d"}}), "spec.selector.matchLabels: value \"c d\""),
        (
            |spec| spec["selector"] = json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            "spec.selector.matchExpressions[0].values: must not be empty with the operator In",
        ),
        (
            |spec| {
                spec["selector"] = json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]})
            },
            "spec.selector.matchExpressions[0].values: must be empty with the operator Exists",
        ),
        (
            |spec| spec["selector"] = json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}),
            "spec.selector.matchExpressions[0].operator: \"Gt\" must be one of In, NotIn, Exists, DoesNotExist",
        ),
        (|spec| spec["selector"] = "all".into(), "spec.selector: invalid type"),
    ])
    .await;
}

#[tokio::test]
async fn probes_are_refused_with_their_path() {
    refused(&[
        (|spec| spec["probes"] = json!([]), "spec.probes: must not be empty"),
        (|spec| spec["probes"] = Value::Null, "spec.probes: must not be empty"),
        (|spec| spec["probes"] = json!({}), "spec.probes: must be a list"),
        (
            |spec| spec["probes"] = (0..65).map(|_| spec["probes"][0].clone()).collect(),
            "spec.probes: has 65 probes, at most 64",
        ),
        (
            |spec| policy(spec)["annotations"] = json!({"a": "x".repeat(70_000)}),
            "bytes as JSON, at most 65536 are allowed",
        ),
        (|spec| probe(spec)["name"] = "".into(), "spec.probes[0].name: must not be empty"),
        (|spec| probe(spec)["name"] = "a#b".into(), "spec.probes[0].name: \"a#b\" must not contain '#'"),
        (|spec| probe(spec)["name"] = "Ready".into(), "spec.probes[0].name: \"Ready\" is a condition"),
        (|spec| probe(spec)["name"] = "n".repeat(64).into(), "must have at most 63 characters"),
        (|spec| probe(spec)["containerName"] = "".into(), "spec.probes[0].containerName: must not be empty"),
        (|spec| probe(spec)["containerName"] = "Game".into(), "spec.probes[0].containerName: \"Game\""),
        (|spec| probe(spec)["probe"] = json!({}), "spec.probes[0].probe: no handler"),
        (
            |spec| probe(spec)["probe"]["tcpSocket"] = json!({"port": 1}),
            "spec.probes[0].probe: more than one handler: httpGet, tcpSocket",
        ),
        (
            |spec| probe(spec)["probe"]["periodSeconds"] = (-1).into(),
            "spec.probes[0].probe.periodSeconds: -1 must not be negative",
        ),
        (
            |spec| probe(spec)["probe"]["timeoutSeconds"] = 100_000.into(),
            "spec.probes[0].probe.timeoutSeconds: 100000 must be at most 86400",
        ),
        (|spec| probe(spec)["probe"]["failureThreshold"] = (-2).into(), "failureThreshold: -2 must not be negative"),
        (
            |spec| probe(spec)["probe"]["periodSeconds"] = "1s".into(),
            "spec.probes[0].probe.periodSeconds: invalid type: string",
        ),
        (|spec| get(spec)["port"] = 0.into(), "spec.probes[0].probe.httpGet.port: 0 must be between 1 and 65535"),
        (|spec| get(spec)["port"] = "a_b".into(), "spec.probes[0].probe.httpGet.port: \"a_b\" must be a port's name"),
        (|spec| get(spec)["host"] = "169.254.169.254".into(), "spec.probes[0].probe.httpGet.host: is not allowed"),
        (|spec| get(spec)["scheme"] = "ftp".into(), "httpGet.scheme: \"ftp\" must be one of HTTP, HTTPS"),
        (|spec| get(spec)["path"] = "/a\nb".into(), "httpGet.path: \"/a\\nb\" must be a valid URL path"),
        (|spec| get(spec)["path"] = "/%zz".into(), "httpGet.path: \"/%zz\" must be a valid URL path"),
        (
            |spec| get(spec)["httpHeaders"] = json!([{"name": "A", "value": "b"}, {"name": "A B", "value": "c"}]),
            "httpHeaders[1].name: \"A B\"",
        ),
        (
            |spec| get(spec)["httpHeaders"] = json!([{"name": "A", "value": "secret\r\nX: y"}]),
            "httpHeaders[0].value: must not contain control characters",
        ),
        (
            |spec| probe(spec)["probe"] = json!({"tcpSocket": {"port": 70000, "host": "h"}}),
            "probe.tcpSocket.host: is not allowed",
        ),
        (|spec| probe(spec)["probe"] = json!({"exec": {}}), "spec.probes[0].probe.exec.command: must not be empty"),
        (|spec| probe(spec)["probe"] = json!({"exec": {"command": vec!["x"; 129]}}), "has 129 arguments of 129 bytes"),
        (|spec| probe(spec)["probe"] = json!({"exec": {"command": ["a\u{0}"]}}), "must not contain NUL"),
        (|spec| probe(spec)["probe"] = json!({"grpc": {"port": 0}}), "spec.probes[0].probe.grpc.port: 0 must be"),
    ])
    .await;
}

#[tokio::test]
async fn conditions_and_policies_are_refused_with_their_path() {
    refused(&[
        (|spec| probe(spec)["podConditionType"] = "Ready".into(), "podConditionType: \"Ready\" is a condition of Kubernetes"),
        (|spec| probe(spec)["podConditionType"] = "a b".into(), "podConditionType: \"a b\" must have a name"),
        (
            |spec| {
                probe(spec)["podConditionType"] = "".into();
                probe(spec)["markerPolicy"] = Value::Null;
            },
            "spec.probes[0].podConditionType: must be set, or markerPolicy must be",
        ),
        (|spec| policy(spec)["state"] = "Maybe".into(), "spec.probes[0].markerPolicy[0].state: unknown variant `Maybe`"),
        (|spec| policy(spec)["state"] = "Failed".into(), "markerPolicy[1].state: Failed has a policy already"),
        (|spec| policy(spec)["labels"] = json!({}), "markerPolicy[0]: needs labels or annotations"),
        (|spec| policy(spec)["labels"] = json!({"a b": "c"}), "markerPolicy[0].labels: key \"a b\""),
        (|spec| policy(spec)["labels"] = json!({"a": "c d"}), "markerPolicy[0].labels: value \"c d\" of a"),
        (|spec| policy(spec)["labels"] = json!({"probelet.io/inject": "disabled"}), "key \"probelet.io/inject\" is reserved"),
        (|spec| policy(spec)["annotations"] = json!({"kruise.io/podprobe": "[]"}), "key \"kruise.io/podprobe\" is reserved"),
        (|spec| policy(spec)["annotations"] = json!({"Kruise.IO/podprobe": "[]"}), "key \"Kruise.IO/podprobe\" is reserved"),
        (
            |spec| {
                let again = spec["probes"][0].clone();
                add(&mut spec["probes"], again);
            },
            "spec.probes[1].name: \"healthy\" is the name of spec.probes[0] already; spec.probes[1].podConditionType: \"game.example/healthy\" stands at spec.probes[0].podConditionType already",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_malformed_probe_does_not_hide_what_is_wrong_with_others() {
    let reply = create(|spec| {
        spec["selector"] = json!({});
        policy(spec)["state"] = "Maybe".into();
        let second = json!({"name": "b", "containerName": "game", "probe": {}, "podConditionType": "x.io/B"});
        add(&mut spec["probes"], second);
    })
    .await;
    for part in ["spec.selector: ", "spec.probes[0].markerPolicy[0].state: ", "spec.probes[1].probe: no handler"] {
        assert!(reply.message().contains(part), "{}", reply.message());
    }
}

#[tokio::test]
async fn a_flood_of_errors_is_cut() {
    let reply = create(|spec| spec["probes"] = (0..60).map(|i| json!({"name": format!("p{i}")})).collect()).await;
    assert!(reply.message().ends_with("; and 160 more"), "{}", reply.message());
}

#[tokio::test]
async fn what_openkruise_refuses_and_works_is_accepted() {
    for change in [
        (|spec| drop(get(spec).as_object_mut().expect("get").remove("scheme"))) as fn(&mut Value),
        |spec| drop(get(spec).as_object_mut().expect("get").remove("path")),
        |spec| get(spec)["scheme"] = "".into(),
        |spec| probe(spec)["probe"] = json!({"grpc": {"port": 9000, "service": "x"}}),
        |spec| get(spec)["path"] = "healthz?x=%20&y=%".into(),
        |spec| get(spec)["port"] = "http".into(),
        |spec| probe(spec)["probe"] = json!({"exec": {"command": ["sh", "-c", "true"]}, "initialDelaySeconds": 0}),
        |spec| get(spec)["httpHeaders"] = json!([{"name": "Host", "value": "a"}, {"name": "Accept", "value": ""}]),
        |spec| probe(spec)["name"] = "with space, and: more".into(),
        |spec| {
            policy(spec)["annotations"] =
                json!({"controller.kubernetes.io/pod-deletion-cost": "10", "Upper.io/x": "any Text"})
        },
    ] {
        let reply = create(change).await;
        assert!(reply.allowed, "{}", reply.message());
    }
}

#[tokio::test]
async fn what_is_doubtful_is_warned_of() {
    let reply = create(|spec| {
        policy(spec)["labels"] = json!({"app": "sick"});
        probe(spec)["probe"]["terminationGracePeriodSeconds"] = 3.into();
        let second = spec["probes"][0].clone();
        add(&mut spec["probes"], second);
        spec["probes"][1]["name"] = "b".into();
        spec["probes"][1]["podConditionType"] = "x.io/B".into();
        spec["probes"][1]["probe"] = json!({"tcpSocket": {"port": 1}});
        spec["probes"][1]["markerPolicy"] = json!([{"state": "Failed", "labels": {"game.example/ready": "no"}}]);
    })
    .await;
    assert!(reply.allowed);
    assert_eq!(
        reply.warnings(),
        [
            "probelet: spec.probes[0].probe.terminationGracePeriodSeconds: has no meaning here, nothing is restarted",
            "probelet: spec.probes[0].markerPolicy: label app is in spec.selector, marking may unselect the Pod",
            "probelet: spec.probes[1].markerPolicy: label game.example/ready is also written by spec.probes[0]",
        ]
    );
}

#[tokio::test]
async fn the_selector_must_not_change() {
    let reply = update(|_| {}, |new| new["spec"]["selector"]["matchLabels"]["app"] = "other".into()).await;
    assert!(reply.message().contains("spec.selector: must not change"), "{}", reply.message());
    let reply = update(|_| {}, |new| new["spec"]["selector"]["matchExpressions"] = json!([])).await;
    assert!(reply.allowed);
    assert!(update(|_| {}, |new| probe(&mut new["spec"])["probe"]["periodSeconds"] = 9.into()).await.allowed);
}

#[tokio::test]
async fn an_invalid_marker_can_be_labelled_and_deleted_but_not_spoilt_further() {
    let spoil = |old: &mut Value| probe(&mut old["spec"])["podConditionType"] = "Ready".into();
    let finalizers = |new: &mut Value| new["metadata"]["finalizers"] = json!([]);
    assert!(update(spoil, finalizers).await.allowed);
    let going = |new: &mut Value| {
        new["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z".into();
        probe(&mut new["spec"])["name"] = "".into();
    };
    assert!(update(spoil, going).await.allowed);
    assert!(!update(spoil, |new| probe(&mut new["spec"])["probe"]["periodSeconds"] = 9.into()).await.allowed);
    let mend = |new: &mut Value| probe(&mut new["spec"])["podConditionType"] = "x.io/R".into();
    assert!(update(spoil, mend).await.allowed);
}
