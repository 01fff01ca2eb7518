use super::*;
use crate::config::Config;
use crate::health::Health;
use crate::node::NodeKind;
use http::{Request, Response};
use kube::client::Body;
use serde_json::json;
use std::convert::Infallible;

/// An API server that lists these nodes, all of type `edge`, and has no news.
fn api(names: watch::Receiver<Vec<&'static str>>) -> Client {
    let answer = move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let names = names.borrow().clone();
        async move {
            if query.contains("watch=") {
                std::future::pending::<()>().await;
            }
            let node = |name: &&str| json!({"metadata": {"name": name, "labels": {"type": "edge"}}});
            let items: Vec<_> = names.iter().map(node).collect();
            let list =
                json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items});
            Ok::<_, Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
        }
    };
    Client::new(tower::service_fn(answer), "default")
}

#[tokio::test(start_paused = true)]
async fn with_new_rules_nodes_are_counted_as_before_and_the_deleted_ones_go() {
    let (names_out, names) = watch::channel(vec!["a", "b", "c"]);
    let live =
        Live { config: Config::default(), workers: "3".parse().expect("workers"), log_level: tracing::Level::INFO };
    let (live_out, live) = watch::channel(live);
    let store = Store::new(api(names), Arc::default(), Arc::new(Metrics::new()), Health::default().gate("caches"));
    let watching = tokio::spawn(store.clone().follow_nodes(live));
    let settle = || tokio::time::sleep(Duration::from_millis(100));
    settle().await;
    assert_eq!((store.nodes(), store.cluster().node_kind("a")), (3, Some(NodeKind::Ordinary)));

    names_out.send_replace(vec!["a", "b", "d"]);
    let profile = serde_json::from_value(json!({"labels": {"type": "edge"}})).expect("profile");
    live_out.send_modify(|live| live.config.virtual_nodes.nodes.push(profile));
    settle().await;
    let kinds = ["a", "b", "c", "d"].map(|name| store.cluster().node_kind(name));
    let known = Some(NodeKind::Virtual);
    assert_eq!((store.nodes(), kinds), (3, [known, known, None, known]));
    watching.abort();
}
