//! What reaches Pods, RoleBindings, markers and Events after admission.

use crate::api::{Lab, create, eventually, pod, within};
use crate::replica::Replica;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) fn api(lab: &Lab, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apps.kruise.io", "v1alpha1", "PodProbeMarker");
    let resource = ApiResource::from_gvk_with_plural(&kind, "podprobemarkers");
    Api::namespaced_with(lab.client.clone(), namespace, &resource)
}

pub(crate) fn marker(name: &str, label: &str) -> Value {
    json!({"apiVersion": "apps.kruise.io/v1alpha1", "kind": "PodProbeMarker", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "game"}}, "probes": [{"name": name, "containerName": "main",
            "probe": {"tcpSocket": {"port": 80}}, "podConditionType": format!("example.io/{name}"),
            "markerPolicy": [{"state": "Succeeded", "labels": {label: "yes"}}]}]}})
}

/// A Pod that the webhook has injected: its caches may be a moment behind the marker.
pub(crate) async fn injected(lab: &Lab, namespace: &str, name: &str) -> Pod {
    eventually("injected", async || {
        let made = create(&lab.pods(namespace), pod(name)).await;
        if made.spec.as_ref().is_some_and(|spec| spec.containers.len() == 2) {
            return Some(made);
        }
        lab.remove_pod(namespace, name).await;
        None
    })
    .await
}

async fn annotation(lab: &Lab, namespace: &str, key: &str) -> String {
    let found = lab.pods(namespace).get("p").await.expect("pod");
    found.annotations().get(key).cloned().unwrap_or_default()
}

