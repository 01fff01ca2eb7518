//! The reporter against an API server that misbehaves by script.

#[path = "reporter/app.rs"]
mod app;
#[path = "reporter/sidecar.rs"]
mod sidecar;
#[path = "reporter/status.rs"]
mod status;
#[path = "reporter/stub.rs"]
mod stub;

use app::{App, Folder};
use probelet_sidecar::reporter::End;
use serde_json::json;
use sidecar::{Options, Sidecar, plan_text, policies};
use std::time::{Duration, Instant};
use stub::{Reply, Stub, label, pod};

const RBAC: &str = "pods \"game-0\" is forbidden: User \"u\" cannot patch resource \"pods/status\" in API group \"\"";
const UID: &str = "Pod \"game-0\" is invalid: metadata.uid: Invalid value: \"u1\": field is immutable";

#[tokio::test]
async fn one_transition_is_one_patch() {
    let mut app = App::start().await;
    let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
    let folder = Folder::new(&stub.ca, "token-1");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options::default());
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    app.fail();
    stub.until("down", |pod| label(pod, "up") == Some("no")).await;
    app.heal().await;
    stub.until("up again", |pod| label(pod, "up") == Some("yes")).await;
    let writes: Vec<_> = stub.seen().into_iter().filter(|seen| seen.body["status"].is_object()).collect();
    assert_eq!(writes.len(), 3, "{writes:#?}");
    let first = &writes[0];
    assert_eq!(first.line, "PATCH /api/v1/namespaces/games/pods/game-0/status?fieldManager=probelet HTTP/1.1");
    for header in [
        "content-type: application/strategic-merge-patch+json",
        "authorization: Bearer token-1",
        "user-agent: probelet/test",
    ] {
        assert!(first.head.contains(header), "{header} in {}", first.head);
    }
    assert_eq!(first.body["metadata"], json!({"uid": "u1", "labels": {"up": "yes"}}));
    assert_eq!(first.body["status"]["conditions"][0]["status"], "True");
    assert!(stub.seen().iter().all(|seen| seen.connection == 0), "more than one connection");
}

#[tokio::test]
async fn nothing_is_sent_after_a_restart_that_already_holds() {
    let app = App::start().await;
    let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
    let folder = Folder::new(&stub.ca, "t");
    let mut first = Sidecar::start(&stub, &folder, app.port, Options::default());
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    first.stop();
    assert_eq!(first.end().await, End::Stopped);
    let (before, marked) = (stub.seen().len(), stub.pod());
    let _second = Sidecar::start(&stub, &folder, app.port, Options { observe_first: true, ..Default::default() });
    let seen = stub.requests(before + 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((stub.seen().len(), stub.pod()), (before + 1, marked));
    assert_eq!(seen[before].body, json!({"metadata": {"uid": "u1"}}));
}

#[tokio::test]
async fn retry_after_is_obeyed_and_the_newest_state_wins() {
    let mut app = App::start().await;
    let stub = Stub::start(pod(), |number, _| match number {
        0 => Reply::Status(429, "later", "retry-after: 1\r\n"),
        _ => Reply::Serve,
    })
    .await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options::default());
    stub.requests(1).await;
    app.fail();
    stub.until("down", |pod| label(pod, "up") == Some("no")).await;
    let seen = stub.seen();
    assert_eq!(seen.len(), 2, "{seen:#?}");
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));
    assert_eq!(seen[1].body["metadata"]["labels"]["up"], "no");
}

#[tokio::test]
async fn faults_of_the_server_are_outlasted_and_nothing_is_sent_twice() {
    let app = App::start().await;
    let stub = Stub::start(pod(), |number, _| match number {
        0 => Reply::Status(500, "etcd is away", ""),
        1 => Reply::Reset,
        2 => Reply::Status(403, RBAC, ""),
        _ => Reply::Serve,
    })
    .await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options::default());
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let seen = stub.seen();
    assert!((4..=5).contains(&seen.len()), "{seen:#?}");
}

