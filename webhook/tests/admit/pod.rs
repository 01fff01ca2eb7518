//! Creations of Pods through the router: what is written, word for word, and what is left alone.

use crate::harness::{Webhook, json};

#[tokio::test]
async fn a_pod_on_a_virtual_node_gets_plan_and_sidecar() {
    let reply = Webhook::with_marker().create(|_| {}).await;
    assert!(reply.allowed);
    assert_eq!(reply.outcome(), "injected");
    assert_eq!(reply.last(), "probelet");
    assert_eq!(reply.warnings(), Vec::<String>::new());
    insta::assert_json_snapshot!("http_probe", reply.patch);
    assert_eq!(
        json(reply.annotation("kruise.io/podprobe")),
        json(
            r#"[{"name": "healthy", "containerName": "game", "podConditionType": "game.example/healthy",
                 "probe": {"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 2}}]"#
        )
    );
}
