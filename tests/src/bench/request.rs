//! Requests of a transition and of a steady Pod, counted in the lab's audit log; with the shield, where there is not even a look, and
//! without it.

use super::local::Pair;
use crate::audit::{AuditLog, Request};
use anyhow::{Result, ensure};
use kube::{Client, Config};
use std::path::Path;
use std::time::Duration;

const FLIPS: usize = 20;
const FOLLOW: Duration = Duration::from_secs(10);
/// The looks that follow a Pod's first mark are over by then: the last one comes at most 30 s after it.
const START: Duration = Duration::from_secs(32);
/// Looks that follow a transition are over by then: the later one comes at most 6.5 s after it.
const LOOKS: Duration = Duration::from_secs(8);

/// The rare look of a Pod without a shield comes at most so often (`probelet.io/look`).
const RARE: Duration = Duration::from_secs(600);

/// Where the Pods are, and what is told of them.
#[derive(Clone, Copy)]
struct Ground<'a> {
    client: &'a Client,
    config: &'a Config,
    namespace: &'a str,
    binary: &'a Path,
    log: &'a AuditLog,
}

/// Prints the requests of some transitions and of `quiet` after them, of a Pod with and one without a shield.
pub async fn run(
    client: &Client,
    config: &Config,
    namespace: &str,
    binary: &Path,
    log: &AuditLog,
    quiet: Duration,
) -> Result<()> {
    println!("requests by the Pod's identity, from the audit log");
    let ground = Ground { client, config, namespace, binary, log };
    let rare = usize::try_from(quiet.as_secs() / RARE.as_secs())?;
    tokio::try_join!(ground.count("shielded", "true", quiet, 0), ground.count("bare", "false", quiet, rare))?;
    Ok(())
}

// === impl Ground ===

impl Ground<'_> {
    /// At most `rare` requests are allowed in the quiet time.
    async fn count(self, name: &str, shield: &str, quiet: Duration, rare: usize) -> Result<()> {
        let Self { client, config, namespace, binary, log } = self;
        let environment = [("PROBELET_SHIELD", shield), ("PROBELET_PERIOD", "100ms")];
        let pod = format!("requests-{name}");
        let start = log.mark()?;
        let mut pair = Pair::start(client, config, (namespace, &pod), binary, &environment).await?;
        let own = |request: &Request| request.is_on_pod(namespace, &pod) && request.is_by(namespace, "default");
        log.until(start, 1, FOLLOW, own).await?;
        // Looks of the start: two soon, and after the Pod's first mark one more within half a minute.
        tokio::time::sleep(START).await;
        let mark = log.mark()?;
        for flip in 0..FLIPS {
            let before = log.since(mark, own)?.len();
            pair.target.switch(flip % 2 == 1).await?;
            log.until(mark, before + 1, FOLLOW, own).await?;
        }
        let transitions = log.since(mark, own)?.len();
        tokio::time::sleep(LOOKS).await; // looks of the last transition
        let looks = log.since(mark, own)?.len() - transitions;
        let mark = log.mark()?;
        tokio::time::sleep(quiet).await; // the measured span itself
        let idle = log.since(mark, own)?;
        println!(
            "  {name:<9} {transitions} requests for {FLIPS} transitions, {looks} looks after the last; {} in {} s of quiet (at most {rare} rare looks)",
            idle.len(),
            quiet.as_secs()
        );
        ensure!(idle.len() <= rare, "a steady Pod sent {idle:#?}");
        Ok(())
    }
}
