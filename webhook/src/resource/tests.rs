use super::*;
use crate::limit_range::LimitRangeItem;

fn pod(containers: Value) -> Pod {
    serde_json::from_value(json!({"spec": {"containers": containers}})).expect("pod")
}

fn resources(requests: Value, limits: Value) -> Value {
    json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
}

fn guaranteed() -> Value {
    let amounts = json!({"cpu": "1", "memory": "1Gi"});
    resources(amounts.clone(), amounts)
}

fn burstable() -> Value {
    resources(json!({"cpu": "1", "memory": "1Gi"}), json!({"memory": "2Gi"}))
}

fn resolve(pod: &Pod, settings: &[(&str, &str)], items: Value) -> Option<Value> {
    let annotations = settings.iter().map(|(key, text)| (format!("probelet.io/{key}"), (*text).to_owned())).collect();
    let wanted = Wanted::of(&Settings::parse(&annotations).expect("settings")).expect("quantities");
    let items: Vec<LimitRangeItem> = serde_json::from_value(items).expect("items");
    wanted.resolve(pod, &Bounds::of(items.iter()))
}

#[test]
fn the_class_is_kept() {
    let mut with_init = pod(json!([guaranteed()]));
    with_init.spec["initContainers"] = json!([guaranteed()]);
    for (message, pod, class) in [
        ("none", pod(json!([{"name": "c"}, {"name": "d", "resources": {}}])), QosClass::BestEffort),
        ("zeros", pod(json!([resources(json!({"cpu": "0"}), json!({}))])), QosClass::BestEffort),
        (
            "another resource",
            pod(json!([resources(json!({"ephemeral-storage": "1Gi"}), json!({}))])),
            QosClass::BestEffort,
        ),
        ("equal", pod(json!([guaranteed()])), QosClass::Guaranteed),
        ("equal, with an init container", with_init, QosClass::Guaranteed),
        ("limits only", pod(json!([{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}])), QosClass::Guaranteed),
        (
            "equal in other words",
            pod(json!([resources(json!({"cpu": "1000m", "memory": "1024Mi"}), json!({"cpu": 1, "memory": "1Gi"}))])),
            QosClass::Guaranteed,
        ),
        ("one container without", pod(json!([guaranteed(), {"name": "d"}])), QosClass::Burstable),
        ("cpu only", pod(json!([resources(json!({"cpu": "1"}), json!({"cpu": "1"}))])), QosClass::Burstable),
        ("requests only", pod(json!([resources(json!({"cpu": "1"}), json!({}))])), QosClass::Burstable),
    ] {
        assert_eq!(QosClass::of(&pod), class, "{message}");
        let mut injected = pod.clone();
        let mut sidecar = json!({"name": "sidecar"});
        if let Some(resources) = resolve(&pod, &[], json!([])) {
            sidecar["resources"] = resources;
        }
        injected.spec["containers"].as_array_mut().expect("list").push(sidecar);
        assert_eq!(QosClass::of(&injected), class, "{message}, injected");
    }
}

#[test]
fn a_pod_with_resources_of_its_own_decides_for_all() {
    let mut pod = pod(json!([{"name": "c"}]));
    pod.spec["resources"] = json!({"limits": {"cpu": "1"}});
    assert_eq!(QosClass::of(&pod), QosClass::PodLevel);
    assert_eq!(resolve(&pod, &[], json!([])), None);
}

