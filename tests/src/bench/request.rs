//! Requests of a transition and of a steady Pod, counted in the lab's audit log; without the shield, since with it there is not even
//! a look.

use super::local::Pair;
use crate::audit::{AuditLog, Request};
use anyhow::{Result, ensure};
use kube::{Client, Config};
use std::path::Path;
use std::time::Duration;

const FLIPS: usize = 20;
const FOLLOW: Duration = Duration::from_secs(10);
/// Looks that follow a transition are over by then: the later one comes at most 6.5 s after it.
const LOOKS: Duration = Duration::from_secs(8);

/// Prints the requests of some transitions and of `quiet` after them, with and without a shield.
pub async fn run(
    client: &Client,
    config: &Config,
    namespace: &str,
    binary: &Path,
    log: &AuditLog,
    quiet: Duration,
) -> Result<()> {
    println!("requests by the Pod's identity, from the audit log");
    for (name, shield) in [("shielded", "true"), ("bare", "false")] {
        let environment = [("PROBELET_SHIELD", shield), ("PROBELET_PERIOD", "100ms")];
        let pod = format!("requests-{name}");
        let start = log.mark()?;
        let mut pair = Pair::start(client, config, (namespace, &pod), binary, &environment).await?;
        let own = |request: &Request| request.is_on_pod(namespace, &pod) && request.is_by(namespace, "default");
        log.until(start, 1, FOLLOW, own).await?;
        tokio::time::sleep(LOOKS).await; // whatever the start brings is over
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
            "  {name:<9} {transitions} requests for {FLIPS} transitions, {looks} looks after the last; {} in {} s of quiet",
            idle.len(),
            quiet.as_secs()
        );
        ensure!(idle.is_empty(), "a steady Pod sent {idle:#?}");
    }
    Ok(())
}
