//! A token that lives for ten minutes, the least that an API server gives, and a sidecar that lives longer (fault F11).
//!
//! The test is the node: it asks for tokens as kubelet does, bound to the Pod, and exchanges the file by a link when four fifths of
//! the token's life are over (kubernetes/kubernetes:pkg/kubelet/token/token_manager.go `requiresRefresh`). A token cannot be
//! revoked alone. What revokes one is the end of what it is bound to: the Pod, which ends the sidecar too, or the
//! ServiceAccount, which is made anew here while the Pod runs; a node goes on with the old token until that is due.

use super::Ground;
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::config::AuthInfo;
use kube::{Api, ResourceExt};
use probelet_tests::audit::{AuditLog, Mark, Request};
use probelet_tests::bench::application::Application;
use probelet_tests::bench::local::{Identity, LABEL, LocalSidecar};
use probelet_tests::bench::plan::LocalPlan;
use probelet_tests::bench::usage;
use probelet_tests::pod::has_label;
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::wait;
use secrecy::SecretString;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The least that an API server gives.
const LIFE: Duration = Duration::from_secs(600);
/// An API server goes on taking a token that has expired: a minute for clocks that differ (github.com/go-jose/go-jose:jwt/validation.go
/// `DefaultLeeway`), and ten seconds in which it remembers what it thought of it.
const LEEWAY: Duration = Duration::from_secs(75);
const NAME: &str = "token";

/// The Pod's volume, as its node keeps it.
struct Volume {
    folder: PathBuf,
    serial: u32,
}

impl Volume {
    fn new(ca: &[u8]) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("probelet-soak-token-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("ca.crt"), ca)?;
        std::os::unix::fs::symlink("..data/token", folder.join("token"))?;
        Ok(Self { folder, serial: 0 })
    }

    /// Puts a token in place of the one before, which goes: a new folder, and a link that is renamed over the old one.
    fn put(&mut self, token: &str) -> Result<()> {
        let before = self.folder.join(format!("..{}", self.serial));
        self.serial += 1;
        let name = format!("..{}", self.serial);
        std::fs::create_dir(self.folder.join(&name))?;
        std::fs::write(self.folder.join(&name).join("token"), token)?;
        std::os::unix::fs::symlink(&name, self.folder.join("..data_tmp"))?;
        std::fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data"))?;
        let _ = std::fs::remove_dir_all(before);
        Ok(())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A sidecar whose token its node exchanges, and what it probes.
struct Soak {
    space: Space,
    ground: Ground,
    identity: Identity,
    sidecar: LocalSidecar,
    application: Application,
    volume: Volume,
    audit: AuditLog,
    begin: Mark,
    started: Instant,
    is_healthy: bool,
    slowest: Duration,
    switches: u32,
}

impl Soak {
    async fn start(space: Space) -> Result<Self> {
        let ground = Ground::of(&space).await?;
        let application = Application::start(&ground.application).await?;
        let http = json!({"httpGet": {"port": application.http, "path": "/health"}});
        let plan = LocalPlan::default().and("http", http).labelled(LABEL);
        let identity = Identity::create(&space.cluster().client(), space.name(), NAME, &plan).await?;
        let lab = space.cluster().lab().context("the audit log is the lab's")?;
        let audit = AuditLog::of(lab);
        let mut volume = Volume::new(&std::fs::read(lab.layout().path("pki/ca.crt"))?)?;
        volume.put(&fresh(&space, &identity.pod).await?)?;
        let folder = volume.folder.display().to_string();
        let begin = audit.mark()?;
        let extra = [("PROBELET_TOKEN_DIR", folder.as_str()), ("PROBELET_SHIELD", "true")];
        let sidecar = identity.sidecar(&ground.sidecar, &ground.config, &extra)?;
        let started = Instant::now();
        let (is_healthy, slowest, switches) = (true, Duration::ZERO, 0);
        Ok(Self {
            space,
            ground,
            identity,
            sidecar,
            application,
            volume,
            audit,
            begin,
            started,
            is_healthy,
            slowest,
            switches,
        })
    }

    fn token(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.volume.folder.join("token"))?)
    }

    /// Waits until the sidecar has marked what the application is now.
    async fn marked(&self, limit: Duration) -> Result<()> {
        let wanted = self.is_healthy.to_string();
        let is_so = |pod: &Pod| has_label(pod, LABEL, &wanted);
        self.space.wait_for_pod(NAME, "to be marked", limit, is_so).await.map(drop).with_context(|| self.sidecar.log())
    }

    /// Switches the application; how long until that is marked.
    async fn switch(&mut self, limit: Duration) -> Result<Duration> {
        self.is_healthy = !self.is_healthy;
        let begin = Instant::now();
        self.application.switch(self.is_healthy)?;
        self.marked(limit).await?;
        self.switches += 1;
        Ok(begin.elapsed())
    }

    /// Switches every half a minute until the sidecar is that old.
    async fn switch_until(&mut self, age: Duration) -> Result<()> {
        while self.started.elapsed() < age {
            let took = self.switch(Duration::from_secs(10)).await?;
            self.slowest = self.slowest.max(took);
            let rest = age.saturating_sub(self.started.elapsed());
            tokio::time::sleep(rest.min(Duration::from_secs(30))).await; // the soak itself
        }
        Ok(())
    }

