//! What holds for every Pod: a patch only adds (G13), keeps order (G14), is empty the second time (G23), keeps fields
//! that no type knows (F14), and no text of the Pod steers it elsewhere (T10).

use crate::harness::{MARKER, REVIEW, json};
use probelet_webhook::admission::{self, Outcome, World};
use probelet_webhook::cluster::Cluster;
use probelet_webhook::config::Config;
use probelet_webhook::resource::QosClass;
use probelet_webhook::review::read;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Containers' names; the markers are for the first two.
const NAMES: [&str; 5] = ["game", "log", "proxy", "cache", "extra"];
const OWN: [&str; 8] = [
    "kruise.io/podprobe",
    "kruise.io/podprobemarker-list",
    "probelet.io/marker-policies",
    "probelet.io/writes",
    "probelet.io/injected",
    "kubectl.kubernetes.io/default-container",
    "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
    "probelet.io/native-sidecar",
];

static BASE: LazyLock<Value> = LazyLock::new(|| json(REVIEW));
static CLUSTER: LazyLock<Cluster> = LazyLock::new(cluster);
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let settings = [("metrics-port".to_owned(), "9900".to_owned())].into();
    Config { settings, image_pull_secrets: vec!["probelet-pull".to_owned()], ..Config::default() }
});
/// The review around a Pod.
static REVIEW_HEAD: LazyLock<String> = LazyLock::new(|| {
    let mut review = BASE.clone();
    review["request"]["object"] = "POD".into();
    review.to_string()
});

/// JSON as a newer API server could send it, with keys and texts that want escaping somewhere. Chosen from a list: making
/// up a tree for each field takes most of the test's time.
fn unknown() -> BoxedStrategy<Value> {
    let texts = [
        "null",
        "true",
        "-9223372036854775808",
        "1.5e300",
        r#""a/b~c\"\u0000é""#,
        "[]",
        "{}",
        r#"[null,[1,"x"],{"name":"probelet"}]"#,
        r#"{"a/b":{"~1":[{"mountPath":"/x"}]},"":0,"é~0":null}"#,
        r#"{"name":"probelet-token","op":"remove","path":"/spec"}"#,
    ];
    let values: Vec<Value> = texts.iter().map(|text| json(text)).collect();
    proptest::sample::select(values).boxed()
}

fn amounts() -> BoxedStrategy<Value> {
    option::of(prop_oneof![Just("0"), Just("100m"), Just("1"), Just("64Mi"), Just("1.5Gi")])
        .prop_flat_map(|cpu| {
            option::of(prop_oneof![Just("32Mi"), Just("1Gi")]).prop_map(move |memory| {
                let fields = [("cpu", cpu), ("memory", memory)];
                fields.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), Value::from(amount?)))).collect()
            })
        })
        .boxed()
}

fn hook() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(json!({"exec": {"command": ["sh", "-c", "x", "x"]}})),
        Just(json!({"exec": {"command": ["/.probelet/probelet-agent", "start", "--", "x"]}})),
        Just(json!({"httpGet": {"port": 80, "path": "/a"}})),
        Just(json!({"httpGet": {"port": 80, "scheme": "HTTPS"}})),
        Just(json!({"sleep": {"seconds": 1}})),
        Just(json!({})),
        Just(Value::Null),
        unknown(),
    ]
    .boxed()
}

