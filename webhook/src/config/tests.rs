use super::*;
use crate::node::{NodeKind, NodeShape, Taint};

fn config(json: &str) -> Config {
    serde_json::from_str(json).expect("json")
}

#[test]
fn the_built_in_configuration_is_sound_and_read_back_unchanged() {
    let built_in = Config::default();
    assert_eq!(built_in.check(), Ok(()));
    assert_eq!(config(&serde_json::to_string(&built_in).expect("json")), built_in);
    assert_eq!(config("{}"), built_in);
}

#[test]
fn all_problems_come_at_once_with_field_and_what_is_allowed() {
    let error = config(
        r#"{"image": "a b", "imagePullPolicy": "Sometimes", "allowedImagePrefixes": [""], "imagePullSecrets": ["A"],
            "installNamespace": "a.b", "settings": {"image": "x", "peroid": "1s", "observe": "poll", "cpu-request": "1x"},
            "virtualNodes": {"nodes": [{"name": "none"}, {"labels": {"a b": "c d"}, "taints": [{"key": "t", "effect": "Never"}]}],
                             "pods": [{"name": "all"}]}}"#,
    )
    .check()
    .expect_err("problems")
    .to_string();
    for part in [
        "image: \"a b\" is not an image reference",
        "imagePullPolicy: \"Sometimes\" must be one of Always, IfNotPresent, Never",
        "allowedImagePrefixes[0]: must not be empty",
        "imagePullSecrets[0]: \"A\" must be a DNS name",
        "installNamespace: \"a.b\"",
        "settings.image: set the field image instead",
        "settings: annotation probelet.io/peroid: no such setting",
        "settings: annotation probelet.io/observe: \"poll\"",
        "virtualNodes.nodes[0]: needs labels or taints",
        "virtualNodes.nodes[1].labels: key \"a b\"",
        "virtualNodes.nodes[1].labels: value \"c d\"",
        "virtualNodes.nodes[1].taints[0].effect: \"Never\" must be one of NoSchedule, NoExecute",
        "virtualNodes.pods[0]: needs one of label",
    ] {
        assert!(error.contains(part), "{error}\nshould contain\n{part}");
    }
    let error = config(r#"{"settings": {"cpu-request": "1x"}}"#).check().expect_err("quantity").to_string();
    assert!(error.contains("probelet.io/cpu-request: \"1x\" is not a quantity"), "{error}");
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let error = serde_json::from_str::<Config>(r#"{"imge": "x"}"#).expect_err("typo").to_string();
    assert!(error.contains("unknown field `imge`") && error.contains("`image`"), "{error}");
}

#[test]
fn nodes_are_told_by_all_labels_or_any_taint_of_a_profile() {
    let labels =
        |key: &str, value: &str| NodeShape { labels: [(key.to_owned(), value.to_owned())].into(), taints: Vec::new() };
    let taint = |key: &str, effect: &str| NodeShape {
        labels: BTreeMap::new(),
        taints: vec![Taint { key: key.into(), value: "x".into(), effect: effect.into() }],
    };
    let rules = VirtualNodes::default();
    for (shape, kind) in [
        (labels("type", "virtual-kubelet"), NodeKind::Virtual),
        (labels("type", "other"), NodeKind::Ordinary),
        (labels("kubernetes.io/role", "agent"), NodeKind::Ordinary),
        (labels("liqo.io/type", "virtual-node"), NodeKind::Virtual),
        (labels("eks.amazonaws.com/compute-type", "fargate"), NodeKind::Virtual),
        (labels("eks.amazonaws.com/compute-type", "ec2"), NodeKind::Ordinary),
        (taint("virtual-kubelet.io/provider", "NoSchedule"), NodeKind::Virtual),
        (taint("virtual-node.liqo.io/not-allowed", "NoExecute"), NodeKind::Virtual),
        (taint("node.kubernetes.io/not-ready", "NoSchedule"), NodeKind::Ordinary),
    ] {
        assert_eq!(rules.kind(&shape), kind, "{shape:?}");
    }
}

#[test]
fn system_and_install_namespaces_are_exempt() {
    let mut config = config(r#"{"installNamespace": "probes", "exemptNamespaces": ["infra"]}"#);
    for namespace in ["kube-system", "kube-node-lease", "probelet-system", "probes", "infra"] {
        assert!(config.is_exempt(namespace), "{namespace}");
    }
    assert!(!config.is_exempt("default"));
    assert_eq!(config.injected(), env!("CARGO_PKG_VERSION"));
    config.revision = "blue".into();
    assert_eq!(config.injected(), concat!(env!("CARGO_PKG_VERSION"), "/blue"));
}
