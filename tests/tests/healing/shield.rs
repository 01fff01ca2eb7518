//! With the shield, by the same Pods; and marks of one kind only.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use probelet_protocol::name::SIDECAR_CONTAINER;
use probelet_tests::bench::heal::case::{Case, Mode, Style};
use probelet_tests::bench::heal::tally;
use probelet_tests::history::{self, CONDITION, History, LABEL, Marks};
use probelet_tests::image::TEST_APP;
use probelet_tests::pod::{CONTAINER, app, has_condition};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::{exec, marker};
use std::time::Duration;

const START: Duration = Duration::from_secs(90);
const FOLLOW: Duration = Duration::from_secs(15);
/// Longer than the 5 s of a poll.
const OVERWRITTEN: Duration = Duration::from_secs(7);

async fn has_shield(space: &Space) -> Result<bool> {
    let path = "/apis/admissionregistration.k8s.io";
    let request = http::Request::get(path).body(Vec::new())?;
    let group: serde_json::Value = space.cluster().client().request(request).await?;
    for version in group["versions"].as_array().into_iter().flatten() {
        let version = version["groupVersion"].as_str().unwrap_or_default();
        let path = format!("/apis/{version}/mutatingadmissionpolicies/probelet-shield");
        let request = http::Request::get(path).body(Vec::new())?;
        if space.cluster().client().request::<serde_json::Value>(request).await.is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ever_lost_where_the_shield_stands() -> Result<()> {
    space::with("shielded", Labels::opted_in(), |space| async move {
        if !has_shield(&space).await? {
            println!("skipped: this API server has no MutatingAdmissionPolicy");
            return Ok(());
        }
        marker::create(&space, "health", "web", &[history::probe()]).await?;
        let image = space.cluster().image(TEST_APP)?;
        let mut history = History::start(space.cluster().client(), space.name());
        let cases = [Style::Push, Style::Poll].map(|style| Case { style, mode: Mode::Patch });
        marker::settled(&space, &app("web", &image).on("virtual-push").labelled("app", "web").build()).await?;
        for case in cases {
            space.create_object(&case.pod(&case.name(), &image).labelled("app", "web").build()).await?;
        }
        for case in cases {
            let ready = |pod: &Pod| history::marks(pod) == Marks::Whole(true) && probelet_tests::pod::is_ready(pod);
            space.wait_for_pod(&case.name(), "to be ready and marked", START, ready).await?;
        }
        let mut marked = Vec::new();
        for case in cases {
            let before = history.len(&case.name());
            exec::switch(&space.api(), &case.name(), CONTAINER, "fail").await?;
            marked.push((case.name(), history.until(&case.name(), before, FOLLOW, Marks::Whole(false)).await?));
        }
        for (pod, (index, entry)) in marked {
            let lost = history.find(&pod, index + 1, entry.at + OVERWRITTEN, |_| true).await?;
            ensure!(lost.is_none(), "{pod}: {:?}", history.since(&pod, 0));
            // No mark was ever gone again once it was there, either.
            let seen: Vec<_> = history.since(&pod, 0).into_iter().map(|entry| entry.marks).collect();
            let first = seen.iter().position(|marks| *marks != Marks::Broken).unwrap_or_default();
            ensure!(seen[first..] == [Marks::Whole(true), Marks::Whole(false)], "{pod}: {seen:?}");
            let tally = tally::of(&space, &pod).await?;
            ensure!(tally["probelet_heals_total"] == 0 && tally["probelet_looks_total"] == 0, "{tally:#?}");
            // The provider's own change got through all the same.
            let pod = space.api::<Pod>().get(&pod).await?;
            ensure!(has_condition(&pod, "Ready", "False"), "{pod:#?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_of_conditions_only_leave_metadata_alone() -> Result<()> {
    space::with("conditions", Labels::opted_in(), |space| async move {
        marker::create(&space, "health", "web", &[history::probe()]).await?;
        let image = space.cluster().image(TEST_APP)?;
        let case = Case { style: Style::Push, mode: Mode::Patch };
        let pod = case.pod("web", &image).labelled("app", "web").annotated("probelet.io/marks", "conditions").build();
        marker::settled(&space, &pod).await?;
        let created = space.create_object(&pod).await?;
        ensure!(probelet_tests::pod::has_container(&created, SIDECAR_CONTAINER), "no sidecar was injected");
        for (order, status) in [("heal", "True"), ("fail", "False")] {
            if order == "fail" {
                exec::switch(&space.api(), "web", CONTAINER, order).await?;
            }
            let marked = |pod: &Pod| has_condition(pod, CONDITION, status);
            let found = space.wait_for_pod("web", "to carry the condition", START, marked).await?;
            ensure!(found.labels() == created.labels(), "{:?}", found.labels());
            let keys = |pod: &Pod| pod.annotations().keys().cloned().collect::<Vec<_>>();
            ensure!(
                keys(&found) == keys(&created) && !keys(&found).iter().any(|key| key.starts_with(LABEL)),
                "{found:?}"
            );
        }
        // One for each state: nothing else was written.
        let tally = tally::of(&space, "web").await?;
        ensure!(tally["probelet_patches_total"] == 2, "{tally:#?}");
        Ok(())
    })
    .await
}