fn container(name: &'static str) -> BoxedStrategy<Value> {
    let parts = (
        (option::of(amounts()), option::of(amounts())),
        option::of(hook()),
        option::of(vec((0..3_usize, 1..70_000_i64), 0..3)),
        option::of(vec((Just("data"), "/[a-z]{1,5}"), 0..3)),
        option::of(unknown()),
        any::<bool>(),
    );
    parts
        .prop_map(move |((requests, limits), hook, ports, mounts, unknown, probed)| {
            let mut container = json!({"name": name, "image": "x:1"});
            let fields = container.as_object_mut().expect("object");
            if requests.is_some() || limits.is_some() {
                let mut resources = Map::new();
                resources.extend(requests.map(|amounts| ("requests".to_owned(), amounts)));
                resources.extend(limits.map(|amounts| ("limits".to_owned(), amounts)));
                fields.insert("resources".into(), resources.into());
            }
            if let Some(hook) = hook {
                fields.insert("lifecycle".into(), json!({"postStart": hook, "newHook": 1}));
            }
            if let Some(ports) = ports {
                let named =
                    |(name, port): (usize, i64)| json!({"name": (["http", "grpc", ""][name]), "containerPort": port});
                fields.insert("ports".into(), ports.into_iter().map(named).collect());
            }
            if let Some(mounts) = mounts {
                let mounts: BTreeMap<_, _> = mounts.into_iter().map(|(name, path)| (path, name)).collect();
                let mount = |(path, name)| json!({"name": name, "mountPath": path});
                fields.insert("volumeMounts".into(), mounts.into_iter().map(mount).collect());
            }
            if probed {
                fields.insert("startupProbe".into(), json!({"tcpSocket": {"port": 1}}));
            }
            fields.extend(unknown.map(|unknown| ("containerFieldOfTomorrow".to_owned(), unknown)));
            container
        })
        .boxed()
}

fn pod() -> BoxedStrategy<Value> {
    let containers = (container(NAMES[0]), option::of(container(NAMES[1])), option::of(container(NAMES[2])));
    let inits = (option::of(container(NAMES[3])), option::of(container(NAMES[4])), any::<bool>(), any::<bool>());
    let annotations = option::of(btree_map("[a-z]{1,4}(/[a-z~é]{1,4})?", "[ -~]{0,6}", 0..3));
    let metadata = (annotations, option::of(any::<bool>()), option::of(unknown()));
    let lists = (option::of(vec(Just("data"), 0..2)), option::of(unknown()), any::<bool>());
    (containers, inits, metadata, lists)
        .prop_map(|((first, second, third), (init, native, last, none), metadata, lists)| {
            let (annotations, sidecar, unknown_metadata) = metadata;
            let mut pod = BASE["request"]["object"].clone();
            let spec = pod["spec"].as_object_mut().expect("spec");
            let containers: Vec<_> = [Some(first), second, third].into_iter().flatten().collect();
            spec.insert("containers".into(), containers.into());
            let native = native.map(|mut container| {
                container["restartPolicy"] = "Always".into();
                container["name"] = "log-native".into();
                container
            });
            let mut inits: Vec<_> = [init, native].into_iter().flatten().collect();
            if last {
                inits.reverse();
            }
            spec.insert("initContainers".into(), if none && inits.is_empty() { Value::Null } else { inits.into() });
            match lists.0 {
                Some(names) => {
                    spec.insert("volumes".into(), names.into_iter().map(|name| json!({"name": name})).collect())
                }
                None => spec.remove("volumes"),
            };
            if let Some(unknown) = lists.1 {
                spec.insert("specFieldOfTomorrow".into(), unknown);
            }
            let metadata = pod["metadata"].as_object_mut().expect("metadata");
            metadata.extend(unknown_metadata.map(|unknown| ("metadataFieldOfTomorrow".to_owned(), unknown)));
            match annotations {
                Some(annotations) => metadata.insert("annotations".into(), json!(annotations)),
                None if lists.2 => metadata.insert("annotations".into(), Value::Null),
                None => metadata.remove("annotations"),
            };
            if let (Some(native), Some(Value::Object(annotations))) = (sidecar, metadata.get_mut("annotations")) {
                annotations.insert("probelet.io/native-sidecar".into(), native.to_string().into());
            }
            pod
        })
        .boxed()
}

/// Markers with an http probe, a probe without condition, and exec probes of a container and a native sidecar.
fn cluster() -> Cluster {
    let cluster = Cluster::new();
    cluster.set_namespace("games", [("probelet.io/inject".to_owned(), "enabled".to_owned())].into());
    let run = |container| {
        let condition = format!("x.io/{container}");
        json!({"name": "run", "containerName": container, "probe": {"exec": {"command": ["x"]}}, "podConditionType": condition})
    };
    let runs = Value::from_iter(["game", "log", "log-native", "probelet"].map(run));
    let exec = json!({"selector": {"matchLabels": {"app": "minecraft"}}, "probes": runs});
    for (name, spec) in [("exec", exec), ("health", json(MARKER))] {
        cluster.set_marker("games", name, 1, serde_json::from_value(spec).expect("marker"), &BTreeMap::new());
    }
    cluster
}

