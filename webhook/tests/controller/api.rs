//! etcd and kube-apiserver on free ports of loopback, with the chart's objects in them: two pairs for the whole program, as
//! the tests mostly wait. Each test has a pair to itself while it runs.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use probelet_tests::{binary, work_tree};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Keeps both programs running, and ends them when its standard input closes, which happens however this process ends.
const KEEPER: &str = r#"
"$1" --data-dir "$3/etcd" --unsafe-no-fsync --listen-client-urls "http://127.0.0.1:$4" \
  --advertise-client-urls "http://127.0.0.1:$4" --listen-peer-urls "http://127.0.0.1:$5" \
  --initial-advertise-peer-urls "http://127.0.0.1:$5" --initial-cluster "default=http://127.0.0.1:$5" \
  >"$3/etcd.log" 2>&1 </dev/null &
ETCD=$!
serve() {
  "$2" --etcd-servers "http://127.0.0.1:$4" --cert-dir "$3/certs" --secure-port "$6" --bind-address 127.0.0.1 \
  --advertise-address 127.0.0.1 --service-account-key-file "$3/sa.pub" --service-account-signing-key-file "$3/sa.key" \
  --service-account-issuer https://kubernetes.default.svc --token-auth-file "$3/tokens.csv" \
  --authorization-mode RBAC --service-cluster-ip-range 10.97.0.0/16 --endpoint-reconciler-type none \
  --disable-admission-plugins ServiceAccount --audit-policy-file "$3/audit.yaml" --audit-log-path "$3/audit.log" >>"$3/api.log" 2>&1 </dev/null &
  echo $! >"$3/api.pid"
  wait $!
}
# A killed one is started again.
while :; do serve "$@"; done &
LOOP=$!
cat >/dev/null
kill "$LOOP" "$ETCD" "$(cat "$3/api.pid")"
rm -rf "$3"
"#;
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const TOKENS: &str = "admin-token,admin,admin,\"system:masters\"\n\
    hook-token,system:serviceaccount:probelet-system:probelet-webhook,hook,\"system:serviceaccounts,system:serviceaccounts:probelet-system\"\n";

/// Everything that the webhook asks for is written down, and nothing else.
const AUDIT: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "Metadata", "users": ["system:serviceaccount:probelet-system:probelet-webhook"]}, {"level": "None"}]}"#;

static SERVERS: [OnceCell<Server>; 2] = [const { OnceCell::const_new() }; 2];
static TURNS: [Mutex<()>; 2] = [const { Mutex::const_new(()) }; 2];

pub(crate) struct Server {
    folder: PathBuf,
    pub(crate) port: u16,
    etcd: u16,
    _keeper: Child,
}

/// A turn with the API server.
pub(crate) struct Lab {
    pub(crate) client: Client,
    pub(crate) server: &'static Server,
    _turn: MutexGuard<'static, ()>,
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    listener.local_addr().expect("address").port()
}

