//! Exec probes need the right to create `pods/exec`, wherever they are written down.

use crate::identity::{account, token, with_token};
use crate::install::until;
use crate::request::{self, Change};
use crate::stage::Stage;
use anyhow::Result;
use kube::Client;
use probelet_protocol::limit::PROBES;
use serde_json::{Value, json};

const GROUP: &str = "/apis/apps.kruise.io/v1alpha1";

fn marker(name: &str, probe: &Value) -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1alpha1", "kind": "PodProbeMarker", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": "game"}},
            "probes": [{"name": "p", "containerName": "game", "probe": probe, "podConditionType": "game.io/p"}],
        },
    })
}

fn exec(command: &str) -> Value {
    json!({"exec": {"command": [command]}})
}

/// Two users: both edit markers and Pods, one of them may also open a shell.
async fn users(stage: &Stage) -> Result<(Client, Client)> {
    let edit = json!({"apiGroups": ["apps.kruise.io"], "resources": ["podprobemarkers"], "verbs": ["*"]});
    let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "patch", "update"]});
    let shell = json!({"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]});
    let home = &stage.namespace;
    account(&stage.admin, home, "editor", home, &json!([edit, pods])).await?;
    account(&stage.admin, home, "operator", home, &json!([edit, pods, shell])).await?;
    let client = async |name: &str| with_token(&stage.cluster, &token(&stage.admin, home, name, None).await?).await;
    Ok((client("editor").await?, client("operator").await?))
}

/// Waits until the API server acts by the policy.
async fn guarded(editor: &Client, path: &str) -> Result<()> {
    until("exec probes are guarded", async || {
        Ok(request::create(editor, &format!("{path}?dryRun=All"), &marker("e", &exec("id"))).await?.code == 403)
    })
    .await
}

#[tokio::test]
async fn an_exec_probe_needs_the_right_to_exec() -> Result<()> {
    let stage = Stage::new(false).await?;
    let (editor, operator) = users(&stage).await?;
    let path = format!("{GROUP}/namespaces/{}/podprobemarkers", stage.namespace);
    guarded(&editor, &path).await?;
    let refused = request::create(&editor, &path, &marker("e", &exec("id"))).await?;
    assert_eq!(refused.code, 403);
    assert!(refused.message().contains("create pods/exec in namespace"), "{}", refused.message());
    assert!(refused.message().contains("editor"), "{}", refused.message());
    let http = json!({"httpGet": {"port": 80}});
    assert_eq!(request::create(&editor, &path, &marker("h", &http)).await?.code, 201);
    assert_eq!(request::create(&operator, &path, &marker("e", &exec("id"))).await?.code, 201);

    let edit = async |client: &Client, name: &str, change: Value| {
        request::send(client, &format!("{path}/{name}"), &Change::Merge(change)).await
    };
    let probes = |probe: Value| json!({"spec": {"probes": marker("", &probe)["spec"]["probes"]}});
    let wider = json!({"spec": {"selector": {"matchLabels": {"app": null}}}});
    for (what, name, change, code) in [
        ("an http probe becomes exec", "h", probes(exec("id")), 403),
        ("another command", "e", probes(exec("sh")), 403),
        ("the selector of an exec probe", "e", wider, 403),
        ("a label beside an exec probe", "e", json!({"metadata": {"labels": {"a": "b"}}}), 200),
        ("the exec probe goes away", "e", probes(http.clone()), 200),
    ] {
        let answer = edit(&editor, name, change.clone()).await?;
        assert_eq!(answer.code, code, "{what}: {}", answer.message());
    }
    assert_eq!(edit(&operator, "h", probes(exec("id"))).await?.code, 200);
    stage.end().await
}

/// Probes by number, container and command.
fn probes(list: &[(usize, &str, &str)]) -> Value {
    let probe = |(index, container, command): &(usize, &str, &str)| {
        json!({
            "name": format!("p{index}"), "containerName": container, "probe": exec(command),
            "podConditionType": format!("game.io/p{index}"),
        })
    };
    list.iter().map(probe).collect()
}

#[tokio::test]
async fn only_a_command_that_is_new_to_its_container_needs_the_right() -> Result<()> {
    let stage = Stage::new(false).await?;
    let (editor, operator) = users(&stage).await?;
    let path = format!("{GROUP}/namespaces/{}/podprobemarkers", stage.namespace);
    let two = [(0, "game", "id"), (1, "proxy", "true")];
    let mut both = marker("m", &Value::Null);
    both["spec"]["probes"] = probes(&two);
    assert_eq!(request::create(&operator, &path, &both).await?.code, 201);
    let edit = async |list: &Value| {
        let change = Change::Merge(json!({"spec": {"probes": list}}));
        request::send(&editor, &format!("{path}/m"), &change).await
    };
    guarded(&editor, &path).await?;
    let tcp = json!({
        "name": "t", "containerName": "game", "probe": {"tcpSocket": {"port": 80}}, "podConditionType": "game.io/t",
    });
    let mut beside = probes(&two);
    beside.as_array_mut().expect("a list").push(tcp);
    for (what, list, code) in [
        ("another command", probes(&[(0, "game", "sh"), two[1]]), 403),
        ("a command moved to another container", probes(&[two[0], (1, "game", "true")]), 403),
        ("the commands exchanged", probes(&[(0, "game", "true"), (1, "proxy", "id")]), 403),
        ("a third one", probes(&[two[0], two[1], (2, "game", "sh")]), 403),
        ("one gone, another in its place", probes(&[(0, "game", "sh")]), 403),
        ("swapped", probes(&[two[1], two[0]]), 200),
        ("a probe of another kind beside them", beside, 200),
        ("the same command twice", probes(&[two[0], two[1], (2, "game", "id")]), 200),
        ("the first one gone", probes(&two[1..]), 200),
        ("and back, which is new again", probes(&two), 403),
    ] {
        let answer = edit(&list).await?;
        assert_eq!(answer.code, code, "{what}: {}", answer.message());
        assert!(code == 200 || answer.message().contains("create pods/exec"), "{what}: {}", answer.message());
    }
    stage.end().await
}

/// As many probes as a marker may have: beyond the cost limit the policy would refuse everybody.
#[tokio::test]
async fn the_longest_list_of_commands_can_still_be_compared() -> Result<()> {
    let stage = Stage::new(false).await?;
    let (editor, operator) = users(&stage).await?;
    let path = format!("{GROUP}/namespaces/{}/podprobemarkers", stage.namespace);
    let commands: Vec<_> = (0..PROBES).map(|index| format!("command-{index}-{}", "x".repeat(100))).collect();
    let mut list: Vec<_> =
        commands.iter().enumerate().map(|(index, command)| (index, "game", command.as_str())).collect();
    let mut full = marker("m", &Value::Null);
    full["spec"]["probes"] = probes(&list);
    assert_eq!(request::create(&operator, &path, &full).await?.code, 201);
    let edit = async |client: &Client, list: &[(usize, &str, &str)]| {
        let change = Change::Merge(json!({"spec": {"probes": probes(list)}}));
        request::send(client, &format!("{path}/m"), &change).await
    };
    guarded(&editor, &path).await?;
    list.reverse();
    let answer = edit(&editor, &list).await?;
    assert_eq!(answer.code, 200, "the other way round: {}", answer.message());
    list[PROBES - 1].2 = "sh";
    let refused = edit(&editor, &list).await?;
    assert!(refused.message().contains("create pods/exec"), "{}", refused.message());
    let answer = edit(&operator, &list).await?;
    assert_eq!(answer.code, 200, "who may exec: {}", answer.message());
    stage.end().await
}

#[tokio::test]
async fn the_plan_of_a_running_pod_is_no_way_around() -> Result<()> {
    let stage = Stage::new(false).await?;
    let (editor, operator) = users(&stage).await?;
    let plan = |command: &str| {
        let probe = exec(command);
        json!([{"name": "p", "containerName": "game", "probe": probe, "podConditionType": "game.io/p"}]).to_string()
    };
    let set = |key: &str, text: String| Change::Merge(json!({"metadata": {"annotations": {key: text}}}));
    let target =
        stage.pod_with(|pod| pod["metadata"]["annotations"]["kruise.io/podprobe"] = json!(plan("true"))).await?;
    let path = stage.path(&format!("pods/{}", target.name));
    let mut attempt = 0;
    until("plans are guarded", async || {
        attempt += 1;
        let change = set("kruise.io/podprobe", plan(&format!("id{attempt}")));
        Ok(request::send(&editor, &path, &change).await?.code == 403)
    })
    .await?;
    let escaped = plan("sh").replace("\"exec\"", "\"\\u0065xec\"");
    for (what, key, text, code) in [
        ("another command", "kruise.io/podprobe", plan("sh"), 403),
        ("another command, spelt with an escape", "kruise.io/podprobe", escaped, 403),
        ("an exec probe among the policies", "probelet.io/marker-policies", plan("sh"), 403),
        ("another annotation", "note", "edited".to_owned(), 200),
        ("no exec probe any more", "kruise.io/podprobe", "[]".to_owned(), 200),
    ] {
        let answer = request::send(&editor, &path, &set(key, text)).await?;
        assert_eq!(answer.code, code, "{what}: {}", answer.message());
    }
    let answer = request::send(&operator, &path, &set("kruise.io/podprobe", plan("sh"))).await?;
    assert_eq!(answer.code, 200, "who may exec may plan: {}", answer.message());
    let untouched = Change::Merge(json!({"metadata": {"labels": {"x.io/label": "1"}}}));
    assert_eq!(request::send(&editor, &path, &untouched).await?.code, 200, "labels of a Pod with an exec plan");
    stage.end().await
}