#[test]
fn settings_are_honoured_within_the_class() {
    assert_eq!(
        resolve(&pod(json!([burstable()])), &[("cpu-request", "20m"), ("memory-limit", "64Mi")], json!([])),
        Some(json!({"requests": {"cpu": "20m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}}))
    );
    assert_eq!(
        resolve(&pod(json!([burstable()])), &[("memory-limit", "4Mi")], json!([])),
        Some(json!({"requests": {"cpu": "5m", "memory": "4Mi"}, "limits": {"memory": "4Mi"}}))
    );
    assert_eq!(
        resolve(&pod(json!([guaranteed()])), &[("cpu-request", "50m")], json!([])),
        Some(json!({"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"cpu": "50m", "memory": "16Mi"}}))
    );
    assert_eq!(resolve(&pod(json!([{"name": "c"}])), &[("cpu-request", "50m")], json!([])), None);
}

#[test]
fn where_all_containers_have_a_limit_the_sidecar_has_one_for_the_quota() {
    let limited = resources(json!({"cpu": "1"}), json!({"cpu": "2"}));
    let resources = resolve(&pod(json!([limited])), &[], json!([])).expect("resources");
    assert_eq!(resources["limits"], json!({"cpu": "100m", "memory": "32Mi"}));
}

#[test]
fn limit_ranges_are_met() {
    let burst = pod(json!([burstable()]));
    for (message, pod, items, expected) in [
        (
            "min",
            &burst,
            json!([{"type": "Container", "min": {"cpu": "50m", "memory": "64Mi"}}]),
            json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}),
        ),
        (
            "max",
            &burst,
            json!([{"type": "Container", "max": {"cpu": "50m", "memory": "16Mi"}}]),
            json!({"requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"cpu": "50m", "memory": "16Mi"}}),
        ),
        (
            "ratio",
            &burst,
            json!([{"type": "Container", "maxLimitRequestRatio": {"cpu": "4", "memory": "1.5"}}]),
            json!({"requests": {"cpu": "25m", "memory": "22369621334m"}, "limits": {"cpu": "100m", "memory": "32Mi"}}),
        ),
        (
            "default limit",
            &burst,
            json!([{"type": "Container", "default": {"cpu": "1"}}]),
            json!({"requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}}),
        ),
        (
            "the tightest of several, of containers only",
            &burst,
            json!([{"type": "Pod", "max": {"memory": "1Mi"}}, {"type": "Container", "min": {"cpu": "6m"}}, {"type": "Container", "min": {"cpu": "7m"}}]),
            json!({"requests": {"cpu": "7m", "memory": "8Mi"}, "limits": {"memory": "32Mi"}}),
        ),
        (
            "Guaranteed",
            &pod(json!([guaranteed()])),
            json!([{"type": "Container", "min": {"cpu": "100m"}, "max": {"memory": "8Mi"}}]),
            json!({"requests": {"cpu": "100m", "memory": "8Mi"}, "limits": {"cpu": "100m", "memory": "8Mi"}}),
        ),
    ] {
        assert_eq!(resolve(pod, &[], items), Some(expected), "{message}");
    }
}

#[test]
fn limit_ranges_for_pods_are_met_by_the_sum() {
    let memory = |request: &str, limit: &str| resources(json!({"memory": request}), json!({"memory": limit}));
    let cpu = |limit: &str| resources(json!({"cpu": "1"}), json!({"cpu": limit}));
    let item = |field: &str, resource: &str, amount: &str| json!([{"type": "Pod", field: {resource: amount}}]);
    let init = |mut pod: Pod| {
        pod.spec["initContainers"] = json!([{"name": "i"}]);
        pod
    };
    let ratio = |request: &str| json!({"requests": {"cpu": "5m", "memory": request}, "limits": {"memory": "32Mi"}});
    let limits = json!({"cpu": "100m", "memory": "32Mi"});
    let with_cpu = |request: &str| json!({"requests": {"cpu": request, "memory": "8Mi"}, "limits": limits});
    let equal = json!({"cpu": "20m", "memory": "16Mi"});
    for (message, pod, items, expected, fits) in [
        (
            "ratio",
            pod(json!([memory("20Mi", "40Mi")])),
            item("maxLimitRequestRatio", "memory", "2"),
            ratio("16Mi"),
            true,
        ),
        ("CPU ratio", pod(json!([cpu("2")])), item("maxLimitRequestRatio", "cpu", "2"), with_cpu("50m"), true),
        (
            "CPU ratio, an init container without limit",
            init(pod(json!([cpu("2")]))),
            item("maxLimitRequestRatio", "cpu", "2"),
            with_cpu("50m"),
            true,
        ),
        ("room", pod(json!([memory("20Mi", "32Mi")])), item("max", "memory", "64Mi"), ratio("8Mi"), true),
        ("no room", pod(json!([memory("20Mi", "64Mi")])), item("max", "memory", "64Mi"), ratio("8Mi"), false),
        ("CPU, room", pod(json!([cpu("1")])), item("max", "cpu", "2"), with_cpu("5m"), true),
        (
            "CPU, an init container without limit",
            init(pod(json!([cpu("1")]))),
            item("max", "cpu", "2"),
            with_cpu("5m"),
            true,
        ),
        ("CPU, no room", pod(json!([cpu("2")])), item("max", "cpu", "2"), with_cpu("5m"), false),
        ("a container without CPU limit", pod(json!([cpu("1"), {}])), item("max", "cpu", "2"), ratio("8Mi"), true),
        (
            "Guaranteed",
            pod(json!([guaranteed()])),
            item("maxLimitRequestRatio", "cpu", "1"),
            json!({"requests": equal, "limits": equal}),
            true,
        ),
        (
            "Guaranteed, no room",
            pod(json!([guaranteed()])),
            item("max", "memory", "1Gi"),
            json!({"requests": equal, "limits": equal}),
            false,
        ),
    ] {
        let mut injected = pod.clone();
        let resources = resolve(&pod, &[], items.clone());
        assert_eq!(resources.as_ref(), Some(&expected), "{message}");
        let sidecar = json!({"name": "sidecar", "resources": resources});
        injected.spec["containers"].as_array_mut().expect("list").push(sidecar);
        assert_eq!(QosClass::of(&injected), QosClass::of(&pod), "{message}");
        let items: Vec<LimitRangeItem> = serde_json::from_value(items).expect("items");
        let bounds = Bounds::of(items.iter());
        assert!(is_within(&pod, &bounds), "{message}, without the sidecar");
        assert_eq!(is_within(&injected, &bounds), fits, "{message}, with the sidecar");
    }
}

#[test]
fn bad_quantities_are_refused_all_at_once_by_key() {
    let settings = |pairs: &[(&str, &str)]| {
        let map = pairs.iter().map(|(key, text)| (format!("probelet.io/{key}"), (*text).to_owned())).collect();
        Wanted::of(&Settings::parse(&map).expect("settings"))
            .expect_err("bad")
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        settings(&[("cpu-request", "-1"), ("memory-limit", "64MB"), ("cpu-limit", "x")]),
        [
            "annotation probelet.io/cpu-request: must not be negative",
            "annotation probelet.io/cpu-limit: \"x\" is not a quantity such as 100m, 0.5, 64Mi or 1G",
            "annotation probelet.io/memory-limit: \"64MB\" is not a quantity such as 100m, 0.5, 64Mi or 1G",
        ]
    );
    assert_eq!(
        settings(&[("memory-request", "2Gi"), ("memory-limit", "1Gi")]),
        ["annotation probelet.io/memory-request: must not be larger than probelet.io/memory-limit"]
    );
}
