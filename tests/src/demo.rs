//! The story that `make demo` tells: a server on a virtual node, its health switched, its labels followed.

mod flip;
mod story;
mod view;

use crate::cluster::Cluster;
use crate::image::TEST_APP;
use crate::{binary, work_tree};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::time::Duration;
use story::Story;
use view::View;

const NAMESPACE: &str = "arena";
/// The label that follows the server's health.
const LABEL: &str = "games.example/healthy";
/// The condition that follows the server's health.
const CONDITION: &str = "games.example/Healthy";
/// How long a label may take to follow before the demo has failed.
const DEADLINE: Duration = Duration::from_secs(15);
/// How long a new Pod may take until it is marked.
const START: Duration = Duration::from_secs(120);
const FLIPS: usize = 4;

/// Tells the whole story on the cluster under test; an error where the label did not follow.
pub async fn run() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let story = Story::new(binary::program("kubectl")?, cluster.kubeconfig().to_owned(), cluster.lab().is_some());
    story.title("A namespace that opts in, a PodProbeMarker, and a game server on a virtual node");
    let manifest = manifest(&cluster)?;
    story.clear(NAMESPACE)?;
    story.apply(&manifest)?;

    let mut view = View::start(cluster.client(), NAMESPACE);
    story.say("waiting for the Pod to start and for its first mark");
    let first = view.marked(None, "true", START).await.with_context(|| story.diagnose(NAMESPACE))?;
    story.say(&format!("{}: {} containers, one of them injected; {}", first.pod, first.containers, first.marks()));
    let _log = story.follow(NAMESPACE, &first.pod)?;

    story.title("The server's health is switched; label and condition follow");
    let mut latencies = Vec::new();
    for flip in 0..FLIPS {
        let latency = flip::run(&story, &mut view, NAMESPACE, &first.pod, flip % 2 == 1)
            .await
            .with_context(|| story.diagnose(NAMESPACE))?;
        latencies.push(latency);
    }
    latencies.sort_unstable();
    let worst = latencies.last().copied().unwrap_or_default();
    let from = if story.is_lab { "switch" } else { "the order to switch" };
    story.say(&format!(
        "from {from} to label: median {:.0} ms, worst {:.0} ms, of which up to 100 ms is the wait for the next probe",
        latencies[latencies.len() / 2].as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3
    ));
    story.next_steps(NAMESPACE, &first.pod);
    Ok(())
}

/// The demo's objects, with the image that this cluster has.
fn manifest(cluster: &Cluster) -> Result<PathBuf> {
    let source = work_tree().join("tests/demo/arena.yaml");
    let text = std::fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let path = std::env::temp_dir().join(format!("probelet-demo-{}.yaml", std::process::id()));
    std::fs::write(&path, text.replace("TEST_APP_IMAGE", &cluster.image(TEST_APP)?))?;
    Ok(path)
}
