//! Bindings: the node's kind lands on the Pod.

use crate::harness::{Reply, Webhook, json};
use probelet_webhook::node::{NodeKind, NodeShape};
use serde_json::{Value, json};

const BINDING: &str = include_str!("../fixtures/binding.json");

async fn bind(webhook: &Webhook, node: &str, change: impl FnOnce(&mut Value)) -> Reply {
    let mut review = json(BINDING);
    review["request"]["object"]["target"]["name"] = node.into();
    change(&mut review["request"]);
    webhook.review("/mutate-bindings", &review).await
}

fn webhook() -> Webhook {
    let webhook = Webhook::with_marker();
    webhook.cluster.set_node("v", NodeKind::Virtual, NodeShape::default());
    webhook.cluster.set_node("o", NodeKind::Ordinary, NodeShape::default());
    webhook
}

#[tokio::test]
async fn a_known_nodes_kind_is_annotated() {
    for (node, kind) in [("v", "virtual"), ("o", "ordinary")] {
        let reply = bind(&webhook(), node, |_| {}).await;
        assert_eq!(reply.annotation("probelet.io/node-kind"), kind);
        let reply =
            bind(&webhook(), node, |request| request["object"]["metadata"]["annotations"] = json!({"a": "b"})).await;
        assert_eq!((reply.annotation("probelet.io/node-kind"), reply.annotation("a")), (kind, "b"));
    }
}

#[tokio::test]
async fn unknown_nodes_and_namespaces_without_markers_stay_as_they_are() {
    assert!(bind(&webhook(), "unknown", |_| {}).await.is_unchanged());
    assert!(bind(&webhook(), "v", |request| request["namespace"] = "other".into()).await.is_unchanged());
    assert!(bind(&webhook(), "v", |request| request["namespace"] = "kube-system".into()).await.is_unchanged());
    let bare = Webhook::empty();
    bare.cluster.set_node("v", NodeKind::Virtual, NodeShape::default());
    assert!(bind(&bare, "v", |_| {}).await.is_unchanged());
}
