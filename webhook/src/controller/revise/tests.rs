use super::*;
use crate::cluster::Cluster;
use probelet_protocol::marker::PodProbeMarkerSpec;
use serde_json::{Value, json};

fn cluster(markers: &[(&str, Value)]) -> Cluster {
    let cluster = Cluster::new();
    for (name, spec) in markers {
        let spec: PodProbeMarkerSpec = serde_json::from_value(spec.clone()).expect("spec");
        let keep = spec.probes.iter().any(|probe| probe.name == "keep");
        let annotations = BTreeMap::from([("probelet.io/keep-marks".to_owned(), keep.to_string())]);
        cluster.set_marker("game", name, 1, spec, &annotations);
    }
    cluster
}

fn marker(app: &str, probe: &str, label: &str) -> Value {
    json!({"selector": {"matchLabels": {"app": app}}, "probes": [{"name": probe, "containerName": "main",
        "probe": {"tcpSocket": {"port": 80}}, "podConditionType": format!("x.io/{probe}"),
        "markerPolicy": [{"state": "Succeeded", "labels": {label: "yes"}}]}]})
}

fn pod(annotations: &BTreeMap<&'static str, Option<String>>) -> Pod {
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {"labels": {"app": "game"}, "annotations": {"probelet.io/injected": "1"}},
        "spec": {"containers": [{"name": "main"}, {"name": "probelet"}]}
    }))
    .expect("pod");
    apply(&mut pod, annotations);
    pod
}

fn apply(pod: &mut Pod, changes: &BTreeMap<&'static str, Option<String>>) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    for (key, text) in changes {
        match text {
            Some(text) => annotations.insert((*key).to_owned(), text.clone()),
            None => annotations.remove(*key),
        };
    }
}

fn revised(pod: &Pod, present: &str, cluster: &Cluster) -> Revision {
    let namespace = cluster.namespace("game").unwrap_or_default();
    revise(pod, &present.parse().expect("writes"), &namespace).expect("revision")
}

/// A Pod that has what its markers gave it.
fn marked(cluster: &Cluster) -> Pod {
    let mut pod = pod(&BTreeMap::new());
    let changes = revised(&pod, "", cluster).annotations;
    apply(&mut pod, &changes);
    pod
}

#[test]
fn a_pod_that_has_what_its_markers_say_is_left_alone() {
    let cluster = cluster(&[("a", marker("game", "up", "x.io/up"))]);
    let pod = marked(&cluster);
    assert_eq!(pod.annotation(MARKER_LIST_ANNOTATION), Some("a"));
    assert_eq!(pod.annotation(WRITES_ANNOTATION), Some("c:x.io/up,l:x.io/up"));
    assert_eq!(revised(&pod, "", &cluster), Revision::default());
}

#[test]
fn an_edit_reaches_the_pod_and_the_old_key_stays_writable_until_it_is_gone() {
    let before = cluster(&[("a", marker("game", "up", "x.io/old"))]);
    let mut pod = marked(&before);
    let after = cluster(&[("a", marker("game", "up", "x.io/new"))]);
    let changes = revised(&pod, "l:x.io/old,c:x.io/up", &after).annotations;
    assert_eq!(changes[WRITES_ANNOTATION].as_deref(), Some("c:x.io/up,l:x.io/new,l:x.io/old"));
    assert!(changes[POLICIES_ANNOTATION].as_deref().is_some_and(|text| text.contains("x.io/new")));
    assert!(!changes.contains_key(PLAN_ANNOTATION), "the probe itself is the same");
    apply(&mut pod, &changes);
    assert!(revised(&pod, "l:x.io/old", &after).annotations.is_empty());
    let changes = revised(&pod, "", &after).annotations;
    assert_eq!(changes, BTreeMap::from([(WRITES_ANNOTATION, Some("c:x.io/up,l:x.io/new".to_owned()))]));
}

#[test]
fn a_new_marker_is_added_and_a_deleted_one_removed() {
    let one = cluster(&[("a", marker("game", "up", "x.io/up"))]);
    let mut pod = marked(&one);
    let two = cluster(&[("a", marker("game", "up", "x.io/up")), ("b", marker("game", "idle", "x.io/idle"))]);
    let changes = revised(&pod, "", &two).annotations;
    assert_eq!(changes[MARKER_LIST_ANNOTATION].as_deref(), Some("a,b"));
    apply(&mut pod, &changes);
    let none = cluster(&[]);
    let changes = revised(&pod, "c:x.io/up,l:x.io/idle", &none).annotations;
    assert_eq!(changes[PLAN_ANNOTATION], None);
    assert_eq!(changes[MARKER_LIST_ANNOTATION], None);
    assert_eq!(changes[POLICIES_ANNOTATION], None);
    assert_eq!(changes[WRITES_ANNOTATION].as_deref(), Some("c:x.io/up,l:x.io/idle"));
    apply(&mut pod, &changes);
    assert_eq!(revised(&pod, "", &none).annotations, BTreeMap::from([(WRITES_ANNOTATION, None)]));
    let back = revised(&pod, "", &one).annotations;
    assert_eq!(back[MARKER_LIST_ANNOTATION].as_deref(), Some("a"), "and a new one comes back");
}

