//! What the API server does not call us for: good practices G8 to G11 and G21, fault F15. Nobody listens where it would call,
//! and the registration says Fail, so each call is refused; and the API server counts its calls.

use crate::api::{Lab, create, pod};
use crate::markers::{api as markers, injected, marker};
use crate::replica::Replica;
use crate::settings::configure;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// What it is, in which namespace, and what makes a Pod for a virtual node into it.
type Row = (&'static str, &'static str, fn(&mut Value));

const ROWS: [Row; 9] = [
    ("kube-system, opted in", "kube-system", |_| ()),
    ("the namespace of node leases, opted in", "kube-node-lease", |_| ()),
    // It takes Pods of the restricted standard only.
    ("our own namespace, opted in", "probelet-system", |pod| {
        pod["spec"]["securityContext"] = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
        pod["spec"]["containers"][0]["securityContext"] =
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    }),
    ("a namespace that is not opted in", "plain", |pod| {
        pod["metadata"]["labels"]["probelet.io/inject"] = json!("enabled")
    }),
    ("a Pod that keeps itself out", "called", |pod| {
        pod["metadata"]["labels"]["probelet.io/inject"] = json!("disabled")
    }),
    ("the image of a static Pod", "called", |pod| {
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "checksum"});
        pod["spec"]["nodeName"] = json!("virtual");
    }),
    ("Windows by name", "called", |pod| pod["spec"]["os"] = json!({"name": "windows"})),
    ("Windows by selector", "called", |pod| pod["spec"]["nodeSelector"]["kubernetes.io/os"] = json!("windows")),
    ("injected already", "called", |pod| {
        pod["metadata"]["annotations"] = json!({"probelet.io/injected": "1", "probelet.io/writes": "",
            "kruise.io/podprobe": "[]", "kubectl.kubernetes.io/default-container": "main"});
        let sidecar = json!({"name": "probelet", "image": "example.com/probelet:1"});
        pod["spec"]["containers"].as_array_mut().expect("containers").push(sidecar);
    }),
];

#[tokio::test]
async fn the_api_server_makes_no_call_for_what_is_not_ours() {
    let lab = Lab::turn().await;
    let namespaces: Api<Namespace> = Api::all(lab.client.clone());
    let _ = namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({"metadata": {"name": "plain"}})).expect("namespace"),
        )
        .await;
    lab.opted_in("called").await;
    create(&markers(&lab, "called"), marker("up", "example.io/up")).await;
    let opted = json!({"probelet.io/inject": "enabled"});
    for system in ["kube-system", "kube-node-lease", "probelet-system"] {
        lab.label_namespace(system, opted.clone()).await;
    }
    let replica = Replica::ready(&lab, &[]).await;
    injected(&lab, "called", "p").await;
    drop(replica);
    let before = lab.server.calls().await;
    let refused =
        lab.pods("called").create(&PostParams::default(), &serde_json::from_value(pod("q")).expect("pod")).await;
    let refused = refused.expect_err("nobody answers").to_string();
    assert!(refused.contains("failed calling webhook \"pods.probelet.io\""), "{refused}");
    let called = lab.server.calls().await;
    assert_eq!(called, before + 1, "each call is counted");
    for (index, (what, namespace, change)) in ROWS.into_iter().enumerate() {
        let mut pod = pod(&format!("row-{index}"));
        change(&mut pod);
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let pod: Pod = serde_json::from_value(pod).expect("pod");
        let made = lab.pods(namespace).create(&dry, &pod).await;
        made.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    what_happens_to_a_running_pod(&lab).await;
    assert_eq!(lab.server.calls().await, called, "none was made since");
    for system in ["kube-system", "kube-node-lease", "probelet-system"] {
        lab.label_namespace(system, json!({"probelet.io/inject": null})).await;
    }
}

/// Labels, status, eviction: nothing of it waits for us.
async fn what_happens_to_a_running_pod(lab: &Lab) {
    let (pods, params) = (lab.pods("called"), PatchParams::default());
    let labels = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}});
    pods.patch("p", &params, &Patch::Merge(labels)).await.expect("labelled");
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    pods.patch_status("p", &params, &Patch::Strategic(status)).await.expect("status");
    pods.evict("p", &Default::default()).await.expect("evicted");
    let _ = pods.delete("p", &DeleteParams::default().grace_period(0)).await;
}

#[tokio::test]
async fn pods_that_an_older_version_injected_can_be_edited_by_everybody() {
    let lab = Lab::turn().await;
    let namespace = lab.opted_in("versions").await;
    configure(&lab, "image: example.com/probelet:old\nrevision: old\n").await;
    let old = Replica::ready(&lab, &[]).await;
    create(&markers(&lab, &namespace), marker("up", "example.io/up")).await;
    for number in 0..10 {
        injected(&lab, &namespace, &format!("p{number}")).await;
    }
    drop(old);
    configure(&lab, "image: example.com/probelet:new\nrevision: new\n").await;
    let _new = Replica::ready(&lab, &[]).await;
    for number in 0..10 {
        let name = format!("p{number}");
        let labels = Patch::Merge(json!({"metadata": {"labels": {"edited": "once"}}}));
        lab.pods(&namespace).patch(&name, &PatchParams::default(), &labels).await.expect("patched");
        // The whole object, as a controller writes it; somebody else may be faster.
        let after = loop {
            let mut whole = lab.pods(&namespace).get(&name).await.expect("pod");
            whole.metadata.labels.get_or_insert_default().insert("edited".to_owned(), "twice".to_owned());
            match lab.pods(&namespace).replace(&name, &PostParams::default(), &whole).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                other => break other.expect("written"),
            }
        };
        let images: Vec<_> = after.spec.expect("spec").containers.into_iter().filter_map(|found| found.image).collect();
        assert_eq!(images, ["example.com/game:1", "example.com/probelet:old"]);
    }
    configure(&lab, "").await;
}
