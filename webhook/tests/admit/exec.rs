//! Exec probes: agent, volume, keys, chained hooks.

use crate::harness::{Reply, Webhook, json};
use probelet_protocol::agent::{AgentStart, Hook};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MARKER: &str = include_str!("../fixtures/exec-marker.json");
const EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

async fn create(change: impl FnOnce(&mut Value)) -> Reply {
    let webhook = Webhook::empty();
    webhook.mark("exec", MARKER);
    webhook.create(change).await
}

fn game(pod: &mut Value) -> &mut Value {
    &mut pod["spec"]["containers"][0]
}

fn started(container: &Value) -> AgentStart {
    let command = container["lifecycle"]["postStart"]["exec"]["command"].as_array().expect("command");
    let words: Vec<_> = command.iter().map(|word| word.as_str().expect("text").to_owned()).collect();
    assert_eq!(words[..2], ["/.probelet/probelet-agent", "start"]);
    AgentStart::parse(words.into_iter().skip(2)).expect("arguments")
}

fn keys(reply: &Reply) -> BTreeMap<String, String> {
    let env = reply.container("containers", "probelet")["env"].as_array().expect("env").clone();
    let keys = env.iter().find(|entry| entry["name"] == "PROBELET_AGENT_KEYS").expect("keys");
    serde_json::from_str(keys["value"].as_str().expect("text")).expect("json")
}

#[tokio::test]
async fn targets_get_the_agent_and_the_sidecar_its_keys() {
    let reply = create(|_| {}).await;
    let game = reply.container("containers", "game");
    let start = started(game);
    assert_eq!((start.container.as_str(), start.dir.as_str(), &start.hook), ("game", "/.probelet", &None));
    assert_eq!(start.key.len(), 32);
    assert_eq!(keys(&reply), BTreeMap::from([("game".to_owned(), start.key)]));
    assert_eq!(game["volumeMounts"][1], json!({"name": "probelet-agent", "mountPath": "/.probelet", "readOnly": true}));
    assert_eq!(reply.container("containers", "metrics")["volumeMounts"], Value::Null);
    assert_eq!(
        reply.container("containers", "probelet")["volumeMounts"][1],
        json!({"name": "probelet-agent", "mountPath": "/.probelet"})
    );
    let agent = &reply.object["spec"]["initContainers"][1];
    assert_eq!(agent["name"], "probelet-agent");
    assert_eq!(agent["command"], json!(["/probelet-agent", "install", "/.probelet"]));
    assert_eq!(agent["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        reply.object["spec"]["volumes"][1],
        json!({"name": "probelet-agent", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}})
    );
    assert_eq!(reply.annotation(EVICT), "probelet-agent");
}

#[tokio::test]
async fn a_second_pass_keeps_the_keys() {
    let first = create(|_| {}).await;
    let second = create(|pod| *pod = first.object.clone()).await;
    assert!(second.is_unchanged(), "{:?}", second.patch);
}

#[tokio::test]
async fn every_pod_has_keys_of_its_own() {
    assert_ne!(keys(&create(|_| {}).await), keys(&create(|_| {}).await));
}

#[tokio::test]
async fn an_own_hook_is_chained() {
    for (own, hook) in [
        (
            json!({"exec": {"command": ["sh", "-c", "echo $(X)"]}}),
            Hook::Exec(["sh", "-c", "echo $(X)"].map(Into::into).into()),
        ),
        (
            json!({"httpGet": {"path": "/up?x=1", "port": "http", "httpHeaders": [{"name": "A", "value": "b"}]}}),
            Hook::HttpGet { port: 8080, path: "/up?x=1".into(), host: None, headers: vec![("A".into(), "b".into())] },
        ),
        (
            json!({"httpGet": {"port": 80, "host": "10.0.0.1", "scheme": "HTTP"}}),
            Hook::HttpGet { port: 80, path: String::new(), host: Some("10.0.0.1".into()), headers: vec![] },
        ),
        (json!({"sleep": {"seconds": 3}}), Hook::Sleep(3)),
        (json!({"tcpSocket": {"port": 80}}), Hook::TcpSocket),
    ] {
        let reply =
            create(|pod| game(pod)["lifecycle"] = json!({"postStart": own, "preStop": {"sleep": {"seconds": 1}}}))
                .await;
        let container = reply.container("containers", "game");
        assert_eq!(started(container).hook, Some(hook));
        assert_eq!(container["lifecycle"]["preStop"], json!({"sleep": {"seconds": 1}}));
        let again = create(|pod| *pod = reply.object.clone()).await;
        assert!(again.is_unchanged(), "{:?}", again.patch);
    }
}

#[tokio::test]
async fn a_hook_that_cannot_be_chained_is_left_alone_and_told() {
    for own in [
        json!({"httpGet": {"port": 80, "scheme": "HTTPS"}}),
        json!({"httpGet": {"port": "nowhere"}}),
        json!({"hookOfTomorrow": {}}),
    ] {
        let reply = create(|pod| game(pod)["lifecycle"] = json!({"postStart": own})).await;
        assert_eq!(reply.outcome(), "injected");
        assert_eq!(reply.container("containers", "game")["lifecycle"]["postStart"], own);
        assert_eq!(
            reply.warnings(),
            ["probelet: container game: exec probes cannot run, its postStart cannot be chained"]
        );
    }
}

