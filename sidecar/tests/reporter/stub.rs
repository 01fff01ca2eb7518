//! An API server in miniature: real TLS, one Pod, patches merged into it, and a script that decides what goes wrong.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::server::ServerConnection;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What the script does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// As the API server would.
    Serve,
    /// This status, with this message and these further headers.
    Status(u16, &'static str, &'static str),
    /// The connection is cut.
    Reset,
    /// Nothing, for ever.
    Hang,
    /// As the API server would, so much later.
    Late(Duration),
    /// As the API server would, but the answer is lost.
    Lost,
    /// A watch that ends in good order once it has told of the Pod.
    Short,
}

/// One request, as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: Value,
    pub(crate) connection: usize,
    pub(crate) is_resumed: bool,
}

type Script = Box<dyn Fn(usize, &Seen) -> Reply + Send + Sync>;

pub(crate) struct Stub {
    pub(crate) port: u16,
    /// PEM of the CA that signed the server's certificate.
    pub(crate) ca: String,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    requests: Mutex<Vec<Seen>>,
    pod: watch::Sender<Value>,
    script: Script,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A Pod of a virtual node, as long as it matters here.
pub(crate) fn pod() -> Value {
    json!({"kind": "Pod", "metadata": {"name": "game-0", "namespace": "games", "uid": "u1", "resourceVersion": "1"},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "game"}, {"name": "probelet"}]},
        "status": {"phase": "Running"}})
}

impl Stub {
    pub(crate) async fn start(pod: Value, script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1", pod, script).await
    }

    /// At another address of loopback.
    pub(crate) async fn start_at(
        address: &str,
        pod: Value,
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("bind");
        let (config, ca) = certificate();
        let port = listener.local_addr().expect("address").port();
        let state =
            Arc::new(State { requests: Mutex::default(), pod: watch::channel(pod).0, script: Box::new(script) });
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), state.clone()));
        Self { port, ca, state, task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.requests.lock().expect("requests").clone()
    }

    pub(crate) fn pod(&self) -> Value {
        self.state.pod.borrow().clone()
    }

    /// Someone else changes the Pod.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Value)) {
        self.state.pod.send_modify(|pod| {
            change(pod);
            touch(pod);
        });
    }

    /// Waits until the Pod is as wanted.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let mut pod = self.state.pod.subscribe();
        let found = tokio::time::timeout(Duration::from_secs(20), pod.wait_for(|pod| is_so(pod))).await;
        assert!(found.is_ok(), "{what} did not come:\n{}\n{:#?}", self.pod(), self.seen());
    }

    /// Waits for this many requests.
    pub(crate) async fn requests(&self, count: usize) -> Vec<Seen> {
        for _ in 0..2000 {
            if self.seen().len() >= count {
                return self.seen();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} requests did not come: {:#?}", self.seen());
    }
}

pub(crate) fn label<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    pod["metadata"]["labels"][key].as_str()
}

fn certificate() -> (ServerConfig, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("ca");
    let key = KeyPair::generate().expect("key");
    let names = ["127.0.0.1", "::1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
    let leaf = CertificateParams::new(names).expect("params");
    let leaf = leaf.signed_by(&key, &issuer).expect("leaf");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("certificate");
    (config, issuer.pem())
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    for connection in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (acceptor, state) = (acceptor.clone(), state.clone());
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, connection, &state).await;
            }
        });
    }
}

async fn serve(mut stream: TlsStream<TcpStream>, connection: usize, state: &State) {
    while let Some((head, body)) = read(&mut stream).await {
        let session: &ServerConnection = stream.get_ref().1;
        let is_resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let line = head.lines().next().unwrap_or_default().to_owned();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let seen = Seen { at: Instant::now(), line, head, body, connection, is_resumed };
        let number = {
            let mut requests = state.requests.lock().expect("requests");
            requests.push(seen.clone());
            requests.len() - 1
        };
        let answer = match (state.script)(number, &seen) {
            Reply::Serve if seen.line.starts_with("GET") => return watch(stream, state, false).await,
            Reply::Short => return watch(stream, state, true).await,
            Reply::Lost => {
                patched(state, &seen.body);
                return;
            }
            Reply::Serve => patched(state, &seen.body),
            Reply::Status(status, message, headers) => {
                let body = json!({"kind": "Status", "reason": reason(status), "message": message, "code": status});
                response(status, headers, &body.to_string())
            }
            Reply::Reset => return,
            Reply::Hang => std::future::pending().await,
            Reply::Late(time) => {
                tokio::time::sleep(time).await;
                patched(state, &seen.body)
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn watch(mut stream: TlsStream<TcpStream>, state: &State, is_short: bool) {
    let mut pod = state.pod.subscribe();
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let mut kind = "ADDED";
    loop {
        let line = format!("{}\n", json!({"type": kind, "object": pod.borrow_and_update().clone()}));
        if stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await.is_err() {
            return;
        }
        if is_short {
            let _ = stream.write_all(b"0\r\n\r\n").await;
            return;
        }
        kind = "MODIFIED";
        if pod.changed().await.is_err() {
            return;
        }
    }
}

fn patched(state: &State, patch: &Value) -> String {
    let mut answer = Value::Null;
    state.pod.send_if_modified(|pod| {
        let before = pod.clone();
        for kind in ["labels", "annotations"] {
            for (key, value) in patch["metadata"][kind].as_object().into_iter().flatten() {
                if value.is_null() {
                    let _ = pod["metadata"][kind].as_object_mut().map(|texts| texts.remove(key));
                } else {
                    pod["metadata"][kind][key] = value.clone();
                }
            }
        }
        for change in patch["status"]["conditions"].as_array().into_iter().flatten() {
            merge_condition(&mut pod["status"]["conditions"], change);
        }
        let is_changed = *pod != before;
        if is_changed {
            touch(pod);
        }
        answer = pod.clone();
        is_changed
    });
    response(200, "", &answer.to_string())
}

fn merge_condition(conditions: &mut Value, change: &Value) {
    if conditions.is_null() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else { return };
    let at = list.iter().position(|condition| condition["type"] == change["type"]);
    match (at, change["$patch"] == "delete") {
        (Some(at), true) => drop(list.remove(at)),
        (None, true) => {}
        (Some(at), false) => {
            for (key, value) in change.as_object().into_iter().flatten() {
                list[at][key] = value.clone();
            }
        }
        (None, false) => list.push(change.clone()),
    }
}

fn touch(pod: &mut Value) {
    let version: u64 = pod["metadata"]["resourceVersion"].as_str().expect("version").parse().expect("number");
    pod["metadata"]["resourceVersion"] = (version + 1).to_string().into();
}

fn reason(status: u16) -> &'static str {
    match status {
        403 => "Forbidden",
        404 => "NotFound",
        422 => "Invalid",
        _ => "Other",
    }
}

fn response(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn read(stream: &mut TlsStream<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |text| text.parse().expect("length"));
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, bytes[head_end..].to_vec()))
}
