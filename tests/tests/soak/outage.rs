//! The way to the API server is blocked for a while (fault F8 b and c): what happened meanwhile is on the Pod within five seconds of
//! its being free.

use super::Ground;
use super::proxy::{Proxy, Way};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use probelet_tests::bench::application::Application;
use probelet_tests::bench::local::LABEL;
use probelet_tests::bench::plan::LocalPlan;
use probelet_tests::pod::has_label;
use probelet_tests::space::{self, Labels};
use serde_json::json;
use std::time::{Duration, Instant};

async fn a_blocked_way_heals(way: Way, time: Duration) -> Result<()> {
    space::with("soak", Labels::opted_in(), move |space| async move {
        let ground = Ground::of(&space).await?;
        let url = &ground.config.cluster_url;
        let (host, port) = (url.host().context("API server without host")?, url.port_u16().unwrap_or(443));
        let server = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await?.next();
        let proxy = Proxy::start(server.context("the API server's address")?).await?;
        let application = Application::start(&ground.application).await?;
        let http = json!({"httpGet": {"port": application.http, "path": "/health"}});
        let plan = LocalPlan::default().and("http", http).labelled(LABEL);
        let port = proxy.port.to_string();
        let environment = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", port.as_str())];
        let sidecar = ground.sidecar("blocked", &plan, &environment).await?;
        let follow = async |healthy: &str, limit: u64| {
            let is_so = |pod: &Pod| has_label(pod, LABEL, healthy);
            let found = space.wait_for_pod("blocked", "to be marked", Duration::from_secs(limit), is_so).await;
            found.map(drop).with_context(|| sidecar.sidecar.log())
        };
        follow("true", 30).await?;
        application.switch(false)?;
        follow("false", 10).await?;

        proxy.set(way).await;
        application.switch(true)?;
        tokio::time::sleep(time).await; // the outage itself
        let missing = space.api::<Pod>().get("blocked").await?;
        ensure!(has_label(&missing, LABEL, "false"), "the way was not blocked");
        proxy.set(Way::Free).await;
        let free = Instant::now();
        follow("true", 20).await?;
        let took = free.elapsed();
        println!("{way:?} for {time:?}: marked {took:?} after the way was free");
        ensure!(took <= Duration::from_secs(5), "marked {took:?} after the way was free\n{}", sidecar.sidecar.log());
        drop(sidecar.identity);
        Ok(())
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
