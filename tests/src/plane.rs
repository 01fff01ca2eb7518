//! etcd and kube-apiserver alone, on free ports of loopback, for one process: no node, no scheduler, no controller but those that
//! the caller starts. Ready within seconds; gone however the process ends.

use crate::{binary, command, work_tree};
use anyhow::{Context, Result, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Keeps both programs running, and ends them when its standard input closes, which happens however the process that started
/// it ends.
const KEEPER: &str = r#"
# A signal to the whole group, as of Ctrl-C, is an end like any other.
trap : TERM INT HUP
"$1" --data-dir "$3/etcd" --unsafe-no-fsync --listen-client-urls "http://127.0.0.1:$4" \
  --advertise-client-urls "http://127.0.0.1:$4" --listen-peer-urls "http://127.0.0.1:$5" \
  --initial-advertise-peer-urls "http://127.0.0.1:$5" --initial-cluster "default=http://127.0.0.1:$5" \
  >"$3/etcd.log" 2>&1 </dev/null &
ETCD=$!
API_SERVER=$2 FOLDER=$3 CLIENTS=$4 PORT=$6
shift 6
serve() {
  "$API_SERVER" --etcd-servers "http://127.0.0.1:$CLIENTS" --cert-dir "$FOLDER/certs" --secure-port "$PORT" \
    --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --service-account-key-file "$FOLDER/sa.pub" \
    --service-account-signing-key-file "$FOLDER/sa.key" --service-account-issuer https://kubernetes.default.svc \
    --token-auth-file "$FOLDER/tokens.csv" --authorization-mode RBAC --service-cluster-ip-range 10.97.0.0/16 \
    --endpoint-reconciler-type none --disable-admission-plugins ServiceAccount "$@" >>"$FOLDER/api.log" 2>&1 </dev/null &
  echo $! >"$FOLDER/api.pid"
  wait $!
}
# A killed one is started again, unless it is to stay away.
while :; do if [ -e "$FOLDER/away" ]; then sleep 0.1; else serve "$@"; fi; done &
LOOP=$!
cat >/dev/null
exec 2>/dev/null
kill "$LOOP" "$ETCD" "$(cat "$FOLDER/api.pid")"
wait "$ETCD"
rm -rf "$FOLDER"
"#;
const PATIENCE: Duration = Duration::from_secs(60);

/// The administrator's token.
pub const ADMIN: &str = "admin-token";
/// The token of the webhook's ServiceAccount.
pub const WEBHOOK: &str = "hook-token";
const TOKENS: &str = "admin-token,admin,admin,\"system:masters\"\n\
    hook-token,system:serviceaccount:probelet-system:probelet-webhook,hook,\"system:serviceaccounts,system:serviceaccounts:probelet-system\"\n";

/// More than one may run in a process.
static PLANES: AtomicU64 = AtomicU64::new(0);

/// A running API server and its etcd.
pub struct Plane {
    folder: PathBuf,
    /// The API server's.
    pub port: u16,
    /// Where etcd listens for clients, without TLS.
    pub etcd: u16,
    _keeper: Child,
}

/// A port that nobody listens on now.
///
/// # Errors
/// Where loopback has none left.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The body of what an HTTP server on that port of loopback answers; empty where there is no answer.
pub fn get(port: u16, path: &str) -> String {
    let fetch = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        // In one piece: the second of several would wait for the acknowledgement of the first, up to 40 ms.
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    };
    fetch().unwrap_or_default()
}

// === impl Plane ===

