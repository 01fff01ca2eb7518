//! The match conditions of the webhook, asked of the API server: a hook that nobody answers and that must be answered
//! shows which Pods would have been sent. A condition that cannot be evaluated would show as well.

use crate::install::{rendered, until};
use crate::request;
use crate::stage::Stage;
use anyhow::{Context, Result};
use serde_json::{Value, json};

const PATH: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// The chart's hook for Pods, narrowed to one namespace and pointed at a port where nobody listens.
async fn dead_hook(stage: &Stage) -> Result<String> {
    let mut found = None;
    for document in rendered("probelet.yaml")? {
        if document.is("MutatingWebhookConfiguration") {
            found = Some(document.as_json(&stage.admin).await?);
        }
    }
    let chart = found.context("the rendered file has no MutatingWebhookConfiguration")?;
    let mut hook = chart["webhooks"][0].clone();
    hook["clientConfig"] = json!({"url": "https://127.0.0.1:9/mutate-pods"});
    hook["failurePolicy"] = json!("Fail");
    hook["timeoutSeconds"] = json!(1);
    hook["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}});
    let name = format!("test-{}", stage.namespace);
    let body = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name}, "webhooks": [hook],
    });
    crate::identity::made(request::create(&stage.admin, PATH, &body).await?)?;
    Ok(format!("{PATH}/{name}"))
}

fn pod(edit: fn(&mut Value)) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "hook-"},
        "spec": {"schedulerName": "nobody", "serviceAccountName": "game", "containers": [{"name": "game", "image": "game"}]},
    });
    edit(&mut pod);
    pod
}

fn injected(pod: &mut Value) {
    pod["metadata"]["annotations"] = json!({
        "probelet.io/injected": "1", "probelet.io/writes": "", "kruise.io/podprobe": "[]",
        "kubectl.kubernetes.io/default-container": "game",
    });
    pod["spec"]["containers"] = json!([{"name": "game", "image": "game"}, {"name": "probelet", "image": "p"}]);
}

fn containers(pod: &mut Value) -> &mut Vec<Value> {
    pod["spec"]["containers"].as_array_mut().expect("a list of containers")
}

/// What it is, whether the hook is called for it, what makes a plain Pod into it.
type Row = (&'static str, bool, fn(&mut Value));

#[tokio::test]
async fn the_hook_is_called_for_the_right_pods_and_its_conditions_never_err() -> Result<()> {
    let stage = Stage::new(false).await?;
    let hook = dead_hook(&stage).await?;
    let pods = format!("{}?dryRun=All", stage.path("pods"));
    until("the hook is called", async || Ok(request::create(&stage.admin, &pods, &pod(|_| ())).await?.code != 201))
        .await?;
    let rows: [Row; 17] = [
        ("a Pod without labels and annotations", true, |_| ()),
        ("taken in by label", true, |pod| pod["metadata"]["labels"] = json!({"probelet.io/inject": "enabled"})),
        ("kept out by label", false, |pod| pod["metadata"]["labels"] = json!({"probelet.io/inject": "disabled"})),
        ("other labels and annotations", true, |pod| {
            pod["metadata"]["labels"] = json!({"a": ""});
            pod["metadata"]["annotations"] = json!({"a": ""});
        }),
        ("an annotation that only looks injected", true, |pod| {
            pod["metadata"]["annotations"] = json!({"probelet.io/injected": "1"});
        }),
        ("Linux by name", true, |pod| pod["spec"]["os"] = json!({"name": "linux"})),
        ("Windows by name", false, |pod| pod["spec"]["os"] = json!({"name": "windows"})),
        ("Windows by node selector", false, |pod| pod["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "windows"})),
        ("a node selector without the system", true, |pod| pod["spec"]["nodeSelector"] = json!({"a": "b"})),
        ("already injected", false, injected),
        ("injected, then a container added behind", true, |pod| {
            injected(pod);
            containers(pod).push(json!({"name": "late", "image": "l"}));
        }),
        ("injected, then a container added in front", true, |pod| {
            injected(pod);
            containers(pod).insert(0, json!({"name": "early", "image": "e"}));
        }),
        ("injected, then a native sidecar added", true, |pod| {
            injected(pod);
            pod["spec"]["initContainers"] = json!([{"name": "late", "image": "l", "restartPolicy": "Always"}]);
        }),
        ("injected, then a native sidecar added behind other init containers", true, |pod| {
            injected(pod);
            pod["spec"]["initContainers"] = json!([
                {"name": "probelet-agent", "image": "p"}, {"name": "late", "image": "l", "restartPolicy": "Always"},
            ]);
        }),
        ("injected, with init containers that end", false, |pod| {
            injected(pod);
            pod["spec"]["initContainers"] =
                json!([{"name": "setup", "image": "s"}, {"name": "probelet-agent", "image": "p"}]);
        }),
        ("injected, with an empty list of init containers", false, |pod| {
            injected(pod);
            pod["spec"]["initContainers"] = json!([]);
        }),
        ("injected, then an annotation taken away", true, |pod| {
            injected(pod);
            pod["metadata"]["annotations"].as_object_mut().map(|map| map.remove("kruise.io/podprobe"));
        }),
    ];
    let mut wrong = Vec::new();
    for (what, called, edit) in rows {
        let answer = request::create(&stage.admin, &pods, &pod(edit)).await?;
        let holds = if called {
            answer.code == 500 && answer.message().contains("failed calling webhook")
        } else {
            answer.code == 201
        };
        if !holds {
            wrong.push(format!("{what}: {} {}", answer.code, answer.message()));
        }
    }
    request::delete(&stage.admin, &hook).await?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.end().await
}