#[tokio::test]
async fn an_edit_and_a_deletion_of_a_marker_reach_a_running_pod() {
    let lab = Lab::turn().await;
    let _replica = Replica::ready(&lab, &[]).await;
    let namespace = lab.opted_in("edits").await;
    let markers = api(&lab, &namespace);
    create(&markers, marker("up", "example.io/old")).await;
    injected(&lab, &namespace, "p").await;
    let marked = json!({"metadata": {"labels": {"example.io/old": "yes"}}});
    let params = PatchParams::default();
    lab.pods(&namespace).patch("p", &params, &Patch::Merge(marked)).await.expect("marked");
    let edit = marker("up", "example.io/new")["spec"].clone();
    markers.patch("up", &params, &Patch::Merge(json!({"spec": edit}))).await.expect("edited");
    let writes = "probelet.io/writes";
    eventually("the new key is writable, the old one still", async || {
        let text = annotation(&lab, &namespace, writes).await;
        (text == "c:example.io/up,l:example.io/new,l:example.io/old").then_some(())
    })
    .await;
    assert!(annotation(&lab, &namespace, "probelet.io/marker-policies").await.contains("example.io/new"));
    let unmarked = json!({"metadata": {"labels": {"example.io/old": null}}});
    lab.pods(&namespace).patch("p", &params, &Patch::Merge(unmarked)).await.expect("unmarked");
    eventually("the old key is retired", async || {
        (annotation(&lab, &namespace, writes).await == "c:example.io/up,l:example.io/new").then_some(())
    })
    .await;
    create(&markers, marker("idle", "example.io/idle")).await;
    eventually("a second marker comes", async || {
        (annotation(&lab, &namespace, "kruise.io/podprobemarker-list").await == "idle,up").then_some(())
    })
    .await;
    for name in ["up", "idle"] {
        markers.delete(name, &DeleteParams::default()).await.expect("deleted");
    }
    eventually("nothing is left of them", async || {
        let found = lab.pods(&namespace).get("p").await.expect("pod");
        let left = ["kruise.io/podprobe", "kruise.io/podprobemarker-list", "probelet.io/marker-policies", writes];
        left.iter().all(|key| !found.annotations().contains_key(*key)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_marker_that_was_changed_while_nobody_looked_leaves_the_pods_that_it_had_selected() {
    let lab = Lab::turn().await;
    let replica = Replica::ready(&lab, &[]).await;
    let namespace = lab.opted_in("deselected").await;
    let markers = api(&lab, &namespace);
    create(&markers, marker("up", "example.io/up")).await;
    injected(&lab, &namespace, "p").await;
    let mut named = pod("named");
    named["metadata"]["annotations"] = json!({"kruise.io/podprobemarker-list": "up"});
    create(&lab.pods(&namespace), named).await;
    drop(replica);
    lab.leases().delete("probelet-webhook", &DeleteParams::default()).await.expect("nobody leads");
    let elsewhere = json!({"spec": {"selector": {"matchLabels": {"app": "shop"}}}});
    markers.patch("up", &PatchParams::default(), &Patch::Merge(elsewhere)).await.expect("nobody refuses it");
    let _next = Replica::ready(&lab, &[]).await;
    eventually("nothing is left of it on the Pod that it had selected", async || {
        let left = ["kruise.io/podprobe", "kruise.io/podprobemarker-list", "probelet.io/marker-policies"];
        let found = lab.pods(&namespace).get("p").await.expect("pod");
        left.iter().all(|key| !found.annotations().contains_key(*key)).then_some(())
    })
    .await;
    let edit = json!({"spec": {"probes": marker("up", "example.io/other")["spec"]["probes"]}});
    markers.patch("up", &PatchParams::default(), &Patch::Merge(edit)).await.expect("edited");
    eventually("the Pod whose owner named it follows it on", async || {
        let found = lab.pods(&namespace).get("named").await.expect("pod");
        let has = |key: &str, text: &str| found.annotations().get(key).is_some_and(|found| found.contains(text));
        (has("probelet.io/marker-policies", "example.io/other") && has("kruise.io/podprobe", "\"up\"")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_markers_status_tells_what_was_seen_and_how_many_pods_it_has() {
    let lab = Lab::turn().await;
    let _replica = Replica::ready(&lab, &[]).await;
    let namespace = lab.opted_in("statuses").await;
    let markers = api(&lab, &namespace);
    create(&markers, marker("up", "example.io/up")).await;
    injected(&lab, &namespace, "p").await;
    let status = async |generation: i64, matched: i64| {
        eventually("status", async || {
            let found = markers.get("up").await.expect("marker");
            let status = &found.data["status"];
            let matched_pods = status["matchedPods"].as_i64().unwrap_or_default();
            (status["observedGeneration"] == generation && matched_pods == matched).then_some(())
        })
        .await;
    };
    status(1, 1).await;
    injected(&lab, &namespace, "q").await;
    status(1, 2).await;
    let edit = marker("up", "example.io/other")["spec"].clone();
    markers.patch("up", &PatchParams::default(), &Patch::Merge(json!({"spec": edit}))).await.expect("edited");
    status(2, 2).await;
    lab.remove_pod(&namespace, "q").await;
    status(2, 1).await;
}

#[tokio::test]
async fn a_namespace_has_its_rolebinding_from_opting_in_until_the_last_injected_pod_has_gone() {
    let lab = Lab::turn().await;
    let _replica = Replica::ready(&lab, &[]).await;
    let namespace = lab.opted_in("bound").await;
    let bindings: Api<RoleBinding> = Api::namespaced(lab.client.clone(), &namespace);
    let there = async || bindings.get_opt("probelet-sidecar").await.expect("answer");
    let made = eventually("made", there).await;
    assert_eq!(made.role_ref.name, "probelet-sidecar");
    assert_eq!(made.subjects.expect("subjects")[0].name, "system:serviceaccounts:bound");
    // Each time as soon as it is there, when its maker may not know yet that it has made it.
    for _ in 0..20 {
        bindings.delete("probelet-sidecar", &DeleteParams::default()).await.expect("deleted");
        eventually("made again", there).await;
    }
    create(&api(&lab, &namespace), marker("up", "example.io/up")).await;
    injected(&lab, &namespace, "p").await;
    lab.label_namespace(&namespace, json!({"probelet.io/inject": null})).await;
    // The namespace below opts out after this one, so this one could have lost its RoleBinding by then.
    let other = lab.opted_in("bound-after").await;
    let others: Api<RoleBinding> = Api::namespaced(lab.client.clone(), &other);
    let beside = async || others.get_opt("probelet-sidecar").await.expect("answer");
    eventually("the next one is made", beside).await;
    lab.label_namespace(&other, json!({"probelet.io/inject": null})).await;
    eventually("the next one is removed", async || beside().await.is_none().then_some(())).await;
    assert!(there().await.is_some(), "a Pod still marks");
    lab.remove_pod(&namespace, "p").await;
    eventually("removed", async || there().await.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_rolebinding_that_is_not_ours_is_never_touched() {
    let lab = Lab::turn().await;
    let replica = Replica::ready(&lab, &[]).await;
    let bindings: Api<RoleBinding> = Api::namespaced(lab.client.clone(), "default");
    let foreign = json!({"metadata": {"name": "probelet-sidecar"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole", "name": "view"}});
    let before = create(&bindings, foreign).await;
    lab.label_namespace("default", json!({"probelet.io/inject": "enabled"})).await;
    eventually("it is told", async || replica.log().contains("a RoleBinding that is not ours").then_some(())).await;
    lab.label_namespace("default", json!({"probelet.io/inject": null})).await;
    let other = lab.opted_in("foreign-after").await;
    let others: Api<RoleBinding> = Api::namespaced(lab.client.clone(), &other);
    eventually("the next one is made", async || others.get_opt("probelet-sidecar").await.expect("answer")).await;
    let after = bindings.get("probelet-sidecar").await.expect("still there");
    assert_eq!(before.metadata.resource_version, after.metadata.resource_version);
    bindings.delete("probelet-sidecar", &DeleteParams::default()).await.expect("deleted");
}

#[tokio::test]
async fn a_pod_that_should_have_been_injected_gets_one_event() {
    let lab = Lab::turn().await;
    let namespace = lab.opted_in("missed").await;
    let replica = Replica::ready(&lab, &[]).await;
    create(&api(&lab, &namespace), marker("up", "example.io/up")).await;
    // The way in is closed, as if the webhook were away; the rest of it runs on.
    let mut kept_out = pod("p");
    kept_out["metadata"]["labels"]["probelet.io/inject"] = json!("disabled");
    create(&lab.pods(&namespace), kept_out).await;
    let events: Api<Event> = Api::namespaced(lab.client.clone(), &namespace);
    let opened = json!({"metadata": {"labels": {"probelet.io/inject": null}}});
    lab.pods(&namespace).patch("p", &PatchParams::default(), &Patch::Merge(opened)).await.expect("labelled");
    let found = within(Duration::from_secs(30), "told", async || {
        let list = events.list(&ListParams::default()).await.expect("events").items;
        list.into_iter().find(|event| event.reason.as_deref() == Some("InjectionMissed"))
    })
    .await;
    assert_eq!(found.involved_object.name.as_deref(), Some("p"));
    assert_eq!(found.type_.as_deref(), Some("Warning"));
    drop(replica);
    lab.leases().delete("probelet-webhook", &DeleteParams::default()).await.expect("nobody leads");
    let next = Replica::ready(&lab, &[]).await;
    eventually("the next leader has looked", async || {
        next.metric("probelet_queue_work_seconds_count{queue=\"pods\",result=\"done\"}").filter(|count| *count > 0.0)
    })
    .await;
    let list = events.list(&ListParams::default()).await.expect("events").items;
    assert_eq!(list.iter().filter(|event| event.reason.as_deref() == Some("InjectionMissed")).count(), 1);
}

/// Another replica leads, for an hour: this one admits and does nothing else.
async fn led_by_another(lab: &Lab) -> Api<Lease> {
    let leases = lab.leases();
    let now = serde_json::to_value(MicroTime(Timestamp::now())).expect("time");
    let spec = json!({"holderIdentity": "another", "leaseDurationSeconds": 3600, "acquireTime": now, "renewTime": now});
    create(&leases, json!({"metadata": {"name": "probelet-webhook"}, "spec": spec})).await;
    leases
}

#[tokio::test]
async fn admission_asks_the_api_server_for_nothing() {
    let lab = Lab::turn().await;
    let leases = led_by_another(&lab).await;
    let _replica = Replica::ready(&lab, &[]).await;
    let namespace = lab.opted_in("quiet").await;
    create(&api(&lab, &namespace), marker("up", "example.io/up")).await;
    injected(&lab, &namespace, "p").await;
    let before = lab.server.asked();
    let probe: Pod = serde_json::from_value(pod("dry")).expect("pod");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for _ in 0..1_000 {
        let seen = lab.pods(&namespace).create(&dry, &probe).await.expect("admitted");
        assert_eq!(seen.spec.expect("spec").containers.len(), 2);
    }
    // Watches are opened anew and the Lease is looked at from time to time, whether anybody asks us or not.
    let asked: Vec<_> = lab.server.asked().split_off(before.len());
    let is_routine = |line: &str| line.starts_with("watch ") || line.starts_with("list ") || line.ends_with(" leases");
    let more: Vec<_> = asked.iter().filter(|line| !is_routine(line)).collect();
    leases.delete("probelet-webhook", &DeleteParams::default()).await.expect("lease");
    assert!(more.is_empty(), "{more:?}");
    let events: Api<Event> = Api::namespaced(lab.client.clone(), &namespace);
    assert!(events.list(&ListParams::default()).await.expect("events").items.is_empty(), "a dry run tells nobody");
}