impl Server {
    async fn start(number: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("probelet-api-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("folder");
        let key = rcgen::KeyPair::generate().expect("key");
        fs::write(folder.join("sa.key"), key.serialize_pem()).expect("key");
        fs::write(folder.join("sa.pub"), key.public_key_pem()).expect("key");
        fs::write(folder.join("tokens.csv"), TOKENS).expect("tokens");
        fs::write(folder.join("audit.yaml"), AUDIT).expect("policy");
        let ports = [free_port(), free_port(), free_port()];
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([binary::program("etcd").expect("etcd"), binary::program("kube-apiserver").expect("kube-apiserver")])
            .arg(&folder)
            .args(ports.map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh");
        let server = Self { folder, port: ports[2], etcd: ports[0], _keeper: keeper };
        server.ready().await;
        server.install().await;
        server
    }

    /// The kubeconfig of one of the two users.
    pub(crate) fn kubeconfig(&self, token: &str) -> PathBuf {
        self.kubeconfig_by(token, self.port)
    }

    /// The same by another port, where somebody passes everything on.
    pub(crate) fn kubeconfig_by(&self, token: &str, port: u16) -> PathBuf {
        let path = self.folder.join(format!("{token}-{port}.kubeconfig"));
        if path.exists() {
            // A process that is just starting may be reading it.
            return path;
        }
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": self.folder.join("certs/apiserver.crt")}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        fs::write(&path, text.to_string()).expect("kubeconfig");
        path
    }

    /// What the webhook has asked for so far, as `verb resource`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("audit.log")).unwrap_or_default();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let part = |event: &Value, path| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        events.map(|event| format!("{} {}", part(&event, "/verb"), part(&event, "/objectRef/resource"))).collect()
    }

    /// The calls of our two mutating webhooks that the API server has made, or tried to make.
    pub(crate) async fn calls(&self) -> u64 {
        let request = http::Request::get("/metrics").body(Vec::new()).expect("request");
        let text = self.client().await.expect("client").request_text(request).await.expect("metrics");
        let lines = text.lines().filter(|line| {
            line.starts_with("apiserver_admission_webhook_request_total{") && line.contains("probelet.io\"")
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Forgets everything in etcd that is not the present, so that no watch can go on from an earlier point.
    pub(crate) fn compact(&self) {
        let status = self.ask_etcd("/v3/maintenance/status", "{}");
        let revision = status["header"]["revision"].as_str().expect("revision").to_owned();
        let answer = self.ask_etcd("/v3/kv/compaction", &json!({"revision": revision, "physical": true}).to_string());
        assert!(answer["header"]["revision"].is_string(), "{answer}");
    }

    fn ask_etcd(&self, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.etcd)).expect("etcd");
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.0\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}").expect("request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answer");
        serde_json::from_str(text.split_once("\r\n\r\n").expect("body").1).expect("JSON")
    }

    /// Kills the API server and waits until it has come back.
    pub(crate) async fn restart(&self) {
        let id = || fs::read_to_string(self.folder.join("api.pid")).unwrap_or_default();
        let before = id();
        assert!(Command::new("kill").args(["-9", before.trim()]).status().expect("kill").success());
        let deadline = Instant::now() + PATIENCE;
        while id() == before {
            assert!(Instant::now() < deadline, "the API server is not started again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.ready().await;
    }

    async fn client(&self) -> kube::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig("admin-token")).expect("kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("config");
        Client::try_from(config)
    }

    async fn ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // It writes its certificate a moment after its start.
            if self.folder.join("certs/apiserver.crt").exists()
                && let Ok(client) = self.client().await
            {
                let request = http::Request::get("/readyz").body(Vec::new()).expect("request");
                if client.request_text(request).await.is_ok() {
                    return;
                }
            }
            let log = || fs::read_to_string(self.folder.join("api.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the API server is not ready:\n{}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The objects of the chart but for what runs Pods, and a virtual node.
    async fn install(&self) {
        let text = fs::read_to_string(work_tree().join("manifests/probelet.yaml")).expect("manifest");
        let path = self.folder.join("probelet.yaml");
        fs::write(&path, without_deployment(&text)).expect("manifest");
        let applied = Command::new(binary::program("kubectl").expect("kubectl"))
            .env("KUBECONFIG", self.kubeconfig("admin-token"))
            .args(["apply", "--filename"])
            .arg(&path)
            .output()
            .expect("kubectl");
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        let client = self.client().await.expect("client");
        let node = json!({"metadata": {"name": "virtual", "labels": {"type": "virtual-kubelet"}}});
        create::<Node>(&Api::all(client), node).await;
    }
}

fn without_deployment(text: &str) -> String {
    text.split("\n---").filter(|document| !document.contains("\nkind: Deployment")).collect::<Vec<_>>().join("\n---")
}

impl Lab {
    /// Waits for its turn.
    pub(crate) async fn turn() -> Self {
        let (number, turn) = tokio::select! {
            turn = TURNS[0].lock() => (0, turn),
            turn = TURNS[1].lock() => (1, turn),
        };
        let server = SERVERS[number].get_or_init(async || Server::start(number).await).await;
        let lab = Self { client: server.client().await.expect("client"), server, _turn: turn };
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
    &server.folder
}