/// Threat T6: they can read each other's key. Such a Pod is injected all the same, as its owner can know that its containers trust each
/// other.
#[tokio::test]
async fn containers_that_see_each_others_processes_are_warned_of() {
    for field in ["shareProcessNamespace", "hostPID"] {
        let reply = create(|pod| pod["spec"][field] = true.into()).await;
        assert_eq!(reply.outcome(), "injected");
        let warning =
            format!("probelet: spec.{field}: containers see each other's agent key, and could forge exec results");
        assert_eq!(reply.warnings(), [warning]);
        let again = create(|pod| *pod = reply.object.clone()).await;
        assert!(again.is_unchanged() && again.warnings().is_empty(), "{again:?}");
        let off = create(|pod| pod["spec"][field] = false.into()).await;
        assert_eq!(off.warnings(), [""; 0]);
    }
    // Without exec probes there is no key.
    let plain = Webhook::with_marker().create(|pod| pod["spec"]["shareProcessNamespace"] = true.into()).await;
    assert_eq!((plain.outcome(), plain.warnings().len()), ("injected", 0));
}

#[tokio::test]
async fn a_native_sidecar_as_target_starts_after_the_agent_is_there() {
    let marker = MARKER.replace(r#""containerName": "game""#, r#""containerName": "log""#);
    let webhook = Webhook::empty();
    webhook.mark("exec", &marker);
    let reply = webhook
        .create(|pod| {
            let list = pod["spec"]["initContainers"].as_array_mut().expect("list");
            list.push(json!({"name": "log", "image": "log:1", "restartPolicy": "Always"}));
            list.push(json!({"name": "late", "image": "late:1"}));
        })
        .await;
    let names: Vec<_> =
        reply.object["spec"]["initContainers"].as_array().expect("list").iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["unpack", "probelet-agent", "log", "late"]);
    assert_eq!(started(reply.container("initContainers", "log")).container, "log");
    assert!(reply.patch.as_array().expect("list").iter().all(|operation| operation["op"] == "add"), "{}", reply.patch);
}

/// Another webhook put one in front after our first call: it could not start before the agent is there.
#[tokio::test]
async fn an_agent_that_is_there_already_goes_before_a_later_native_sidecar() {
    let webhook = Webhook::empty();
    webhook.mark("exec", MARKER);
    let log = MARKER.replace(r#""containerName": "game""#, r#""containerName": "log""#);
    webhook.mark("log", &log.replace("game.example/players", "game.example/logs"));
    let first = webhook.create(|_| {}).await;
    let names = |reply: &Reply| -> Vec<_> {
        let list = reply.object["spec"]["initContainers"].as_array().expect("list");
        list.iter().map(|container| container["name"].as_str().expect("name").to_owned()).collect()
    };
    assert_eq!(names(&first), ["unpack", "probelet-agent"]);
    let log = json!({"name": "log", "image": "log:1", "restartPolicy": "Always"});
    let second = webhook
        .create(|pod| {
            *pod = first.object.clone();
            pod["spec"]["initContainers"].as_array_mut().expect("list").insert(0, log);
        })
        .await;
    assert_eq!(names(&second), ["probelet-agent", "log", "unpack"]);
    assert_eq!(started(second.container("initContainers", "log")).container, "log");
    let agent = |reply: &Reply| reply.container("initContainers", "probelet-agent").clone();
    assert_eq!(agent(&second), agent(&first));
    let third = webhook.create(|pod| *pod = second.object.clone()).await;
    assert!(third.is_unchanged(), "{}", third.patch);
}

#[tokio::test]
async fn the_autoscalers_annotation_keeps_what_it_had() {
    let reply = create(|pod| pod["metadata"]["annotations"][EVICT] = "data".into()).await;
    assert_eq!(reply.annotation(EVICT), "data,probelet-agent");
}

#[tokio::test]
async fn an_exec_probe_that_came_with_a_later_container_is_equipped() {
    let mut webhook = Webhook::with_marker();
    webhook.config.shield = true;
    let first = webhook.create(|_| {}).await;
    webhook.mark("exec", &MARKER.replace(r#""containerName": "game""#, r#""containerName": "late""#));
    let late = json!({"name": "late", "image": "late:1"});
    let second = webhook
        .create(|pod| {
            *pod = first.object.clone();
            pod["spec"]["containers"].as_array_mut().expect("list").push(late);
        })
        .await;
    let start = started(second.container("containers", "late"));
    assert_eq!(keys(&second), BTreeMap::from([("late".to_owned(), start.key)]));
    assert_eq!(second.container("containers", "probelet")["volumeMounts"][1]["name"], "probelet-agent");
    assert_eq!(json(second.annotation("kruise.io/podprobe")).as_array().expect("list").len(), 2);
    // As if both containers had been there at once.
    let whole = webhook
        .create(|pod| pod["spec"]["containers"].as_array_mut().expect("list").push(json!({"name": "late"})))
        .await;
    let names = |reply: &Reply| {
        let env = reply.container("containers", "probelet")["env"].as_array().expect("env").clone();
        env.into_iter().map(|entry| entry["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&second), names(&whole));
}
