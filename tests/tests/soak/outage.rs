//! The way to the API server is blocked for a while (fault F8 b and c): what happened meanwhile is on the Pod within five seconds of
//! its being free. The sidecar and what it probes run in a network of their own, in which packets can be lost. With a server that is
//! really stopped, on a lab of its own:
//!
//! ```text
//! export PROBELET_LAB=fault; make deploy
//! cargo test -p probelet-tests --test soak -- --ignored --nocapture a_frozen_process
//! make lab-down
//! ```

use super::proxy::{Proxy, Way};
use super::{Ground, Marked};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use probelet_tests::bench::application::Application;
use probelet_tests::bench::local::{Identity as PodIdentity, LABEL};
use probelet_tests::bench::plan::LocalPlan;
use probelet_tests::lab::Lab;
use probelet_tests::lab::daemon::identity::Identity;
use probelet_tests::namespace::Namespace;
use probelet_tests::pod::has_label;
use probelet_tests::space::{self, Labels, Space};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

const NAME: &str = "blocked";

/// A sidecar that marks what it probes, over a connection that stands.
struct Scene {
    space: Space,
    network: Option<Arc<Namespace>>,
    application: Application,
    sidecar: Marked,
}

impl Scene {
    async fn start(
        space: &Space,
        ground: &Ground,
        network: Option<Arc<Namespace>>,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let runtime = Handle::current();
        let application = inside(&network, || runtime.block_on(Application::start(&ground.application)))??;
        let http = json!({"httpGet": {"port": application.http, "path": "/health"}});
        let plan = LocalPlan::default().and("http", http).labelled(LABEL);
        let identity = PodIdentity::create(&space.cluster().client(), space.name(), NAME, &plan).await?;
        let sidecar = inside(&network, || identity.sidecar(&ground.sidecar, &ground.config, environment))??;
        let scene = Self { space: space.clone(), network, application, sidecar: Marked { sidecar } };
        scene.marked(true, 30).await?;
        scene.switch(false)?;
        scene.marked(false, 10).await?;
        Ok(scene)
    }

    fn switch(&self, healthy: bool) -> Result<()> {
        inside(&self.network, || self.application.switch(healthy))?
    }

    async fn marked(&self, healthy: bool, limit: u64) -> Result<()> {
        let wanted = healthy.to_string();
        let is_so = |pod: &Pod| has_label(pod, LABEL, &wanted);
        let found = self.space.wait_for_pod(NAME, "to be marked", Duration::from_secs(limit), is_so).await;
        found.map(drop).with_context(|| self.sidecar.sidecar.log())
    }

    /// The way is free: what happened meanwhile has five seconds.
    async fn heals(&self, what: &str) -> Result<()> {
        let free = Instant::now();
        self.marked(true, 20).await?;
        let took = free.elapsed();
        println!("{what}: marked {took:?} after the way was free");
        let log = || self.sidecar.sidecar.log();
        ensure!(took <= Duration::from_secs(5), "{what}: marked {took:?} after the way was free\n{}", log());
        Ok(())
    }
}

/// Does it in that network, where there is one.
fn inside<T: Send>(network: &Option<Arc<Namespace>>, work: impl FnOnce() -> T + Send) -> Result<T> {
    match network {
        Some(network) => network.within(work),
        None => std::thread::scope(|scope| scope.spawn(work).join()).map_err(|_| anyhow::anyhow!("a panic")),
    }
}

async fn a_blocked_way_heals(way: Way, time: Duration) -> Result<()> {
    space::with("soak", Labels::opted_in(), move |space| async move {
        let ground = Ground::of(&space).await?;
        let url = &ground.config.cluster_url;
        let (host, port) = (url.host().context("API server without host")?, url.port_u16().unwrap_or(443));
        let server = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await?.next();
        let network = Arc::new(Namespace::new()?);
        let proxy = Proxy::start(network.clone(), server.context("the API server's address")?)?;
        let port = proxy.port.to_string();
        let environment = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", port.as_str())];
        let scene = Scene::start(&space, &ground, Some(network), &environment).await?;

        proxy.set(way)?;
        scene.switch(true)?;
        tokio::time::sleep(time).await; // the outage itself
        let missing = space.api::<Pod>().get(NAME).await?;
        ensure!(has_label(&missing, LABEL, "false"), "the way was not blocked");
        proxy.set(Way::Free)?;
        scene.heals(&format!("{way:?} for {time:?}")).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of half a minute"]
async fn a_stopped_api_server_is_outlasted() -> Result<()> {
    a_blocked_way_heals(Way::Stopped, Duration::from_secs(30)).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of a minute"]
async fn dropped_packets_are_outlasted() -> Result<()> {
    a_blocked_way_heals(Way::Dropped, Duration::from_secs(60)).await
}

/// A process under SIGSTOP; goes on when dropped.
struct Frozen(Pid);

impl Frozen {
    /// The lab's API server; never that of the lab that everybody uses.
    fn api_server(lab: &Lab) -> Result<Self> {
        let layout = lab.layout();
        ensure!(layout.name() != "probelet-lab", "this stops an API server: give it a lab of its own by PROBELET_LAB");
        let process = Identity::load(&layout.path("process").join("kube-apiserver")).context("no kube-apiserver")?;
        ensure!(process.is_alive(), "kube-apiserver does not run");
        let process = Self(Pid::from_raw(process.id().cast_signed()).context("process id")?);
        kill_process(process.0, Signal::STOP)?;
        Ok(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "stops an API server for half a minute; see the head of this file"]
async fn a_frozen_process_of_the_api_server_is_outlasted() -> Result<()> {
    let lab = Lab::from_env()?;
    space::with("soak", Labels::opted_in(), move |space| async move {
        let ground = Ground::of(&space).await?;
        let scene = Scene::start(&space, &ground, None, &[]).await?;
        for (round, time) in [30, 10, 45].map(Duration::from_secs).into_iter().enumerate() {
            if round > 0 {
                scene.switch(false)?;
                scene.marked(false, 10).await?;
            }
            let frozen = Frozen::api_server(&lab)?;
            scene.switch(true)?;
            tokio::time::sleep(time).await; // the outage itself
            let pods = space.api::<Pod>();
            let asked = tokio::time::timeout(Duration::from_secs(1), pods.get(NAME)).await;
            ensure!(asked.is_err(), "the API server answered although it is stopped");
            drop(frozen);
            scene.heals(&format!("stopped for {time:?}")).await?;
        }
        Ok(())
    })
    .await
}