fn admit(pod: &Value, cluster: &Cluster) -> (Outcome, json_patch::Patch) {
    let body = REVIEW_HEAD.replace("\"POD\"", &pod.to_string());
    let request = read(body.as_bytes()).expect("review");
    let world = World { cluster, config: &CONFIG, random: || Ok("0123456789abcdef".to_owned()) };
    let verdict = admission::mutate_pod(&request, &world).expect("pod");
    (verdict.outcome, verdict.answer.patch)
}

/// Takes out what is ours, knowing nothing of how it was put in.
fn remove_ours(pod: &mut Value, original: &Value) {
    if let Some(Value::Object(annotations)) = pod.pointer_mut("/metadata/annotations") {
        annotations
            .retain(|key, _| !OWN.contains(&key.as_str()) || original["metadata"]["annotations"].get(key).is_some());
        if annotations.is_empty() && !original["metadata"]["annotations"].is_object() {
            restore(&mut pod["metadata"], &original["metadata"], "annotations");
        }
    }
    for field in ["containers", "initContainers", "volumes", "imagePullSecrets"] {
        let Some(Value::Array(list)) = pod["spec"].get_mut(field) else { continue };
        list.retain(|item| !item["name"].as_str().is_some_and(|name| name.starts_with("probelet")));
        if list.is_empty() && !original["spec"][field].is_array() {
            restore(&mut pod["spec"], &original["spec"], field);
        }
    }
    for field in ["containers", "initContainers"] {
        for (index, container) in list_mut(pod, field).enumerate() {
            unequip(container, &original["spec"][field][index]);
        }
    }
}

fn list_mut<'a>(pod: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    pod["spec"].get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

fn unequip(container: &mut Value, original: &Value) {
    let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) else { return };
    let count = mounts.len();
    mounts.retain(|mount| mount["name"] != "probelet-agent");
    if mounts.len() == count {
        return;
    }
    if mounts.is_empty() {
        restore(container, original, "volumeMounts");
    }
    let command = &container["lifecycle"]["postStart"]["exec"]["command"];
    assert_eq!((&command[0], &command[1]), (&json!("/.probelet/probelet-agent"), &json!("start")));
    restore(container, original, "lifecycle");
}

fn restore(object: &mut Value, original: &Value, field: &str) {
    let object = object.as_object_mut().expect("object");
    match original.get(field) {
        Some(value) => object.insert(field.to_owned(), value.clone()),
        None => object.remove(field),
    };
}

fn class(pod: &Value) -> QosClass {
    let mut pod = pod.clone();
    for field in ["containers", "initContainers"] {
        // Under other names they count.
        for container in list_mut(&mut pod, field) {
            container["name"] = format!("x-{}", container["name"].as_str().expect("name")).into();
        }
    }
    QosClass::of(&serde_json::from_value(pod).expect("pod"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_patch_only_adds_what_is_ours_and_only_once(pod in pod()) {
        let (outcome, patch) = admit(&pod, &CLUSTER);
        prop_assert_eq!(outcome, Outcome::Injected);
        for operation in &patch.0 {
            let path = operation.path().to_string();
            let adds = matches!(operation, json_patch::PatchOperation::Add(_));
            prop_assert!(adds || path.ends_with("/lifecycle/postStart") || path.ends_with("/lifecycle") || is_null(&pod, &path), "{operation}");
        }
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &patch).expect("applies");
        prop_assert_eq!(class(&patched), class(&pod));
        let (outcome, second) = admit(&patched, &CLUSTER);
        prop_assert_eq!((outcome, second.0.len()), (Outcome::Unchanged, 0), "{}", second);
        let mut bare = patched;
        remove_ours(&mut bare, &pod);
        prop_assert_eq!(bare, pod);
    }
}

/// A null field is as good as an absent one, but in a patch it is replaced.
fn is_null(pod: &Value, path: &str) -> bool {
    pod.pointer(path) == Some(&Value::Null)
}
