use super::*;

fn wire(name: &str, extra: Value) -> PodWire {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "game", "uid": format!("uid-{name}"),
            "labels": {"app": "game", "x.io/state": "up"},
            "annotations": {"probelet.io/injected": "1", "probelet.io/writes": "c:x.io/Up,l:x.io/gone,l:x.io/state",
                "foreign.io/big": "kept nowhere", "kruise.io/podprobemarker-list": "a, b"},
            "managedFields": [{"manager": "kubectl"}]},
        "spec": {"containers": [{"name": "main", "image": "i", "ports": [{"name": "http", "containerPort": 80}],
            "resources": {"limits": {"cpu": "1"}}}, {"name": "probelet", "resources": {}}],
            "nodeName": "virtual", "terminationGracePeriodSeconds": 30},
        "status": {"phase": "Running", "conditions": [{"type": "Ready"}, {"type": "x.io/Up"}]}
    });
    json_patch::merge(&mut pod, &extra);
    serde_json::from_value(pod).expect("pod")
}

#[test]
fn a_pod_is_kept_as_far_as_it_matters() {
    let pods = Pods::default();
    let key = wire("p", json!({})).key();
    assert!(pods.set(wire("p", json!({})), &VirtualNodes::default()).0);
    let view = pods.get(&key).expect("kept");
    assert!(view.injected && !view.over);
    assert!(view.has_marker("b") && !view.has_marker("a,"));
    assert_eq!(view.present().to_string(), "c:x.io/Up,l:x.io/state", "only what is on the Pod");
    let pod = view.pod(&key);
    assert_eq!(pod.annotation("foreign.io/big"), None);
    assert!(pod.has_container("main") && pod.has_container("probelet"));
    assert_eq!(pod.text("nodeName"), Some("virtual"));
    assert_eq!(pod.containers()[0]["resources"]["limits"]["cpu"], "1", "a LimitRange may leave no room");
    assert_eq!(pod.containers()[1].get("resources"), None);
    assert_eq!(pod.spec.get("terminationGracePeriodSeconds"), None);
}

#[test]
fn only_what_matters_counts_as_new() {
    let pods = Pods::default();
    pods.set(wire("p", json!({})), &VirtualNodes::default());
    let heartbeat = json!({"status": {"podIP": "10.0.0.1"}, "metadata": {"annotations": {"foreign.io/big": "new"}}});
    assert!(!pods.set(wire("p", heartbeat), &VirtualNodes::default()).0);
    let ended = json!({"status": {"phase": "Succeeded"}});
    assert!(pods.set(wire("p", ended), &VirtualNodes::default()).0);
    assert!(pods.get(&wire("p", json!({})).key()).expect("kept").over);
}

#[test]
fn pods_that_a_new_list_lacks_are_gone() {
    let pods = Pods::default();
    pods.set(wire("a", json!({})), &VirtualNodes::default());
    pods.set(wire("b", json!({})), &VirtualNodes::default());
    assert_eq!(pods.count("game", |_| true), None, "not listed yet");
    pods.listed("game", &HashSet::from(["b".into()]));
    assert_eq!(pods.count("game", |view| view.injected), Some(1));
    assert_eq!(pods.keys("game").map(|key| key.name.to_string()).collect::<Vec<_>>(), ["b"]);
    pods.forget("game");
    assert!(pods.is_empty());
}

#[test]
fn ten_thousand_like_pods_share_their_texts() {
    let pods = Pods::default();
    for index in 0..10_000 {
        pods.set(wire(&format!("p{index}"), json!({})), &VirtualNodes::default());
    }
    assert_eq!(pods.len(), 10_000);
    assert!(pods.read().texts.len() < 10, "{}", pods.read().texts.len());
}
