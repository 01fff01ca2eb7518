use super::*;
use crate::node::Taint;
use serde_json::json;

fn cluster() -> Cluster {
    let cluster = Cluster::new();
    let taint = |effect: &str| Taint { key: "pool".into(), value: "edge".into(), effect: effect.into() };
    let shape = |labels: &[(&str, &str)], taints: Vec<Taint>| NodeShape {
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        taints,
    };
    // It is not ready just now.
    let state = Taint { key: "node.kubernetes.io/not-ready".into(), effect: "NoExecute".into(), ..Taint::default() };
    let taints = vec![taint("NoSchedule"), state];
    cluster.set_node("v1", NodeKind::Virtual, shape(&[("zone", "a"), ("cores", "64")], taints));
    cluster.set_node("o1", NodeKind::Ordinary, NodeShape::default());
    cluster
}

fn pod(metadata: Value, spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("pod")
}

fn required(terms: Value) -> Value {
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
}

fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
}

fn check(rows: impl IntoIterator<Item = (&'static str, Value, bool)>) {
    let (cluster, rules) = (cluster(), VirtualNodes::default());
    for (message, spec, expected) in rows {
        assert_eq!(may_be_virtual(&pod(json!({}), spec), None, &rules, &cluster), expected, "{message}");
    }
}

#[test]
fn a_known_node_decides() {
    let tolerant = json!([{"operator": "Exists"}]);
    check([
        ("virtual node named", json!({"nodeName": "v1"}), true),
        ("ordinary node named", json!({"nodeName": "o1", "tolerations": tolerant}), false),
        (
            "unknown node named, selector says",
            json!({"nodeName": "x", "nodeSelector": {"type": "virtual-kubelet"}}),
            true,
        ),
        ("unknown node named", json!({"nodeName": "x"}), false),
        ("virtual node by host name", json!({"nodeSelector": {"kubernetes.io/hostname": "v1"}}), true),
        (
            "ordinary node by host name",
            json!({"nodeSelector": {"kubernetes.io/hostname": "o1"}, "tolerations": tolerant}),
            false,
        ),
        (
            "a DaemonSet's Pod of a virtual node",
            required(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["v1"]}]}])),
            true,
        ),
    ]);
}

