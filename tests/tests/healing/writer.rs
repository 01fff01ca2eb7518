//! F22: two writers of one Pod's status.

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, WatchEvent, WatchParams};
use probelet_protocol::environment;
use probelet_tests::bench::local::{CONDITION, Pair};
use probelet_tests::space::{self, Labels};
use serde_json::json;
use std::pin::pin;
use std::time::Duration;

const FOREIGN: &str = "other.example/Round";
const ROUNDS: usize = 1000;
const LIMIT: Duration = Duration::from_secs(120);

/// What a watcher saw.
#[derive(Debug, Default)]
struct Sum {
    events: usize,
    foreign_lost: usize,
    own_lost: usize,
    own_flips: usize,
}

fn message<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&found.status, found.message.as_deref().unwrap_or_default()))
}

/// Follows the Pod from the given version on until the last round.
async fn follow(pods: Api<Pod>, version: String) -> Result<Sum> {
    let mut stream = pin!(pods.watch(&WatchParams::default().timeout(290), &version).await?);
    let (mut sum, mut round, mut own) = (Sum::default(), 0, String::new());
    while round < ROUNDS {
        let event = stream.next().await.context("the watch ended")??;
        let WatchEvent::Modified(pod) = event else { continue };
        sum.events += 1;
        match message(&pod, FOREIGN).and_then(|(_, text)| text.parse().ok()) {
            Some(seen) if seen >= round => round = seen,
            _ => sum.foreign_lost += 1,
        }
        match message(&pod, CONDITION) {
            Some((status, _)) if status != own => {
                sum.own_flips += 1;
                own = status.to_owned();
            }
            Some(_) => {}
            None => sum.own_lost += 1,
        }
    }
    Ok(sum)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_lose_nothing_of_each_other_in_a_thousand_rounds() -> Result<()> {
    space::with("writers", Labels::opted_in(), |space| async move {
        let cluster = space.cluster().clone();
        let Some(lab) = cluster.lab() else {
            println!("skipped: the sidecar's binary is in the lab's folder only");
            return Ok(());
        };
        let binary = lab.layout().path("stage/sidecar/build/out/probelet");
        let (client, config) = (cluster.client(), cluster.config().await?);
        let extra = [(environment::PERIOD, "50ms"), (environment::SHIELD, "true")];
        let mut pair = Pair::start(&client, &config, (space.name(), "game"), &binary, &extra).await?;
        let pods = space.api::<Pod>();
        let write = async |round: usize| {
            let patch =
                json!({"status": {"conditions": [{"type": FOREIGN, "status": "True", "message": round.to_string()}]}});
            pods.patch_status("game", &PatchParams::default(), &Patch::Strategic(patch)).await
        };
        let marked = |pod: &Pod| message(pod, CONDITION).is_some();
        let begun = space.wait_for_pod("game", "to be marked", Duration::from_secs(30), marked).await;
        begun.inspect_err(|_| eprintln!("{}", pair.sidecar.log()))?;
        let first = write(0).await?;
        let version = first.resource_version().context("a Pod without version")?;
        let watcher = tokio::spawn(follow(pods.clone(), version));
        let flips = tokio::spawn(async move {
            let mut healthy = true;
            loop {
                healthy = !healthy;
                pair.target.switch(healthy).await?;
            }
            #[allow(unreachable_code)]
            Ok::<(), anyhow::Error>(())
        });
        for round in 1..=ROUNDS {
            write(round).await?;
        }
        let sum = tokio::time::timeout(LIMIT, watcher).await???;
        flips.abort();
        println!("{sum:?}");
        ensure!(sum.foreign_lost == 0 && sum.own_lost == 0, "{sum:?}");
        ensure!(sum.own_flips >= 50, "the other writer was hardly there: {sum:?}");
        Ok(())
    })
    .await
}