impl Plane {
    /// Starts both and waits until the API server is ready. With `audit`, a policy, [`Plane::audit`] tells what was asked.
    ///
    /// # Errors
    /// Where the programs cannot be built or do not come up; the message holds the API server's log.
    pub async fn start(audit: Option<&str>) -> Result<Self> {
        let serial = PLANES.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("probelet-plane-{}-{serial}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let key = rcgen::KeyPair::generate()?;
        fs::write(folder.join("sa.key"), key.serialize_pem())?;
        fs::write(folder.join("sa.pub"), key.public_key_pem())?;
        fs::write(folder.join("tokens.csv"), TOKENS)?;
        let mut flags = Vec::new();
        if let Some(policy) = audit {
            fs::write(folder.join("audit.yaml"), policy)?;
            let path = |file| folder.join(file).display().to_string();
            flags.push(format!("--audit-policy-file={}", path("audit.yaml")));
            flags.push(format!("--audit-log-path={}", path("audit.log")));
        }
        let ports = [free_port()?, free_port()?, free_port()?];
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([binary::program("etcd")?, binary::program("kube-apiserver")?])
            .arg(&folder)
            .args(ports.map(|port| port.to_string()))
            .args(flags)
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run sh")?;
        let plane = Self { folder, port: ports[2], etcd: ports[0], _keeper: keeper };
        plane.ready(PATIENCE).await?;
        Ok(plane)
    }

    /// Where its files are, and those of whoever works with it may be; removed at the end.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The kubeconfig of one of the users, by token.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn kubeconfig(&self, token: &str) -> Result<PathBuf> {
        self.kubeconfig_by(token, self.port)
    }

    /// The same by another port, where somebody passes everything on.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn kubeconfig_by(&self, token: &str, port: u16) -> Result<PathBuf> {
        let path = self.folder.join(format!("{token}-{port}.kubeconfig"));
        if path.exists() {
            // A process that is just starting may be reading it.
            return Ok(path);
        }
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "plane",
            "clusters": [{"name": "plane", "cluster": {"server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": self.folder.join("certs/apiserver.crt")}}],
            "users": [{"name": "plane", "user": {"token": token}}],
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": "plane"}}],
        });
        fs::write(&path, text.to_string())?;
        Ok(path)
    }

    /// A client of the administrator.
    ///
    /// # Errors
    /// Where the API server has not written its certificate yet.
    pub async fn client(&self) -> Result<Client> {
        self.client_of(ADMIN).await
    }

    /// A client that is one of the users.
    ///
    /// # Errors
    /// Where the kubeconfig cannot be written or used.
    pub async fn client_of(&self, token: &str) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(token)?)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        crate::client::connect(config)
    }

    /// The objects of the rendered manifest but for what runs Pods.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn install(&self) -> Result<()> {
        let text = fs::read_to_string(work_tree().join("manifests/probelet.yaml"))?;
        let objects: Vec<_> = text.split("\n---").filter(|object| !object.contains("\nkind: Deployment")).collect();
        let path = self.folder.join("probelet.yaml");
        fs::write(&path, objects.join("\n---"))?;
        let mut kubectl = Command::new(binary::program("kubectl")?);
        kubectl.env("KUBECONFIG", self.kubeconfig(ADMIN)?).args(["apply", "--filename"]).arg(&path);
        command::run(&mut kubectl).map(drop)
    }

    /// The events of the audit log so far.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join("audit.log")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Kills the API server and waits until it has come back.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn restart(&self) -> Result<()> {
        let id = || fs::read_to_string(self.folder.join("api.pid")).unwrap_or_default();
        let before = id();
        command::run(Command::new("kill").args(["-9", before.trim()]))?;
        let begin = Instant::now();
        while id() == before {
            ensure!(begin.elapsed() < PATIENCE, "the API server is not started again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.ready(PATIENCE).await
    }

    /// The API server's process.
    ///
    /// # Errors
    /// Where none was started.
    pub fn process(&self) -> Result<u32> {
        Ok(fs::read_to_string(self.folder.join("api.pid"))?.trim().parse()?)
    }

    /// Kills the API server, which stays away until [`Plane::come_back`].
    ///
    /// # Errors
    /// Where it does not run.
    pub fn go_away(&self) -> Result<()> {
        fs::write(self.folder.join("away"), "")?;
        command::run(Command::new("kill").args(["-9", &self.process()?.to_string()])).map(drop)
    }

    /// Ends [`Plane::go_away`], and waits at most so long until the API server is ready again.
    ///
    /// # Errors
    /// Where it does not become ready.
    pub async fn come_back(&self, patience: Duration) -> Result<()> {
        fs::remove_file(self.folder.join("away"))?;
        self.ready(patience).await
    }

    async fn ready(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            // It writes its certificate a moment after its start.
            if self.folder.join("certs/apiserver.crt").exists()
                && let Ok(client) = self.client().await
                && client.request_text(http::Request::get("/readyz").body(Vec::new())?).await.is_ok()
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.join("api.log")).unwrap_or_default();
                bail!("the API server is not ready within {patience:?}:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
