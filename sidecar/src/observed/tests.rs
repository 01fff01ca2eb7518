use super::*;

const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"game-0","uid":"u1","resourceVersion":"7",
    "labels":{"up":"yes"},"annotations":{"note":"1","kruise.io/podprobe":"[]","probelet.io/writes":"l:up"},
    "managedFields":[{"manager":"x","fieldsV1":{"f:a":{}}}]},
    "spec":{"restartPolicy":"Never","containers":[{"name":"main","image":"i"},{"name":"probelet"}]},
    "status":{"phase":"Running","conditions":[
      {"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-02T03:04:05Z"},
      {"type":"T","status":"False","reason":"R","message":"m","lastTransitionTime":null}],
    "containerStatuses":[{"name":"main","containerID":"containerd://a","restartCount":2,"ready":false,"started":true,
      "state":{"running":{"startedAt":"2026-01-02T03:04:05Z"}}}],
    "initContainerStatuses":[{"name":"init","state":{"terminated":{"exitCode":3}}},{"name":"late","state":{"waiting":{"reason":"x"}}}]}}"#;

fn pod() -> Observed {
    Observed::parse(POD.as_bytes()).expect("pod")
}

#[test]
fn a_pod_is_read_down_to_what_is_compared() {
    let pod = pod();
    assert_eq!((pod.uid.as_str(), pod.resource_version.as_str()), ("u1", "7"));
    assert_eq!(pod.plan.probes.as_deref(), Some("[]"));
    assert_eq!(pod.annotations.len(), 1);
    assert_eq!(pod.conditions["Ready"].since, Some(1_767_323_045));
    assert_eq!(pod.conditions["T"].since, None);
    let main = &pod.statuses["main"];
    assert_eq!((main.id.as_str(), main.restarts, main.is_started), ("containerd://a", 2, true));
    assert_eq!(main.state, ContainerState::Running(Some(1_767_323_045)));
    assert_eq!(pod.statuses["init"].state, ContainerState::Terminated(3));
    assert_eq!(pod.statuses["late"].state, ContainerState::Waiting);
}

#[test]
fn a_unit_is_as_wanted_only_if_its_content_is_the_same() {
    let pod = pod();
    let condition = |status: &'static str, reason: &str, message: &str| {
        Want::Condition(Condition { status: status.into(), reason: reason.into(), message: message.into() })
    };
    let kind = Unit::Condition("T".into());
    for (unit, want, expected) in [
        (&kind, condition("False", "R", "m"), true),
        (&kind, condition("False", "R", "other"), false),
        (&kind, condition("True", "R", "m"), false),
        (&kind, Want::Absent, false),
        (&Unit::Condition("U".into()), Want::Absent, true),
        (&Unit::Label("up".into()), Want::Text("yes".into()), true),
        (&Unit::Label("up".into()), Want::Text("no".into()), false),
        (&Unit::Label("up".into()), Want::Absent, false),
        (&Unit::Annotation("note".into()), Want::Text("1".into()), true),
        (&Unit::Annotation("gone".into()), Want::Absent, true),
    ] {
        assert_eq!(pod.has(unit, &want), expected, "{unit:?} {want:?}");
    }
}

#[test]
fn a_pod_waits_only_for_its_sidecar_when_all_others_have_ended_for_good() {
    let status = |state| ContainerSeen { state, ..Default::default() };
    for (policy, state, expected) in [
        ("Never", ContainerState::Terminated(0), true),
        ("Never", ContainerState::Terminated(1), true),
        ("OnFailure", ContainerState::Terminated(0), true),
        ("OnFailure", ContainerState::Terminated(1), false),
        ("Always", ContainerState::Terminated(0), false),
        ("Never", ContainerState::Running(None), false),
        ("Never", ContainerState::Waiting, false),
    ] {
        let mut pod = pod();
        pod.restart_policy = policy.into();
        pod.statuses.insert("main".into(), status(state.clone()));
        assert_eq!(pod.waits_only_for("probelet"), expected, "{policy} {state:?}");
    }
    let mut unreported = pod();
    unreported.statuses.clear();
    assert!(!unreported.waits_only_for("probelet"));
}

#[test]
fn an_answer_that_is_no_pod_is_an_error_and_null_lists_are_empty() {
    assert!(Observed::parse(b"[]").is_err());
    let bare = br#"{"metadata":{"uid":"u","labels":null,"annotations":null},"status":{"conditions":null}}"#;
    assert_eq!(Observed::parse(bare).expect("pod").uid, "u");
}