#[test]
fn node_selectors_and_tolerations() {
    let tolerates = |toleration: Value| json!({"tolerations": [toleration]});
    check([
        ("plain", json!({}), false),
        ("nulls", json!({"nodeSelector": null, "affinity": null, "tolerations": null}), false),
        ("selector", json!({"nodeSelector": {"type": "virtual-kubelet", "disk": "ssd"}}), true),
        ("other type", json!({"nodeSelector": {"type": "ecs"}, "tolerations": [{"operator": "Exists"}]}), false),
        ("AKS' role alone", json!({"nodeSelector": {"kubernetes.io/role": "agent"}}), false),
        (
            "AKS' role with the taint tolerated",
            json!({"nodeSelector": {"kubernetes.io/role": "agent"}, "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}]}),
            true,
        ),
        ("Exists", tolerates(json!({"key": "virtual-kubelet.io/provider", "operator": "Exists"})), true),
        ("Equal, any provider", tolerates(json!({"key": "virtual-kubelet.io/provider", "value": "azure"})), true),
        (
            "effect",
            tolerates(json!({"key": "virtual-kubelet.io/provider", "operator": "Exists", "effect": "NoSchedule"})),
            true,
        ),
        (
            "other effect",
            tolerates(json!({"key": "virtual-kubelet.io/provider", "operator": "Exists", "effect": "NoExecute"})),
            false,
        ),
        ("everything", tolerates(json!({"operator": "Exists"})), true),
        (
            "everything of an existing virtual node's effect",
            tolerates(json!({"operator": "Exists", "effect": "NoSchedule"})),
            true,
        ),
        ("empty key needs Exists", tolerates(json!({"operator": "Equal"})), false),
        ("another taint", tolerates(json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists"})), false),
        (
            "liqo",
            tolerates(json!({"key": "virtual-node.liqo.io/not-allowed", "operator": "Exists", "effect": "NoExecute"})),
            true,
        ),
        ("liqo by label", json!({"nodeSelector": {"liqo.io/type": "virtual-node"}}), true),
        ("an existing virtual node's taint", tolerates(json!({"key": "pool", "value": "edge"})), true),
        ("not its value", tolerates(json!({"key": "pool", "value": "core"})), false),
        (
            "its taint, but not its labels",
            json!({"nodeSelector": {"zone": "b"}, "tolerations": [{"key": "pool", "operator": "Exists"}]}),
            false,
        ),
    ]);
}

#[test]
fn required_affinity_with_every_operator() {
    let tolerant = |mut spec: Value| {
        spec["tolerations"] = json!([{"key": "virtual-kubelet.io/provider", "operator": "Exists"}]);
        spec
    };
    let one = |key: &str, operator: &str, values: &[&str]| required(json!([expression(key, operator, values)]));
    check([
        ("In", one("type", "In", &["x", "virtual-kubelet"]), true),
        ("In others", one("type", "In", &["x"]), false),
        ("Exists", one("type", "Exists", &[]), true),
        ("NotIn", tolerant(one("type", "NotIn", &["virtual-kubelet"])), false),
        ("NotIn others asks for nothing", one("type", "NotIn", &["x"]), false),
        ("NotIn others, tolerated", tolerant(one("type", "NotIn", &["x"])), true),
        ("DoesNotExist", tolerant(one("type", "DoesNotExist", &[])), false),
        ("DoesNotExist of another", tolerant(one("gpu", "DoesNotExist", &[])), true),
        ("Gt of another", tolerant(one("cores", "Gt", &["1"])), true),
        ("unknown operator", tolerant(one("type", "Like", &["virtual"])), false),
        ("OR", required(json!([expression("type", "In", &["x"]), expression("type", "Exists", &[])])), true),
        (
            "AND",
            required(json!([{"matchExpressions": [
                {"key": "type", "operator": "Exists"}, {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]}]}])),
            false,
        ),
        ("empty term", tolerant(required(json!([{}]))), false),
        ("no terms", tolerant(required(json!([]))), false),
        (
            "selector and affinity contradict each other",
            {
                let mut spec = one("type", "NotIn", &["virtual-kubelet"]);
                spec["nodeSelector"] = json!({"type": "virtual-kubelet"});
                spec
            },
            false,
        ),
    ]);
}

#[test]
fn numbers_are_compared_where_a_label_is_known() {
    let spec = |operator: &str, bound: &str| {
        let mut spec = required(json!([expression("cores", operator, &[bound])]));
        spec["tolerations"] = json!([{"key": "pool", "operator": "Exists"}]);
        spec
    };
    check([
        ("64 > 32", spec("Gt", "32"), true),
        ("64 > 64", spec("Gt", "64"), false),
        ("64 < 128", spec("Lt", "128"), true),
        ("not a number", spec("Lt", "many"), false),
    ]);
}

#[test]
fn preferred_affinity_is_enough_where_nothing_speaks_against_it() {
    let preferred = |preference: Value| {
        json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": preference}]}}})
    };
    check([
        ("preferred", preferred(expression("type", "In", &["virtual-kubelet"])), true),
        ("the others preferred", preferred(expression("type", "NotIn", &["virtual-kubelet"])), false),
        (
            "preferred, but selected elsewhere",
            {
                let mut spec = preferred(expression("type", "In", &["virtual-kubelet"]));
                spec["nodeSelector"] = json!({"type": "ecs"});
                spec
            },
            false,
        ),
    ]);
}

#[test]
fn provider_rules_go_by_labels_annotations_and_fields() {
    let cluster = Cluster::new();
    cluster.set_namespace("eci", [("alibabacloud.com/eci".to_owned(), "true".to_owned())].into());
    let eci = cluster.namespace("eci");
    let label = |key: &str, value: &str| json!({"labels": {key: value}});
    let annotation = |key: &str, value: &str| json!({"annotations": {key: value}});
    let none = || json!({});
    let mut rules = VirtualNodes::default();
    rules.pods.push(PodRule { runtime_class: Some("serverless".into()), ..PodRule::default() });
    for (metadata, spec, namespace, expected) in [
        (label("alibabacloud.com/eci", "true"), none(), None, true),
        (label("alibabacloud.com/eci", "false"), none(), None, false),
        (label("alibabacloud.com/acs", "true"), none(), None, true),
        (label("alibabacloud.com/compute-class", "gpu"), none(), None, true),
        (none(), none(), eci.as_deref(), true),
        (label("alibabacloud.com/eci", "false"), none(), eci.as_deref(), false),
        (annotation("alibabacloud.com/burst-resource", "eci"), none(), None, true),
        (annotation("alibabacloud.com/burst-resource", "eci_only"), none(), None, true),
        (annotation("alibabacloud.com/burst-resource", ""), none(), None, false),
        (label("bursting.cci.io/burst-to-cci", "enforce"), none(), None, true),
        (label("bursting.cci.io/burst-to-cci", "off"), none(), None, false),
        (label("eks.amazonaws.com/fargate-profile", "p"), none(), None, true),
        (none(), json!({"schedulerName": "fargate-scheduler"}), None, true),
        (none(), json!({"schedulerName": "default-scheduler"}), None, false),
        (none(), json!({"runtimeClassName": "serverless"}), None, true),
        (none(), json!({"runtimeClassName": "gvisor"}), None, false),
        (label("alibabacloud.com/eci", "true"), json!({"nodeSelector": {"type": "ecs"}}), None, true),
    ] {
        let pod = pod(metadata, spec);
        assert_eq!(may_be_virtual(&pod, namespace, &rules, &cluster), expected, "{pod:?}");
    }
}

#[test]
fn an_untainted_virtual_node_takes_every_pod() {
    let cluster = Cluster::new();
    cluster.set_node("v", NodeKind::Virtual, NodeShape::default());
    let rules = VirtualNodes::default();
    assert!(may_be_virtual(&pod(json!({}), json!({})), None, &rules, &cluster));
    assert!(!may_be_virtual(&pod(json!({}), json!({"nodeSelector": {"disk": "ssd"}})), None, &rules, &cluster));
}

#[test]
fn windows_is_told_by_os_selector_and_affinity() {
    for (spec, expected) in [
        (json!({"os": {"name": "windows"}}), true),
        (json!({"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "windows"}}), false),
        (json!({"nodeSelector": {"kubernetes.io/os": "windows"}}), true),
        (json!({"nodeSelector": {"beta.kubernetes.io/os": "windows"}}), true),
        (required(json!([expression("kubernetes.io/os", "In", &["windows"])])), true),
        (
            required(json!([
                expression("kubernetes.io/os", "In", &["windows"]),
                expression("beta.kubernetes.io/os", "In", &["windows"]),
            ])),
            true,
        ),
        (required(json!([expression("kubernetes.io/os", "In", &["linux", "windows"])])), false),
        (required(json!([expression("kubernetes.io/os", "Exists", &[])])), false),
        (
            required(json!([
                expression("kubernetes.io/os", "In", &["linux"]),
                expression("kubernetes.io/os", "In", &["windows"]),
            ])),
            false,
        ),
        (json!({"nodeSelector": {"kubernetes.io/os": "linux"}}), false),
        (json!({}), false),
    ] {
        assert_eq!(is_windows(&pod(json!({}), spec.clone())), expected, "{spec}");
    }
}