    /// The sidecar's requests since then that were answered 401. Of those the audit log knows no user.
    fn unauthorized(&self, since: Mark) -> Result<usize> {
        let is_one = |request: &Request| {
            let is_ours = request.is_on_pod(self.space.name(), NAME) && request.agent.starts_with("probelet/");
            is_ours && request.code == 401
        };
        Ok(self.audit.since(since, is_one)?.len())
    }

    /// Whether the API server takes this token.
    async fn is_taken(&self, token: &str) -> Result<bool> {
        let mut config = self.ground.config.clone();
        config.auth_info = AuthInfo { token: Some(SecretString::from(token)), ..AuthInfo::default() };
        match Api::<Pod>::namespaced(probelet_tests::client::connect(config)?, self.space.name()).get(NAME).await {
            Err(kube::Error::Api(status)) if status.code == 401 => Ok(false),
            // The sidecar may not read Pods; being told so takes a name.
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(true),
            other => other.map(|_| true).context("asking with the old token"),
        }
    }
}

/// A token for the Pod's sidecar, as kubelet asks for one.
async fn fresh(space: &Space, pod: &Pod) -> Result<String> {
    let request: TokenRequest = serde_json::from_value(json!({"spec": {
        "audiences": [], "expirationSeconds": LIFE.as_secs(),
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": NAME, "uid": pod.uid()},
    }}))?;
    let accounts = space.api::<ServiceAccount>();
    let given = accounts.create_token_request("default", &PostParams::default(), &request).await?;
    given.status.and_then(|status| status.token).context("no token")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of twenty minutes"]
async fn tokens_of_ten_minutes_are_outlived() -> Result<()> {
    space::with("soak", Labels::opted_in(), |space| async move {
        let mut soak = Soak::start(space).await?;
        soak.marked(Duration::from_secs(30)).await?;
        let ticks = soak.sidecar.ticks()?;
        for round in 1..=2 {
            soak.switch_until(LIFE * 4 / 5 * round).await?;
            let old = soak.token()?;
            soak.volume.put(&fresh(&soak.space, &soak.identity.pod).await?)?;
            soak.switch_until(LIFE * 4 / 5 * round + LIFE / 5 + LEEWAY).await?;
            ensure!(!soak.is_taken(&old).await?, "token {round} has not expired");
            let took = soak.switch(Duration::from_secs(10)).await?;
            println!("token {round} has expired; marked {took:?} after the next switch");
        }
        let (age, cpu) = (soak.started.elapsed(), soak.sidecar.ticks()? - ticks);
        let refused = soak.unauthorized(soak.begin)?;
        println!(
            "{} switches in {age:.0?}, all marked, the slowest after {:?}; {refused} answers 401; CPU {:.2} s, {} KiB resident",
            soak.switches,
            soak.slowest,
            cpu as f64 / 100.0,
            usage::memory(soak.sidecar.child.id(), "VmRSS")?
        );
        ensure!(refused == 0, "{refused} answers 401, although the file was always ahead");
        ensure!(soak.slowest < Duration::from_secs(5), "{:?}", soak.slowest);
        Ok(())
    })
    .await
}

/// The ServiceAccount is made anew, so its tokens are worth nothing, and the node notices half a minute later.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of two minutes"]
async fn a_revoked_token_is_exchanged() -> Result<()> {
    space::with("soak", Labels::opted_in(), |space| async move {
        let mut soak = Soak::start(space).await?;
        soak.marked(Duration::from_secs(30)).await?;
        revoke(&mut soak).await
    })
    .await
}

async fn revoke(soak: &mut Soak) -> Result<()> {
    let accounts = soak.space.api::<ServiceAccount>();
    let uid = accounts.get("default").await?.uid();
    accounts.delete("default", &DeleteParams::default()).await?;
    let is_new = |found: Option<&ServiceAccount>| found.is_some_and(|account| account.uid() != uid);
    wait::until(&accounts, "default", "a new ServiceAccount", Duration::from_secs(30), is_new).await?;
    let old = soak.token()?;
    let begin = Instant::now();
    while soak.is_taken(&old).await? {
        ensure!(begin.elapsed() < Duration::from_secs(60), "the old token is still taken");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let before = soak.audit.mark()?;
    soak.is_healthy = !soak.is_healthy;
    soak.application.switch(soak.is_healthy)?;
    tokio::time::sleep(Duration::from_secs(30)).await; // the node's delay
    let wanted = soak.is_healthy.to_string();
    ensure!(!has_label(&soak.space.api::<Pod>().get(NAME).await?, LABEL, &wanted), "marked with a revoked token");
    let revoked = soak.unauthorized(before)?;
    ensure!(revoked >= 2, "a 401 is tried again at once: {revoked}");
    let exchanged = soak.audit.mark()?;
    soak.volume.put(&fresh(&soak.space, &soak.identity.pod).await?)?;
    let begin = Instant::now();
    soak.marked(Duration::from_secs(60)).await?;
    let took = begin.elapsed();
    let refused = soak.unauthorized(exchanged)?;
    println!(
        "revoked: {revoked} answers 401 in 30 s; marked {took:?} after the new token was there, {refused} answers 401 then"
    );
    // The longest wait between two tries, and a little.
    ensure!(took < Duration::from_secs(32), "{took:?}\n{}", soak.sidecar.log());
    ensure!(refused <= 1, "{refused} answers 401 with a good token");
    let took = soak.switch(Duration::from_secs(10)).await?;
    ensure!(took < Duration::from_secs(5), "{took:?}");
    Ok(())
}
