//! What only the Pod's status tells: where nobody asked for it nothing would ever happen.

use super::app::{App, Folder};
use super::sidecar::{Options, Sidecar};
use super::stub::{Reply, Stub, label, pod};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn game(is_started: bool) -> Value {
    let running = json!({"running": {"startedAt": "2026-01-02T03:04:05Z"}});
    json!([{"name": "game", "containerID": "x://1", "started": is_started, "ready": false, "state": running}])
}

/// A probe that is held back writes nothing, so nothing is seen unless it is looked for.
#[tokio::test]
async fn a_startup_probe_that_passes_is_noticed_by_a_sidecar_that_has_written_nothing() {
    for (has_watch, has_shield) in [(false, false), (false, true), (true, false)] {
        let app = App::start().await;
        let mut starting = pod();
        starting["status"]["containerStatuses"] = game(false);
        let stub = Stub::start(starting, |_, _| Reply::Serve).await;
        let folder = Folder::new(&stub.ca, "t");
        let options = Options { has_watch, has_shield, has_startup_probe: true, ..Default::default() };
        let _sidecar = Sidecar::start(&stub, &folder, app.port, options);
        stub.requests(1).await;
        assert_eq!(label(&stub.pod(), "up"), None, "probed before the startup probe has passed");
        stub.edit(|pod| pod["status"]["containerStatuses"] = game(true));
        stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    }
}

/// The watch ends for good: what it would have told is looked for again.
#[tokio::test]
async fn a_startup_probe_that_passes_is_noticed_after_the_watch_is_lost() {
    let app = App::start().await;
    let mut starting = pod();
    starting["status"]["containerStatuses"] = game(false);
    let stub = Stub::start(starting, |number, seen| match (seen.line.starts_with("GET"), number) {
        (true, 0..=1) => Reply::Short,
        (true, _) => Reply::Status(403, "pods is forbidden", ""),
        (false, _) => Reply::Serve,
    })
    .await;
    let folder = Folder::new(&stub.ca, "t");
    let options = Options { has_watch: true, has_shield: true, has_startup_probe: true, ..Default::default() };
    let _sidecar = Sidecar::start(&stub, &folder, app.port, options);
    stub.requests(2).await;
    stub.edit(|pod| pod["status"]["containerStatuses"] = game(true));
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
}

#[tokio::test]
async fn a_watch_that_is_ended_at_once_is_asked_for_less_and_less_often() {
    let app = App::start().await;
    let stub =
        Stub::start(pod(), |_, seen| if seen.line.starts_with("GET") { Reply::Short } else { Reply::Serve }).await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options { has_watch: true, ..Default::default() });
    tokio::time::sleep(Duration::from_secs(6)).await;
    let watches = stub.seen().iter().filter(|seen| seen.line.starts_with("GET")).count();
    assert!((2..=7).contains(&watches), "{watches} watches in 6 s");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_taken_back_although_the_state_is_the_old_one_again() {
    let mut app = App::start().await;
    let is_lost = |seen: &super::stub::Seen| seen.body["metadata"]["labels"]["up"] == "no";
    let stub = Stub::start(pod(), move |_, seen| if is_lost(seen) { Reply::Lost } else { Reply::Serve }).await;
    let folder = Folder::new(&stub.ca, "t");
    let options = Options { has_shield: true, ..Default::default() };
    let _sidecar = Sidecar::start(&stub, &folder, app.port, options);
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    app.fail();
    stub.until("down", |pod| label(pod, "up") == Some("no")).await;
    app.heal().await;
    stub.until("up again", |pod| label(pod, "up") == Some("yes")).await;
}

/// A sidecar that was restarted looks first. Nothing is in a look that could be refused for itself.
#[tokio::test]
async fn a_look_that_is_refused_is_tried_again_less_and_less_often() {
    let app = App::start().await;
    let start = Instant::now();
    let stub = Stub::start(pod(), move |_, _| match start.elapsed() < Duration::from_secs(3) {
        true => Reply::Status(403, "pods \"game-0\" is forbidden: a policy of somebody else", ""),
        false => Reply::Serve,
    })
    .await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options { observe_first: true, ..Default::default() });
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    let seen = stub.seen();
    assert!((3..=10).contains(&seen.len()), "{seen:#?}");
    assert!(seen[..seen.len() - 2].iter().all(|seen| seen.body == json!({"metadata": {"uid": "u1"}})));
}
