//! What a virtual node is, and which Pods are bound for one, is configuration: rules of one's own replace the built-in ones,
//! while the webhook runs.

use crate::api::{Lab, create, eventually, pod};
use crate::markers::{api, marker};
use crate::replica::Replica;
use crate::settings::configure;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

const RULES: &str = r#"
virtualNodes:
  nodes:
    - name: edge
      labels: {example.com/kind: edge}
      taints: [{key: example.com/edge, effect: NoExecute}]
  pods:
    - {name: remote, runtimeClass: remote}
    - {name: burst, annotation: {key: example.com/burst, values: ["yes", always]}}
    - {name: both, label: {key: example.com/tier}, scheduler: edge-scheduler}
"#;

/// What it is, whether it is injected, and what makes a Pod that says nothing of nodes into it.
type Row = (&'static str, bool, fn(&mut Value));

const ROWS: [Row; 13] = [
    ("nothing said", false, |_| ()),
    ("its runtime class", true, |pod| pod["spec"]["runtimeClassName"] = json!("remote")),
    ("another runtime class", false, |pod| pod["spec"]["runtimeClassName"] = json!("near")),
    ("an annotation of a value", true, |pod| pod["metadata"]["annotations"] = json!({"example.com/burst": "always"})),
    ("of another value", false, |pod| pod["metadata"]["annotations"] = json!({"example.com/burst": "never"})),
    ("a label and a scheduler", true, |pod| {
        pod["metadata"]["labels"]["example.com/tier"] = json!("any");
        pod["spec"]["schedulerName"] = json!("edge-scheduler");
    }),
    ("the label alone", false, |pod| pod["metadata"]["labels"]["example.com/tier"] = json!("any")),
    ("the scheduler alone", false, |pod| pod["spec"]["schedulerName"] = json!("edge-scheduler")),
    ("the label of the nodes", true, |pod| pod["spec"]["nodeSelector"] = json!({"example.com/kind": "edge"})),
    ("another label of nodes", false, |pod| pod["spec"]["nodeSelector"] = json!({"example.com/kind": "core"})),
    ("their taint tolerated", true, |pod| {
        pod["spec"]["tolerations"] = json!([{"key": "example.com/edge", "operator": "Exists", "effect": "NoExecute"}]);
    }),
    ("the taint tolerated with another effect", false, |pod| {
        pod["spec"]["tolerations"] = json!([{"key": "example.com/edge", "operator": "Exists", "effect": "NoSchedule"}]);
    }),
    ("a kind that was built in", false, |pod| pod["spec"]["nodeSelector"] = json!({"type": "virtual-kubelet"})),
];

/// Whether such a Pod would be injected.
async fn injected(lab: &Lab, change: fn(&mut Value)) -> bool {
    let mut pod = pod("p");
    pod["spec"]["nodeSelector"] = json!({});
    change(&mut pod);
    let pod: Pod = serde_json::from_value(pod).expect("pod");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let made = lab.pods("rules").create(&dry, &pod).await.expect("admitted");
    made.spec.expect("spec").containers.len() == 2
}

#[tokio::test]
async fn own_rules_replace_the_built_in_ones_while_it_runs() {
    let lab = Lab::turn().await;
    configure(&lab, "").await;
    let classes: Api<RuntimeClass> = Api::all(lab.client.clone());
    for name in ["remote", "near"] {
        create(&classes, json!({"metadata": {"name": name}, "handler": name})).await;
    }
    let _replica = Replica::ready(&lab, &[]).await;
    lab.opted_in("rules").await;
    create(&api(&lab, "rules"), marker("up", "example.io/up")).await;
    let built_in: fn(&mut Value) = |pod| pod["spec"]["nodeSelector"] = json!({"type": "virtual-kubelet"});
    eventually("the built-in rules hold", async || injected(&lab, built_in).await.then_some(())).await;
    configure(&lab, RULES).await;
    eventually("the new rules are read", async || (!injected(&lab, built_in).await).then_some(())).await;
    for (what, expected, change) in ROWS {
        assert_eq!(injected(&lab, change).await, expected, "{what}");
    }
    configure(&lab, "").await;
    eventually("the built-in rules are back", async || injected(&lab, built_in).await.then_some(())).await;
    for name in ["remote", "near"] {
        classes.delete(name, &DeleteParams::default()).await.expect("deleted");
    }
}