#[tokio::test]
async fn a_rotated_token_is_taken_at_once() {
    let mut app = App::start().await;
    let stub =
        Stub::start(pod(), |_, seen| match seen.head.contains("Bearer old") && seen.body.to_string().contains("no") {
            true => Reply::Status(401, "Unauthorized", ""),
            false => Reply::Serve,
        })
        .await;
    let folder = Folder::new(&stub.ca, "old");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options::default());
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    folder.write("token", "new");
    app.fail();
    stub.until("down", |pod| label(pod, "up") == Some("no")).await;
    assert!(stub.seen().last().expect("requests").head.contains("Bearer new"));
}

#[tokio::test]
async fn a_rotated_ca_is_taken_without_a_restart() {
    let app = App::start().await;
    let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
    let other = Stub::start(pod(), |_, _| Reply::Serve).await;
    let folder = Folder::new(&other.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options::default());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(stub.seen().len(), 0, "a server of another CA was trusted");
    folder.write("ca.crt", &stub.ca);
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
}

#[tokio::test]
async fn a_dead_connection_is_replaced_within_five_seconds_and_resumes_its_session() {
    let mut app = App::start().await;
    let stub = Stub::start(pod(), |_, seen| match seen.connection == 0 && seen.body.to_string().contains("\"no\"") {
        true => Reply::Reset,
        false => Reply::Serve,
    })
    .await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options::default());
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    app.fail();
    let start = Instant::now();
    stub.until("down", |pod| label(pod, "up") == Some("no")).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let last = stub.seen().pop().expect("requests");
    assert!(last.is_resumed && last.connection == 1, "{last:?}");
}

/// What the server's kernel has acknowledged is the server's: a second one would be one more for who is slow already.
#[tokio::test]
async fn a_slow_server_is_asked_once() {
    let mut app = App::start().await;
    let stub = Stub::start(pod(), |_, seen| match seen.body.to_string().contains("\"no\"") {
        true => Reply::Late(Duration::from_secs(5)),
        false => Reply::Serve,
    })
    .await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options { has_shield: true, ..Default::default() });
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    app.fail();
    stub.until("down", |pod| label(pod, "up") == Some("no")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let seen = stub.seen();
    assert!(seen.len() == 2 && seen[1].connection == 0, "{seen:#?}");
}

/// A server that acknowledges and never answers: the process is stopped, or what is in between has forgotten the connection.
#[tokio::test]
async fn a_silent_server_is_asked_again_after_ten_seconds_on_a_new_connection() {
    let mut app = App::start().await;
    let stub = Stub::start(pod(), |_, seen| match seen.connection == 0 && seen.body.to_string().contains("\"no\"") {
        true => Reply::Hang,
        false => Reply::Serve,
    })
    .await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options { has_shield: true, ..Default::default() });
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    app.fail();
    let start = Instant::now();
    stub.until("down", |pod| label(pod, "up") == Some("no")).await;
    let took = start.elapsed();
    assert!(took > Duration::from_secs(10) && took < Duration::from_secs(13), "{took:?}");
    assert_eq!(stub.seen().last().expect("requests").connection, 1);
}

