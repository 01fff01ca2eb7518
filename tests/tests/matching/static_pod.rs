//! A Pod that kubelet runs from a file: the API has only its image, which nobody can change.

use super::{probe, virtual_pod};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use probelet_protocol::name;
use probelet_tests::image::TEST_APP;
use probelet_tests::lab::node::{ORDINARY, STATIC_PODS};
use probelet_tests::pod::{app, has_container, is_ready};
use probelet_tests::space::{self, Labels};
use probelet_tests::{marker, wait};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_static_pod_is_left_as_it_is() -> Result<()> {
    space::with("static", Labels::opted_in(), |space| async move {
        let Some(lab) = space.cluster().lab() else {
            println!("skipped: only the lab's kubelet can be given a file");
            return Ok(());
        };
        marker::create(&space, "web", "web", &[probe("web")]).await?;
        marker::settled(&space, &serde_json::from_value(virtual_pod())?).await?;
        let web = app("web", &space.cluster().image(TEST_APP)?);
        let mut pod = web.labelled("app", "web").labelled(name::INJECT_LABEL, name::INJECT_ENABLED).build();
        pod.metadata.namespace = Some(space.name().to_owned());
        let file = lab.layout().path(STATIC_PODS).join(format!("{}.json", space.name()));
        std::fs::write(&file, serde_json::to_string(&pod)?)?;
        let mirror = format!("web-{ORDINARY}");
        let seen = space.wait_for_pod(&mirror, "to run", LIMIT, is_ready).await;
        std::fs::remove_file(&file)?;
        let seen = seen?;
        let annotations = seen.metadata.annotations.clone().unwrap_or_default();
        ensure!(annotations.contains_key("kubernetes.io/config.mirror"), "{annotations:?}");
        ensure!(!has_container(&seen, name::SIDECAR_CONTAINER), "it was injected");
        ensure!(!annotations.keys().any(|key| key.contains("probelet") || key.contains("kruise")), "{annotations:?}");
        wait::until_gone(&space.api::<Pod>(), &mirror, LIMIT).await
    })
    .await
}
