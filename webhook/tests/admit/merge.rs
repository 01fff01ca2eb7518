//! Which probes a Pod gets of which markers, and plans that it brings.

use crate::harness::{Webhook, add, json};
use serde_json::{Value, json};

fn probe(name: &str, container: &str, condition: &str) -> Value {
    let mut probe = json!({"name": name, "containerName": container, "probe": {"tcpSocket": {"port": 1}}});
    if !condition.is_empty() {
        probe["podConditionType"] = condition.into();
    }
    probe
}

fn marker(probes: &[Value]) -> String {
    json!({"selector": {"matchLabels": {"app": "minecraft"}}, "probes": probes}).to_string()
}

/// `container/name` of every planned probe, and the list of markers.
async fn planned(webhook: &Webhook, change: impl FnOnce(&mut Value)) -> (Vec<String>, String, Vec<String>) {
    let reply = webhook.create(change).await;
    assert_eq!(reply.outcome(), "injected", "{:?}", reply.response);
    let mut names: Vec<String> = Vec::new();
    for key in ["kruise.io/podprobe", "probelet.io/marker-policies"] {
        let text = Some(reply.annotation(key)).filter(|text| !text.is_empty()).unwrap_or("[]");
        for entry in json(text).as_array().expect("list") {
            let name =
                format!("{}/{}", entry["containerName"].as_str().expect("c"), entry["name"].as_str().expect("n"));
            if entry.get("probe").is_some() {
                names.push(name);
            }
        }
    }
    (names, reply.annotation("kruise.io/podprobemarker-list").to_owned(), reply.warnings())
}

#[tokio::test]
async fn markers_are_merged_by_name_whatever_order_they_were_seen_in() {
    let (a, b) = (
        marker(&[probe("p", "game", "x.io/A")]),
        marker(&[probe("p", "game", "x.io/B"), probe("q", "game", "x.io/A"), probe("r", "game", "x.io/C")]),
    );
    for order in [["a", "b"], ["b", "a"]] {
        let webhook = Webhook::empty();
        for name in order {
            webhook.mark(name, if name == "a" { &a } else { &b });
        }
        let (names, list, warnings) = planned(&webhook, |_| {}).await;
        assert_eq!((names, list.as_str()), (vec!["game/p".to_owned(), "game/r".into()], "a,b"));
        assert_eq!(
            warnings,
            [
                "probelet: marker b: spec.probes[0].name: left out, probe game/p is another marker's",
                "probelet: marker b: spec.probes[1].podConditionType: left out, x.io/A is another probe's",
            ]
        );
    }
}

#[tokio::test]
async fn probes_of_containers_that_the_pod_lacks_are_left_out_and_native_sidecars_count() {
    let webhook = Webhook::empty();
    let probes = [probe("a", "log", "x.io/A"), probe("b", "unpack", "x.io/B"), probe("c", "none", "x.io/C")];
    webhook.mark("m", &marker(&probes));
    webhook.mark("n", &marker(&[probe("d", "none", "x.io/D")]));
    let log = json!({"name": "log", "image": "log:1", "restartPolicy": "Always"});
    let (names, list, warnings) = planned(&webhook, |pod| add(&mut pod["spec"]["initContainers"], log)).await;
    assert_eq!((names, list.as_str(), warnings), (vec!["log/a".to_owned()], "m", vec![]));
}

trait Put {
    fn put(&mut self, key: &str, value: impl Into<Value>);
}

impl Put for Value {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self["metadata"]["annotations"][key] = value.into();
    }
}

