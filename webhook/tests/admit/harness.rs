//! Requests to the router without a socket, and what comes back.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine;
use http_body_util::BodyExt;
use probelet_webhook::cluster::Cluster;
use probelet_webhook::config::Config;
use probelet_webhook::metric::Metrics;
use probelet_webhook::route::{Admission, router};
use probelet_webhook::settings::file::Live;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tower::ServiceExt;

pub(crate) const REVIEW: &str = include_str!("../fixtures/review.json");
pub(crate) const MARKER: &str = include_str!("../fixtures/marker.json");

/// A webhook that knows a namespace `games` with what a test puts there.
pub(crate) struct Webhook {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) config: Config,
    pub(crate) metrics: Arc<Metrics>,
}

/// What came back, with the patch applied.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) allowed: bool,
    pub(crate) response: Value,
    pub(crate) patch: Value,
    pub(crate) object: Value,
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("json")
}

/// Appends to a list.
pub(crate) fn add(list: &mut Value, item: Value) {
    list.as_array_mut().expect("list").push(item);
}

/// The review of [`REVIEW`] with a changed Pod.
pub(crate) fn review(change: impl FnOnce(&mut Value)) -> Value {
    let mut review = json(REVIEW);
    change(&mut review["request"]["object"]);
    review
}

impl Webhook {
    /// With the marker of [`MARKER`], in an opted-in namespace.
    pub(crate) fn with_marker() -> Self {
        let webhook = Self::empty();
        webhook.mark("health", MARKER);
        webhook
    }

    /// Opted in, nothing in it.
    pub(crate) fn empty() -> Self {
        let cluster = Arc::new(Cluster::new());
        let labels = [("probelet.io/inject", "enabled"), ("kubernetes.io/metadata.name", "games")];
        cluster.set_namespace("games", labels.map(|(key, value)| (key.into(), value.into())).into());
        let config = Config { image: "registry.example/probelet:0".into(), ..Config::default() };
        Self { cluster, config, metrics: Arc::new(Metrics::new()) }
    }

    pub(crate) fn mark(&self, name: &str, spec: &str) {
        let spec = serde_json::from_str(spec).expect("marker");
        self.cluster.set_marker("games", name, 1, spec, &BTreeMap::new());
    }

    /// Status and body of a request as it is.
    pub(crate) async fn send(&self, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
        let live = Live { config: self.config.clone(), ..defaults() };
        let (_live, live) = watch::channel(live);
        let state = Admission { cluster: self.cluster.clone(), live, metrics: self.metrics.clone() };
        let request =
            Request::post(path).header("content-type", "application/json").body(body.into()).expect("request");
        let response = router(state).oneshot(request).await.expect("response");
        let status = response.status();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    /// A review, its answer, and the object after it.
    pub(crate) async fn review(&self, path: &str, review: &Value) -> Reply {
        let (status, body) = self.send(path, review.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let answer = json(&body);
        assert_eq!((&answer["apiVersion"], &answer["kind"]), (&review["apiVersion"], &review["kind"]));
        assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
        Reply::of(answer["response"].clone(), review["request"]["object"].clone())
    }

    /// The creation of a Pod.
    pub(crate) async fn create(&self, change: impl FnOnce(&mut Value)) -> Reply {
        self.review("/mutate-pods", &review(change)).await
    }
}

impl Reply {
    fn of(response: Value, mut object: Value) -> Self {
        let patch = response.get("patch").map_or(json!([]), |patch| {
            assert_eq!(response["patchType"], "JSONPatch");
            let bytes =
                base64::engine::general_purpose::STANDARD.decode(patch.as_str().expect("text")).expect("base64");
            serde_json::from_slice(&bytes).expect("patch")
        });
        let operations: json_patch::Patch = serde_json::from_value(patch.clone()).expect("patch");
        json_patch::patch(&mut object, &operations).expect("patch applies");
        let allowed = response["allowed"].as_bool().expect("allowed");
        let reply = Self { allowed, response, patch, object };
        for warning in reply.warnings() {
            assert!(warning.len() < 120, "{warning}");
        }
        assert!(reply.warnings().len() <= 3);
        reply
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let list = self.response["warnings"].as_array().into_iter().flatten();
        list.map(|warning| warning.as_str().expect("text").to_owned()).collect()
    }

    pub(crate) fn message(&self) -> &str {
        self.response["status"]["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn outcome(&self) -> &str {
        self.response["auditAnnotations"]["outcome"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_unchanged(&self) -> bool {
        self.allowed && self.patch == json!([])
    }

    pub(crate) fn annotation(&self, key: &str) -> &str {
        self.object["metadata"]["annotations"][key].as_str().unwrap_or_default()
    }

    pub(crate) fn container(&self, list: &str, name: &str) -> &Value {
        let mut found = self.object["spec"][list].as_array().into_iter().flatten();
        found.find(|container| container["name"] == name).unwrap_or(&Value::Null)
    }

    /// Name of the last container.
    pub(crate) fn last(&self) -> &str {
        let containers = self.object["spec"]["containers"].as_array().expect("containers");
        containers.last().expect("one")["name"].as_str().expect("name")
    }
}

fn defaults() -> Live {
    Live { config: Config::default(), workers: "3".parse().expect("workers"), log_level: tracing::Level::INFO }
}
