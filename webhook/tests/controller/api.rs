//! etcd and kube-apiserver on free ports of loopback, with the chart's objects in them: two pairs for the whole program, as
//! the tests mostly wait. Each test has a pair to itself while it runs.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use probelet_tests::plane::{self, Plane};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Everything that the webhook asks for is written down, and nothing else.
const AUDIT: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "Metadata", "users": ["system:serviceaccount:probelet-system:probelet-webhook"]}, {"level": "None"}]}"#;

static SERVERS: [OnceCell<Server>; 2] = [const { OnceCell::const_new() }; 2];
static TURNS: [Mutex<()>; 2] = [const { Mutex::const_new(()) }; 2];

pub(crate) struct Server(Plane);

/// A turn with the API server. At its end nothing that the webhook has asked for may have been refused, whatever the test was about.
pub(crate) struct Lab {
    pub(crate) client: Client,
    pub(crate) server: &'static Server,
    /// Requests that were refused in the turns before.
    refused: usize,
    _turn: MutexGuard<'static, ()>,
}

pub(crate) fn free_port() -> u16 {
    plane::free_port().expect("port")
}

impl Server {
    async fn start() -> Self {
        let plane = Plane::start(Some(AUDIT)).await.expect("API server");
        plane.install().expect("the chart's objects");
        let client = plane.client().await.expect("client");
        for (verb, group, resource, name) in
            [("patch", "", "pods", ""), ("update", "coordination.k8s.io", "leases", "probelet-webhook")]
        {
            let right = json!({"verb": verb, "group": group, "resource": resource, "name": name, "namespace": "probelet-system"});
            eventually("the roles are in force", async || may(&client, right.clone()).await.then_some(())).await;
        }
        let node = json!({"metadata": {"name": "virtual", "labels": {"type": "virtual-kubelet"}}});
        create::<Node>(&Api::all(client), node).await;
        Self(plane)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port
    }

    /// The webhook's kubeconfig by that port: the API server's, or of somebody who passes everything on.
    pub(crate) fn kubeconfig_by(&self, port: u16) -> PathBuf {
        self.0.kubeconfig_by(plane::WEBHOOK, port).expect("kubeconfig")
    }

    /// What the webhook has asked for so far, as the audit log has it.
    pub(crate) fn audit(&self) -> Vec<Value> {
        self.0.audit()
    }

    /// The same, as `verb resource`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let part = |event: &Value, path| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let events = self.audit();
        events.iter().map(|event| format!("{} {}", part(event, "/verb"), part(event, "/objectRef/resource"))).collect()
    }

    /// The calls of our two mutating webhooks that the API server has made, or tried to make.
    pub(crate) async fn calls(&self) -> u64 {
        let request = http::Request::get("/metrics").body(Vec::new()).expect("request");
        let text = self.0.client().await.expect("client").request_text(request).await.expect("metrics");
        let lines = text.lines().filter(|line| {
            line.starts_with("apiserver_admission_webhook_request_total{") && line.contains("probelet.io\"")
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Requests of the webhook that were refused for want of a right, or by a policy.
    fn refused(&self) -> Vec<Value> {
        self.audit().into_iter().filter(|event| event["responseStatus"]["code"] == 403).collect()
    }

    /// Forgets everything in etcd that is not the present, so that no watch can go on from an earlier point.
    pub(crate) fn compact(&self) {
        let status = self.ask_etcd("/v3/maintenance/status", "{}");
        let revision = status["header"]["revision"].as_str().expect("revision").to_owned();
        let answer = self.ask_etcd("/v3/kv/compaction", &json!({"revision": revision, "physical": true}).to_string());
        assert!(answer["header"]["revision"].is_string(), "{answer}");
    }

    fn ask_etcd(&self, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.0.etcd)).expect("etcd");
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.0\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}").expect("request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answer");
        serde_json::from_str(text.split_once("\r\n\r\n").expect("body").1).expect("JSON")
    }

    /// Kills the API server and waits until it has come back.
    pub(crate) async fn restart(&self) {
        self.0.restart().await.expect("the API server comes back");
    }
}

impl Lab {
    /// Waits for its turn.
    pub(crate) async fn turn() -> Self {
        let (number, turn) = tokio::select! {
            turn = TURNS[0].lock() => (0, turn),
            turn = TURNS[1].lock() => (1, turn),
        };
        let server = SERVERS[number].get_or_init(Server::start).await;
        let lab = Self {
            client: server.0.client().await.expect("client"),
            server,
            refused: server.refused().len(),
            _turn: turn,
        };
        // The replicas of the test before were killed: nobody shall wait for the end of their term.
        let _ = lab.leases().delete("probelet-webhook", &DeleteParams::default()).await;
        lab
    }

    /// Where replicas elect their leader.
    pub(crate) fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), "probelet-system")
    }

    /// An empty namespace, opted in.
    pub(crate) async fn opted_in(&self, name: &str) -> String {
        let labels = json!({"probelet.io/inject": "enabled"});
        create::<Namespace>(&Api::all(self.client.clone()), json!({"metadata": {"name": name, "labels": labels}}))
            .await;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), name);
        create(&accounts, json!({"metadata": {"name": "default"}})).await;
        name.to_owned()
    }

    pub(crate) async fn label_namespace(&self, name: &str, labels: Value) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        api.patch(name, &PatchParams::default(), &patch).await.expect("labelled");
    }

    pub(crate) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) async fn remove_pod(&self, namespace: &str, name: &str) {
        self.pods(namespace).delete(name, &DeleteParams::default().grace_period(0)).await.expect("deleted");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let refused = self.server.refused().split_off(self.refused);
        assert!(refused.is_empty() || std::thread::panicking(), "the webhook was refused: {refused:#?}");
    }
}

/// Whether the webhook has a right.
async fn may(client: &Client, right: Value) -> bool {
    let user = "system:serviceaccount:probelet-system:probelet-webhook";
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {"user": user, "resourceAttributes": right}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let request = http::Request::post(path).header("content-type", "application/json");
    let answer: Value =
        client.request(request.body(review.to_string().into_bytes()).expect("request")).await.expect("review");
    answer["status"]["allowed"] == true
}

pub(crate) async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Clone + DeserializeOwned + std::fmt::Debug + serde::Serialize,
{
    let object: K = serde_json::from_value(object).expect("object");
    api.create(&PostParams::default(), &object).await.expect("created")
}

/// A Pod for the virtual node, with one container.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": "game"}},
        "spec": {"serviceAccountName": "default", "nodeSelector": {"type": "virtual-kubelet"},
            "containers": [{"name": "main", "image": "example.com/game:1", "ports": [{"containerPort": 80}]}]},
    })
}

/// Waits until an answer is there.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, async || look().await).await
}

/// Waits until an answer is there, but not longer than this.
pub(crate) async fn within<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Where a test may put its files.
pub(crate) fn folder(server: &Server) -> &Path {
    server.0.folder()
}
