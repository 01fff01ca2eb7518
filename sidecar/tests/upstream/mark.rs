//! What a result makes of a Pod: openkruise/kruise:pkg/controller/nodepodprobe/node_pod_probe_controller_test.go. Its
//! `TestSyncNodePodProbe`, which is about marks, is commented out at the main branch; the code that it tests is as it was.

use probelet_protocol::plan::{Plan, ProbeId};
use probelet_protocol::setting::Marks;
use probelet_protocol::writes::Writes;
use probelet_sidecar::desired::{Results, Settled, Unit, Want, desired};
use probelet_sidecar::threshold::ProbeState::{self, Failed, Succeeded};
use probelet_sidecar::verdict::{Verdict, judge};
use std::collections::BTreeMap;

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// `label=value`, `@annotation=value`, `?Condition=status`, sorted.
type Metadata = BTreeMap<String, String>;

fn metadata(text: &str) -> Metadata {
    let text = text.replace("COST", COST);
    text.split_whitespace()
        .map(|word| word.split_once('=').expect("key=value"))
        .map(|(k, v)| (k.into(), v.into()))
        .collect()
}

/// The one probe of upstream's marker, with these policies.
fn plan(condition: &str, policies: &str) -> Plan {
    let probes = format!(
        r#"[{{"name":"healthy","containerName":"main","podConditionType":"{condition}","probe":{{"exec":{{"command":["/healthy.sh"]}}}}}}]"#
    );
    let policies = format!(r#"[{{"name":"healthy","containerName":"main","markerPolicy":[{policies}]}}]"#);
    Plan::parse(Some(&probes.replace(r#""podConditionType":"","#, "")), Some(&policies.replace("COST", COST)))
        .expect("plan")
}

/// The Pod after the patch that this result leads to.
fn marked(plan: &Plan, mut pod: Metadata, state: ProbeState) -> Metadata {
    let settled = Settled { state, reason: "R".into(), message: String::new(), since: 1, probed: 1 };
    let results = Results::from([(ProbeId { container: "main".into(), name: "healthy".into() }, settled)]);
    for (unit, want) in desired(plan, &results, &Writes::default(), Marks::All) {
        let key = match unit {
            Unit::Label(key) => key,
            Unit::Annotation(key) => format!("@{key}"),
            Unit::Condition(kind) => format!("?{kind}"),
        };
        match want {
            Want::Text(value) => pod.insert(key, value),
            Want::Condition(condition) => pod.insert(key, condition.status.into_owned()),
            Want::Absent => pod.remove(&key),
        };
    }
    pod
}

#[test]
fn results_mark_a_pod_as_the_controller_does() {
    const HEALTHY: &str = "game.kruise.io/healthy";
    let success = r#"{"state":"Succeeded","annotations":{"COST":"10"},"labels":{"server-healthy":"true"}}"#;
    let failure = r#"{"state":"Failed","annotations":{"COST":"-10"},"labels":{"server-healthy":"false"}}"#;
    let both = format!("{success},{failure}");
    let third = r#"{"state":"Succeeded","annotations":{"COST":"10","success":"true"},"labels":{"server-healthy":"true","success":"true"}},
        {"state":"Failed","annotations":{"COST":"-10","failed":"true"},"labels":{"failed":"true"}}"#;
    let whole = "app=test server-healthy=true @COST=10 ?game.kruise.io/healthy=True";
    for (name, condition, policies, pod, state, expected) in [
        ("test1, pod-1", HEALTHY, both.as_str(), "app=test", Succeeded, whole),
        (
            "test1, pod-2",
            HEALTHY,
            &both,
            "app=test",
            Failed,
            "app=test server-healthy=false @COST=-10 ?game.kruise.io/healthy=False",
        ),
        (
            "test2",
            HEALTHY,
            success,
            "app=test server-healthy=true @COST=10 ?game.kruise.io/healthy=True ?game.kruise.io/other=True",
            Failed,
            "app=test ?game.kruise.io/healthy=False ?game.kruise.io/other=True",
        ),
        (
            "test3",
            "",
            third,
            "app=test server-healthy=true success=true @COST=10 @success=true",
            Failed,
            "app=test failed=true @COST=-10 @failed=true",
        ),
        // The three cases of the comment in `updatePodProbeStatus`; the third is test2.
        ("1, both policies", HEALTHY, &both, "app=test server-healthy=false @COST=-10", Succeeded, whole),
        ("2, no opposite policy", HEALTHY, success, "app=test", Succeeded, whole),
        // And a probe without policies, `len(policy) == 0`.
        ("no policy", HEALTHY, "", "app=test", Succeeded, "app=test ?game.kruise.io/healthy=True"),
    ] {
        let marked = marked(&plan(condition, policies), metadata(pod), state);
        assert_eq!(marked, metadata(expected), "{name}");
    }
}

/// `TestSyncPodFromNodePodProbe`: what is taken off the node's list upstream ends the sidecar. Its Pods that are being deleted
/// are taken off too; a sidecar is told to end by SIGTERM instead, see `course`.
#[test]
fn a_pod_that_is_gone_or_another_is_not_marked() {
    let uid = "Pod \"pod-1\" is invalid: metadata.uid: Invalid value: \"pod-1-uid-01\": field is immutable";
    for (name, status, body, goes_on) in [
        ("test1, pod no changed", 200, serde_json::json!({"metadata": {"uid": "u"}}), true),
        (
            "test2, pod not found",
            404,
            serde_json::json!({"reason": "NotFound", "message": "pods \"pod-2\" not found"}),
            false,
        ),
        ("test3, pod uid changed", 422, serde_json::json!({"reason": "Invalid", "message": uid}), false),
    ] {
        let verdict = judge(status, None, body.to_string().as_bytes());
        assert_eq!(matches!(verdict, Verdict::Pod(_)), goes_on, "{name}: {verdict:?}");
        assert_eq!(matches!(verdict, Verdict::Gone), !goes_on, "{name}: {verdict:?}");
    }
}
