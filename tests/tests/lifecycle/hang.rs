//! Commands that never end (fault F17): in a container whose PID 1 reaps nobody, since the test application does not.

use super::{START, command, web};
use anyhow::{Result, ensure};
use probelet_tests::pod::{CONTAINER, has_condition};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::{exec, marker};
use serde::Deserialize;
use std::time::{Duration, Instant};

const HANGS: &str = "life.example/Hangs";
/// The application, the agent, and the command that counts.
const BASELINE: usize = 3;

#[derive(Debug, Deserialize)]
struct Count {
    processes: usize,
    zombies: usize,
}

async fn count(space: &Space) -> Result<Count> {
    let output = exec::run(&space.api(), "web", CONTAINER, &["/test-app", "processes"]).await?;
    ensure!(output.code == 0, "{output:?}");
    Ok(serde_json::from_str(&output.stdout)?)
}

/// A probe whose command hangs with a child of its own, killed once a second for as long as `time`: at no moment are there more
/// processes than one run's, and whatever has ended is reaped within moments.
async fn hanging_commands_leave_nothing(node: &'static str, time: Duration) -> Result<()> {
    space::with("hang", Labels::opted_in(), move |space| async move {
        let probe = marker::probe("hangs", command(&["hang"]), HANGS, "life.example/hangs");
        marker::create(&space, "hang", "web", &[probe]).await?;
        space.create_object(&web(&space)?.on(node).build()).await?;
        space.wait_for_pod("web", "to fail by its timeout", START, |pod| has_condition(pod, HANGS, "False")).await?;
        let begin = Instant::now();
        let mut runs = 0;
        while begin.elapsed() < time {
            let mut seen = count(&space).await?;
            // One may just have been killed, and the next one been started, before it is reaped.
            ensure!(seen.processes - seen.zombies <= BASELINE + 2, "after {:?}: {seen:?}", begin.elapsed());
            for _ in 0..3 {
                if seen.zombies > 0 {
                    seen = count(&space).await?;
                }
            }
            ensure!(seen.zombies == 0, "after {:?}: {seen:?}", begin.elapsed());
            runs += 1;
            tokio::time::sleep(Duration::from_millis(300)).await; // between two looks, not a wait for something
        }
        println!("{runs} counts in {:?}, none above {} processes", begin.elapsed(), BASELINE + 2);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_commands_leave_nothing_under_kubelet() -> Result<()> {
    hanging_commands_leave_nothing("node-1", Duration::from_secs(5)).await
}

/// The whole of fault F17: `cargo test -p probelet-tests --test e2e_lifecycle -- --ignored hanging`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak test of two minutes"]
async fn hanging_commands_leave_nothing_for_two_minutes() -> Result<()> {
    hanging_commands_leave_nothing("virtual-push", Duration::from_secs(120)).await
}
