use super::*;
use crate::marker::PolicyState;

const KRUISE: &str = r#"[{"name":"healthy","containerName":"minecraft","probe":{"exec":{"command":["bash","/data/probe.sh"]}},"podConditionType":"game.kruise.io/healthy"}]"#;

#[test]
fn openkruise_text_is_read_and_written_back_unchanged() {
    let probes: Vec<PodContainerProbe> = serde_json::from_str(KRUISE).expect("json");
    assert_eq!(serde_json::to_string(&probes).expect("json"), KRUISE);
    let plan = Plan::parse(Some(KRUISE), None).expect("plan");
    assert_eq!(plan.probes.len(), 1);
    assert!(plan.has_exec());
    assert_eq!(plan.probes[0].condition_type.as_deref(), Some("game.kruise.io/healthy"));
}

#[test]
fn nothing_is_a_plan_without_probes() {
    for (probes, policies) in [(None, None), (Some(""), Some(" ")), (Some("[]"), Some("null"))] {
        assert_eq!(Plan::parse(probes, policies).expect("plan"), Plan::default());
    }
}

#[test]
fn policies_join_their_probe_by_container_and_name() {
    let policies = r#"[
        {"name":"healthy","containerName":"other","markerPolicy":[{"state":"Succeeded","labels":{"wrong":"1"}}]},
        {"name":"healthy","containerName":"minecraft","marker":"m","keepMarks":true,
         "markerPolicy":[{"state":"Succeeded","labels":{"a":"1"}},{"state":"Failed","annotations":{"b":"2"}}]}]"#;
    let plan = Plan::parse(Some(KRUISE), Some(policies)).expect("plan");
    assert_eq!(plan.probes.len(), 1);
    let planned = &plan.probes[0];
    assert_eq!((planned.marker.as_str(), planned.keep_marks), ("m", true));
    assert_eq!(planned.policies[0].labels["a"], "1");
    assert_eq!(planned.policies[1].state, PolicyState::Failed);
}

#[test]
fn a_probe_without_condition_comes_with_its_policies() {
    let policies = r#"[{"name":"idle","containerName":"game","probe":{"tcpSocket":{"port":80}},
        "markerPolicy":[{"state":"Succeeded","labels":{"idle":"true"}}]}]"#;
    let plan = Plan::parse(Some(KRUISE), Some(policies)).expect("plan");
    assert_eq!(plan.probes.len(), 2);
    assert_eq!(plan.probes[1].id, ProbeId { container: "game".into(), name: "idle".into() });
    assert_eq!(plan.probes[1].condition_type, None);
}

#[test]
fn the_first_of_a_repeated_identity_or_condition_type_counts() {
    let twice = r#"[{"name":"a","containerName":"c","probe":{"tcpSocket":{"port":1}},"podConditionType":"T"},
        {"name":"a","containerName":"c","probe":{"tcpSocket":{"port":2}},"podConditionType":"U"},
        {"name":"b","containerName":"c","probe":{"tcpSocket":{"port":3}},"podConditionType":"T"}]"#;
    let plan = Plan::parse(Some(twice), None).expect("plan");
    assert_eq!(plan.probes.len(), 1);
    assert_eq!(plan.probes[0].id.name, "a");
}

#[test]
fn bad_annotations_name_themselves_the_entry_and_what_is_allowed() {
    let many = format!(
        "[{}]",
        (0..=limit::PROBES)
            .map(|i| format!(r#"{{"name":"p{i}","containerName":"c","probe":{{"tcpSocket":{{"port":1}}}}}}"#))
            .collect::<Vec<_>>()
            .join(",")
    );
    let huge = "x".repeat(limit::PLAN_BYTES + 1);
    for (text, message) in [
        ("{", "annotation kruise.io/podprobe: not a JSON list of probes"),
        (r#"{"a":1}"#, "annotation kruise.io/podprobe: not a JSON list of probes"),
        (r#"[{"containerName":"c","probe":{"tcpSocket":{"port":1}}}]"#, "[0].name: must not be empty"),
        (r#"[{"name":"n","probe":{"tcpSocket":{"port":1}}}]"#, "[0].containerName: must not be empty"),
        (r#"[{"name":"n","containerName":"c","probe":{}}]"#, "one of exec, httpGet, tcpSocket, grpc must be set"),
        (r#"[{"name":"n","containerName":"c","probe":{"udp":{}}}]"#, "[0].probe: no handler"),
        (&many, "65 probes, at most 64"),
        (&huge, "65537 bytes, at most 65536"),
    ] {
        let error = Plan::parse(Some(text), None).expect_err(text).to_string();
        assert!(error.contains(message), "{error:?} should contain {message:?}");
    }
    let error = Plan::parse(None, Some("[1]")).expect_err("list of numbers").to_string();
    assert!(error.contains("annotation probelet.io/marker-policies"), "{error}");
}