#[tokio::test]
async fn a_replaced_or_deleted_pod_ends_the_sidecar_quietly() {
    for (status, message) in [(422, UID), (404, "pods \"game-0\" not found")] {
        let app = App::start().await;
        let stub = Stub::start(pod(), move |_, _| Reply::Status(status, message, "")).await;
        let folder = Folder::new(&stub.ca, "t");
        let sidecar = Sidecar::start(&stub, &folder, app.port, Options::default());
        assert_eq!(sidecar.end().await, End::Gone);
        assert_eq!(stub.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_label_does_not_hold_back_the_condition() {
    let app = App::start().await;
    let stub = Stub::start(pod(), |_, seen| match seen.body["metadata"]["labels"].is_object() {
        true => Reply::Status(422, "Pod \"game-0\" is invalid: metadata.labels: Invalid value: \"up\"", ""),
        false => Reply::Serve,
    })
    .await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options::default());
    stub.until("condition", |pod| pod["status"]["conditions"][0]["status"] == "True").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = stub.seen().iter().filter(|seen| seen.body["metadata"]["labels"].is_object()).count();
    assert_eq!(refused, 2, "once with the condition, once alone");
}

#[tokio::test]
async fn sigterm_ends_it_at_once_even_while_the_server_is_silent() {
    for is_native in [false, true] {
        let app = App::start().await;
        let stub = Stub::start(pod(), |_, _| Reply::Hang).await;
        let folder = Folder::new(&stub.ca, "t");
        let mut sidecar = Sidecar::start(&stub, &folder, app.port, Options { is_native, ..Default::default() });
        stub.requests(1).await;
        let start = Instant::now();
        sidecar.stop();
        assert_eq!(sidecar.end().await, End::Stopped);
        // A native one tries for 900 ms to get its last state through.
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_pod_that_is_over_ends_the_sidecar() {
    for phase in ["Failed", "Succeeded"] {
        let app = App::start().await;
        let mut over = pod();
        over["status"]["phase"] = json!(phase);
        let stub = Stub::start(over, |_, _| Reply::Serve).await;
        let folder = Folder::new(&stub.ca, "t");
        let sidecar = Sidecar::start(&stub, &folder, app.port, Options::default());
        assert_eq!(sidecar.end().await, End::Done, "{phase}");
    }
}

#[tokio::test]
async fn a_job_s_sidecar_ends_when_the_others_have() {
    let mut app = App::start().await;
    let mut job = pod();
    job["spec"]["restartPolicy"] = json!("Never");
    let stub = Stub::start(job, |_, _| Reply::Serve).await;
    let folder = Folder::new(&stub.ca, "t");
    let sidecar = Sidecar::start(&stub, &folder, app.port, Options::default());
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    app.fail();
    stub.until("down", |pod| label(pod, "up") == Some("no")).await;
    stub.edit(|pod| {
        pod["status"]["containerStatuses"] =
            json!([{"name": "game", "containerID": "x://1", "state": {"terminated": {"exitCode": 0}}}]);
    });
    let start = Instant::now();
    assert_eq!(sidecar.end().await, End::Done);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// A virtual node tells late that a container runs; whoever reads the message is not told for good that it does not.
#[tokio::test]
async fn a_container_called_stopped_by_an_old_status_is_looked_at_again() {
    let mut app = App::start().await;
    app.fail();
    let mut waiting = pod();
    waiting["status"]["containerStatuses"] = json!([{"name": "game", "containerID": "", "state": {"waiting": {}}}]);
    let stub = Stub::start(waiting, |_, _| Reply::Serve).await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options { has_shield: true, ..Default::default() });
    stub.requests(1).await;
    stub.edit(|pod| {
        let running = json!({"running": {"startedAt": "2026-01-02T03:04:05Z"}});
        pod["status"]["containerStatuses"] = json!([{"name": "game", "containerID": "x://1", "state": running}]);
    });
    let seen = stub.requests(2).await;
    assert_eq!(seen[1].body, json!({"metadata": {"uid": "u1"}}), "a look, no write");
    // A message alone is written 10 s after the write before it.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(stub.seen().len(), 2, "something was written for the old status, or it looks on: {:#?}", stub.seen());
    assert_eq!(stub.pod()["status"]["conditions"][0]["reason"], "ProbeFailed");
}

#[tokio::test]
async fn a_watched_overwrite_is_healed_within_fifty_milliseconds() {
    let app = App::start().await;
    let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options { has_watch: true, ..Default::default() });
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    // The best of three, all of which are healed at once: a busy machine may be late, a timer always would.
    let mut took = Vec::new();
    for _ in 0..3 {
        stub.edit(|pod| {
            pod["metadata"]["labels"] = json!({});
            pod["status"]["conditions"] = json!([]);
        });
        let start = Instant::now();
        let is_whole = |pod: &serde_json::Value| {
            label(pod, "up") == Some("yes") && pod["status"]["conditions"][0]["status"] == "True"
        };
        stub.until("healed", is_whole).await;
        took.push(start.elapsed());
    }
    assert!(took.iter().min() < Some(&Duration::from_millis(50)), "{took:?}");
}

#[tokio::test]
async fn a_war_is_told_by_one_event() {
    let app = App::start().await;
    let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
    let folder = Folder::new(&stub.ca, "t");
    let options = Options { has_watch: true, has_events: true, ..Default::default() };
    let _sidecar = Sidecar::start(&stub, &folder, app.port, options);
    let events = || {
        let posted = stub.seen().into_iter().filter(|seen| seen.line.starts_with("POST "));
        posted.map(|seen| seen.body).collect::<Vec<_>>()
    };
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    for _ in 0..3 {
        stub.edit(|pod| pod["metadata"]["labels"] = json!({}));
        stub.until("healed", |pod| label(pod, "up") == Some("yes")).await;
    }
    // The transition's, and the war's: the third heal was the last at once.
    let start = Instant::now();
    while events().len() < 2 {
        assert!(start.elapsed() < Duration::from_secs(10), "{:#?}", stub.seen());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stub.edit(|pod| pod["metadata"]["labels"] = json!({}));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(label(&stub.pod(), "up"), None, "it heals at once in a war");
    let events = events();
    let told: Vec<_> = events.iter().map(|event| (event["type"].as_str(), event["reason"].as_str())).collect();
    assert_eq!(told, [(Some("Normal"), Some("ProbeSucceeded")), (Some("Warning"), Some("MarksOverwritten"))]);
    assert_eq!(events[1]["involvedObject"]["uid"], "u1");
}

#[tokio::test]
async fn a_live_edit_of_the_plan_is_taken_up_and_takes_old_marks_along() {
    let app = App::start().await;
    let stub = Stub::start(pod(), |_, _| Reply::Serve).await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options { has_watch: true, ..Default::default() });
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    let since = stub.pod()["status"]["conditions"][0]["lastTransitionTime"].clone();
    stub.edit(|pod| {
        let policies = policies().replace("\"up\":\"yes\"", "\"alive\":\"yes\"");
        pod["metadata"]["annotations"] =
            json!({"kruise.io/podprobe": plan_text(app.port), "probelet.io/marker-policies": policies});
    });
    stub.until("renamed", |pod| label(pod, "alive") == Some("yes") && label(pod, "up").is_none()).await;
    assert_eq!(stub.pod()["status"]["conditions"][0]["lastTransitionTime"], since);
    stub.edit(|pod| pod["metadata"]["annotations"] = json!({"kruise.io/podprobe": "{broken"}));
    // All of it gone is an overwrite; only what may be written being left is an edit.
    stub.edit(|pod| pod["metadata"]["annotations"] = json!({}));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(label(&stub.pod(), "alive"), Some("yes"));
    stub.edit(|pod| pod["metadata"]["annotations"] = json!({"probelet.io/writes": "c:x.io/Up,l:alive,l:no,l:up"}));
    stub.until("gone", |pod| label(pod, "alive").is_none() && pod["status"]["conditions"][0].is_null()).await;
}

#[tokio::test]
async fn a_watch_that_is_forbidden_does_not_stop_marking() {
    let app = App::start().await;
    let stub = Stub::start(pod(), |_, seen| match seen.line.starts_with("GET") {
        true => Reply::Status(403, "pods is forbidden", ""),
        false => Reply::Serve,
    })
    .await;
    let folder = Folder::new(&stub.ca, "t");
    let _sidecar = Sidecar::start(&stub, &folder, app.port, Options { has_watch: true, ..Default::default() });
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
}