#[tokio::test]
async fn a_pod_may_name_its_markers() {
    let webhook = Webhook::empty();
    let foreign = json!({"selector": {"matchLabels": {"app": "other"}}, "probes": [probe("f", "game", "x.io/F")]});
    webhook.mark("foreign", &foreign.to_string());
    webhook.mark("selected", &marker(&[probe("s", "game", "x.io/S")]));
    let (names, list, warnings) =
        planned(&webhook, |pod| pod.put("kruise.io/podprobemarker-list", "foreign, gone")).await;
    assert_eq!((names, list.as_str()), (vec!["game/f".to_owned()], "foreign, gone"));
    assert_eq!(
        warnings,
        [r#"probelet: annotation kruise.io/podprobemarker-list: no PodProbeMarker "gone" in this namespace"#]
    );
}

#[tokio::test]
async fn what_the_pods_owner_named_is_remembered_and_counts_alone_from_then_on() {
    let webhook = Webhook::empty();
    let foreign = json!({"selector": {"matchLabels": {"app": "other"}}, "probes": [probe("f", "game", "x.io/F")]});
    webhook.mark("foreign", &foreign.to_string());
    for name in ["mine", "more"] {
        webhook.mark(name, &marker(&[probe(name, "game", &format!("x.io/{name}"))]));
    }
    // The list that the Pod comes with, the one that it leaves with, and what is remembered.
    for (came, left, named) in
        [("", "mine,more", ""), ("mine", "mine", "mine"), (" more, foreign", " more, foreign", "foreign,more")]
    {
        let first = webhook.create(|pod| pod.put("kruise.io/podprobemarker-list", came)).await;
        assert_eq!(first.annotation("kruise.io/podprobemarker-list"), left, "{came:?}");
        assert_eq!(first.annotation("probelet.io/named-markers"), named, "{came:?}");
        let second = webhook.create(|pod| *pod = first.object.clone()).await;
        assert!(second.is_unchanged(), "{came:?}: {:?}", second.patch);
    }
}

#[tokio::test]
async fn a_list_that_openkruise_wrote_is_nobodys_wish_unless_a_marker_on_it_does_not_select_the_pod() {
    let webhook = Webhook::empty();
    let foreign = json!({"selector": {"matchLabels": {"app": "other"}}, "probes": [probe("f", "game", "x.io/F")]});
    webhook.mark("foreign", &foreign.to_string());
    webhook.mark("mine", &marker(&[probe("m", "game", "x.io/M")]));
    for (list, named) in [("mine", ""), ("foreign,mine", "foreign,mine")] {
        let plan = json!([probe("m", "game", "x.io/M")]).to_string();
        let change = |pod: &mut Value| {
            pod.put("kruise.io/podprobe", plan);
            pod.put("kruise.io/podprobemarker-list", list);
        };
        assert_eq!(webhook.create(change).await.annotation("probelet.io/named-markers"), named, "{list}");
    }
}

#[tokio::test]
async fn unsafe_probes_of_unvalidated_markers_are_left_out_and_told() {
    let webhook = Webhook::empty();
    let mut host = probe("host", "game", "x.io/H");
    host["probe"]["tcpSocket"]["host"] = "169.254.169.254".into();
    let mut reserved = probe("reserved", "game", "");
    reserved["markerPolicy"] = json!([{"state": "Succeeded", "labels": {"probelet.io/inject": "disabled"}}]);
    webhook.mark("m", &marker(&[probe("ready", "game", "Ready"), host, reserved, probe("good", "game", "x.io/G")]));
    let reply = webhook.create(|_| {}).await;
    assert_eq!(reply.annotation("probelet.io/writes"), "c:x.io/G");
    assert_eq!(
        reply.warnings(),
        [
            "probelet: marker m: spec.probes[0].podConditionType: left out, Ready is not a marker's to write",
            "probelet: marker m: spec.probes[1].probe: left out, host is not allowed, a probe goes to its own Pod",
            "probelet: marker m: spec.probes[2].markerPolicy: left out, key probelet.io/inject is reserved",
        ]
    );
}

#[tokio::test]
async fn a_named_port_that_the_container_lacks_is_told() {
    let webhook = Webhook::empty();
    let mut named = probe("a", "game", "x.io/A");
    named["probe"]["tcpSocket"]["port"] = "grpc".into();
    webhook.mark("m", &marker(&[named]));
    let (names, _, warnings) = planned(&webhook, |_| {}).await;
    assert_eq!(names, ["game/a"]);
    assert_eq!(
        warnings,
        [
            r#"probelet: marker m: spec.probes[0].probe.tcpSocket.port: container "game" has no port named "grpc" (it has: http)"#
        ]
    );
}

#[tokio::test]
async fn marks_are_kept_where_the_marker_says_so() {
    let webhook = Webhook::empty();
    let spec = serde_json::from_str(&marker(&[probe("a", "game", "x.io/A")])).expect("marker");
    let keep = [("probelet.io/keep-marks".to_owned(), "true".to_owned())].into();
    webhook.cluster.set_marker("games", "m", 1, spec, &keep);
    let reply = webhook.create(|_| {}).await;
    assert_eq!(
        json(reply.annotation("probelet.io/marker-policies")),
        json!([{"name": "a", "containerName": "game", "marker": "m", "keepMarks": true}])
    );
}

#[tokio::test]
async fn the_plan_has_a_limit_and_what_exceeds_it_is_told() {
    let webhook = Webhook::empty();
    let probes: Vec<_> = (0..70).map(|i| probe(&format!("p{i}"), "game", &format!("x.io/C{i}"))).collect();
    webhook.mark("m", &marker(&probes));
    let (names, _, warnings) = planned(&webhook, |_| {}).await;
    assert_eq!(names.len(), 64);
    assert_eq!(warnings[2], "probelet: and 4 more");
}

const OWN: &str =
    r#"[ {"podConditionType":"x.io/A","name":"a","containerName":"game","probe":{"tcpSocket":{"port":1},"new":1}} ]"#;

#[tokio::test]
async fn an_own_plan_is_kept_word_for_word_and_needs_no_marker() {
    let webhook = Webhook::with_marker();
    let policies =
        r#"[{"name":"a","containerName":"game","markerPolicy":[{"state":"Failed","labels":{"x.io/l":"1"}}]}]"#;
    let reply = webhook
        .create(|pod| {
            pod.put("kruise.io/podprobe", OWN);
            pod.put("probelet.io/marker-policies", policies);
            pod.put("probelet.io/writes", "l:app,c:Ready");
        })
        .await;
    assert_eq!(reply.annotation("kruise.io/podprobe"), OWN);
    assert_eq!(reply.annotation("probelet.io/marker-policies"), policies);
    assert_eq!(reply.annotation("probelet.io/writes"), "c:x.io/A,l:x.io/l");
    assert_eq!(reply.annotation("kruise.io/podprobemarker-list"), "");
    let second = webhook.create(|pod| *pod = reply.object.clone()).await;
    assert!(second.is_unchanged(), "{:?}", second.patch);
}

#[tokio::test]
async fn an_own_plan_that_cannot_be_used_is_refused_by_field() {
    let native = OWN.replace("x.io/A", "Ready");
    let reserved =
        r#"[{"name":"a","containerName":"game","markerPolicy":[{"state":"Failed","labels":{"kruise.io/l":"1"}}]}]"#;
    for (key, text, message) in [
        ("kruise.io/podprobe", "{", "annotation kruise.io/podprobe: not a JSON list of probes"),
        (
            "kruise.io/podprobe",
            r#"[{"name":"a"}]"#,
            "annotation kruise.io/podprobe: [0].containerName: must not be empty",
        ),
        (
            "kruise.io/podprobe",
            r#"[{"name":"a","containerName":"game","probe":{"udp":{}}}]"#,
            "annotation kruise.io/podprobe: [0].probe: no handler: one of exec, httpGet, tcpSocket, grpc must be set",
        ),
        (
            "kruise.io/podprobe",
            native.as_str(),
            "annotation kruise.io/podprobe: probe game/a: Ready is not a marker's to write",
        ),
        (
            "probelet.io/marker-policies",
            reserved,
            "annotation kruise.io/podprobe: probe game/a: key kruise.io/l is reserved",
        ),
        (
            "kruise.io/podprobe",
            &OWN.replace(r#""port":1"#, r#""port":1,"host":"10.0.0.1""#),
            "annotation kruise.io/podprobe: probe game/a: host is not allowed, a probe goes to its own Pod",
        ),
        ("probelet.io/marker-policies", "1", "annotation probelet.io/marker-policies: not a JSON list"),
    ] {
        let reply = Webhook::empty()
            .create(|pod| {
                pod.put("kruise.io/podprobe", OWN);
                pod.put(key, text);
            })
            .await;
        assert!(!reply.allowed);
        assert!(reply.message().contains(message), "{}\n{message}", reply.message());
    }
}

#[tokio::test]
async fn ports_and_containers_that_an_own_plan_misses_are_told() {
    let plan = json!([
        {"name": "a", "containerName": "game", "probe": {"httpGet": {"port": "web"}}, "podConditionType": "x.io/A"},
        {"name": "b", "containerName": "gone", "probe": {"httpGet": {"port": 80}}, "podConditionType": "x.io/B"},
    ]);
    let reply = Webhook::empty().create(|pod| pod.put("kruise.io/podprobe", plan.to_string())).await;
    assert_eq!(
        reply.warnings(),
        [
            "probelet: annotation kruise.io/podprobe: probe game/a.probe.httpGet.port: container \"game\" has no port named \"web\" (...",
            "probelet: annotation kruise.io/podprobe: probe gone/b: the Pod has no such container",
        ]
    );
}

#[tokio::test]
async fn openkruises_plan_is_kept_and_what_it_left_out_is_added() {
    let webhook = Webhook::with_marker();
    let plan = json(webhook.create(|_| {}).await.annotation("kruise.io/podprobe"));
    let text = serde_json::to_string_pretty(&plan).expect("json");
    let reply = webhook
        .create(|pod| {
            pod.put("kruise.io/podprobe", text.as_str());
            pod.put("kruise.io/podprobemarker-list", "health");
        })
        .await;
    assert_eq!(reply.annotation("kruise.io/podprobe"), text);
    assert_eq!(reply.annotation("kruise.io/podprobemarker-list"), "health");
    let alone = webhook.create(|_| {}).await;
    for key in ["probelet.io/marker-policies", "probelet.io/writes"] {
        assert_eq!(reply.annotation(key), alone.annotation(key), "{key}");
    }
    let second = webhook.create(|pod| *pod = reply.object.clone()).await;
    assert!(second.is_unchanged(), "{:?}", second.patch);
}

#[tokio::test]
async fn a_foreign_webhooks_broken_plan_stops_no_pod() {
    let reply = Webhook::with_marker()
        .create(|pod| {
            pod.put("kruise.io/podprobe", "{");
            pod.put("kruise.io/podprobemarker-list", "health");
        })
        .await;
    assert!(reply.is_unchanged());
    assert!(reply.outcome().starts_with("error: annotation kruise.io/podprobe"), "{}", reply.outcome());
    assert!(reply.warnings()[0].starts_with("probelet: not injected: annotation kruise.io/podprobe"));
}
