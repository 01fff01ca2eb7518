//! Exec probes need the right to create `pods/exec`, wherever they are written down.

use crate::identity::{account, token, with_token};
use crate::install::until;
use crate::request::{self, Change};
use crate::stage::Stage;
use anyhow::Result;
use kube::Client;
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

#[tokio::test]
async fn an_exec_probe_needs_the_right_to_exec() -> Result<()> {
    let stage = Stage::new(false).await?;
    let (editor, operator) = users(&stage).await?;
    let path = format!("{GROUP}/namespaces/{}/podprobemarkers", stage.namespace);
    until("exec probes are guarded", async || {
        Ok(request::create(&editor, &format!("{path}?dryRun=All"), &marker("e", &exec("id"))).await?.code == 403)
    })
    .await?;
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