#[test]
fn marks_that_are_to_stay_are_not_kept_writable() {
    let before = cluster(&[("a", marker("game", "keep", "x.io/up"))]);
    let pod = marked(&before);
    let changes = revised(&pod, "c:x.io/keep,l:x.io/up", &cluster(&[])).annotations;
    assert_eq!(changes[WRITES_ANNOTATION], None);
}

/// A Pod whose owner wrote that list.
fn naming(list: &str) -> Pod {
    let named = list.replace(' ', "");
    pod(&BTreeMap::from([(MARKER_LIST_ANNOTATION, Some(list.to_owned())), (NAMED_MARKERS_ANNOTATION, Some(named))]))
}

#[test]
fn a_list_that_the_pods_owner_wrote_is_followed_and_stays_as_it_is() {
    let (other, idle) = (marker("shop", "up", "x.io/up"), marker("game", "idle", "x.io/idle"));
    let both = cluster(&[("other", other.clone()), ("idle", idle.clone())]);
    let mut follower = naming("other, gone");
    let changes = revised(&follower, "", &both).annotations;
    assert!(!changes.contains_key(MARKER_LIST_ANNOTATION), "{changes:?}");
    let plan = changes[PLAN_ANNOTATION].as_deref().expect("plan");
    assert!(plan.contains("\"up\"") && !plan.contains("\"idle\""), "only what was named: {plan}");
    apply(&mut follower, &changes);
    assert!(revised(&follower, "", &both).annotations.is_empty());
    let changes = revised(&follower, "l:x.io/up", &cluster(&[("idle", idle)])).annotations;
    assert_eq!(changes[PLAN_ANNOTATION], None, "nothing is left of the deleted one");
    assert_eq!(changes[WRITES_ANNOTATION].as_deref(), Some("l:x.io/up"));
    assert!(!changes.contains_key(MARKER_LIST_ANNOTATION), "{changes:?}");
    apply(&mut follower, &changes);
    let changes = revised(&follower, "", &cluster(&[("other", other)])).annotations;
    assert!(changes[PLAN_ANNOTATION].as_deref().is_some_and(|text| text.contains("\"up\"")), "and it comes back");
}

#[test]
fn a_marker_that_was_named_and_selects_the_pod_too_brings_no_others_along() {
    let cluster = cluster(&[("a", marker("game", "up", "x.io/up")), ("b", marker("game", "idle", "x.io/idle"))]);
    let changes = revised(&naming("a"), "", &cluster).annotations;
    assert!(changes[PLAN_ANNOTATION].as_deref().is_some_and(|text| !text.contains("\"idle\"")), "{changes:?}");
}

#[test]
fn a_marker_that_does_not_select_the_pod_any_more_leaves_it() {
    let pod = marked(&cluster(&[("a", marker("game", "up", "x.io/up"))]));
    // No replica need have seen the marker as it was.
    let edited = cluster(&[("a", marker("shop", "up", "x.io/up"))]);
    let changes = revised(&pod, "", &edited).annotations;
    assert_eq!(changes[MARKER_LIST_ANNOTATION], None);
    assert_eq!(changes[PLAN_ANNOTATION], None);
}

#[test]
fn a_plan_that_the_pod_brought_is_nobodys_to_change() {
    let plan =
        r#"[{"name":"own","containerName":"main","probe":{"tcpSocket":{"port":1}},"podConditionType":"x.io/own"}]"#;
    let pod = pod(&BTreeMap::from([(PLAN_ANNOTATION, Some(plan.to_owned()))]));
    let cluster = cluster(&[("a", marker("game", "up", "x.io/up"))]);
    assert_eq!(revised(&pod, "", &cluster), Revision::default());
}

#[test]
fn a_command_that_comes_later_needs_an_agent_that_is_not_there() {
    let mut spec = marker("game", "up", "x.io/up");
    spec["probes"][0]["probe"] = json!({"exec": {"command": ["true"]}});
    let revision = revised(&pod(&BTreeMap::new()), "", &cluster(&[("a", spec)]));
    assert!(revision.lacks_agent);
    assert!(revision.annotations.contains_key(PLAN_ANNOTATION), "the sidecar says why it is Unknown");
}
