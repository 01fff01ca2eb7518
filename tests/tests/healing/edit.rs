//! Live edits of the plan, in both modes: what is not touched keeps its state.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::api::LogParams;
use probelet_protocol::name::SIDECAR_CONTAINER;
use probelet_tests::bench::heal::case::Mode;
use probelet_tests::exposed;
use probelet_tests::history::{self, CONDITION};
use probelet_tests::image::TEST_APP;
use probelet_tests::pod::{CONTAINER, app, has_condition, has_container};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::{exec, marker};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const START: Duration = Duration::from_secs(90);

fn other(name: &str, handler: Value) -> Value {
    marker::probe(name, handler, &format!("x.example/{name}"), &format!("x.example/{name}"))
}

fn condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == CONDITION)
}

/// Seconds since 1970 at which the untouched probe's state began.
fn since(pod: &Pod) -> Result<i64> {
    let time =
        condition(pod).and_then(|found| found.last_transition_time.as_ref()).context("a condition without time")?;
    Ok(time.0.as_second())
}

async fn log(space: &Space) -> Result<String> {
    let sidecar = LogParams { container: Some(SIDECAR_CONTAINER.into()), ..LogParams::default() };
    Ok(space.api::<Pod>().logs("web", &sidecar).await?)
}

async fn an_edit_keeps_the_state_of_the_rest(mode: Mode) -> Result<()> {
    space::with("edited", Labels::opted_in(), move |space| async move {
        exposed::bind(&space, "probelet-sidecar-watch").await?;
        let tcp = other("tcp", json!({"tcpSocket": {"port": "tcp"}}));
        marker::create(&space, "health", "web", &[history::probe(), tcp]).await?;
        let image = space.cluster().image(TEST_APP)?;
        let web = app("web", &image).on("virtual-push").labelled("app", "web");
        let web = web.annotated("probelet.io/observe", mode.word()).build();
        marker::settled(&space, &web).await?;
        let created = space.create_object(&web).await?;
        ensure!(has_container(&created, SIDECAR_CONTAINER), "no sidecar was injected");
        let both = |pod: &Pod| has_condition(pod, CONDITION, "True") && has_condition(pod, "x.example/tcp", "True");
        space.wait_for_pod("web", "to succeed by both probes", START, both).await?;
        exec::switch(&space.api(), "web", CONTAINER, "fail").await?;
        let failing =
            |pod: &Pod| has_condition(pod, CONDITION, "False") && has_condition(pod, "x.example/tcp", "False");
        let before = space.wait_for_pod("web", "to fail by both probes", START, failing).await?;
        // Times are whole seconds: a state that begins anew has to show.
        let next = UNIX_EPOCH + Duration::from_secs(u64::try_from(since(&before)?)? + 2);
        tokio::time::sleep(next.duration_since(SystemTime::now()).unwrap_or_default()).await;

        let root = other("root", json!({"httpGet": {"port": "http", "path": "/"}}));
        marker::edit(&space, "health", &[history::probe(), root]).await?;
        let edited = |pod: &Pod| {
            let labels = pod.metadata.labels.iter().flatten();
            has_condition(pod, "x.example/root", "True")
                && !has_condition(pod, "x.example/tcp", "False")
                && !labels.into_iter().any(|(key, _)| key == "x.example/tcp")
        };
        let after = space.wait_for_pod("web", "to carry the new marks and not the old ones", START, edited).await?;
        ensure!(condition(&before) == condition(&after), "{:?}\n{:?}", condition(&before), condition(&after));
        let log = log(&space).await?;
        let transitions = log.lines().filter(|line| line.contains("transition") && line.contains("probe=\"healthy\""));
        ensure!(transitions.count() == 2, "up, and down, and nothing anew after the edit:\n{log}");
        ensure!(log.contains("the plan was edited"), "{log}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_edit_keeps_the_state_of_the_rest_in_patch_only_mode() -> Result<()> {
    an_edit_keeps_the_state_of_the_rest(Mode::Patch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_edit_keeps_the_state_of_the_rest_in_watch_mode() -> Result<()> {
    an_edit_keeps_the_state_of_the_rest(Mode::Watch).await
}
