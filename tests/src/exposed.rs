//! Pods whose marks nothing protects: injected as the webhook does it, in a namespace where no shield stands.
//!
//! The shield and the sidecars' settings go with the namespace's opt-in label. So the Pod is sent through the webhook of an
//! opted-in namespace by a dry run, and what comes back is created in a namespace that is not opted in.

use crate::image::SIDECAR;
use crate::marker;
use crate::pod::{Builder, app, has_container};
use crate::space::{self, Labels, Space};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{ObjectMeta, PostParams};
use probelet_protocol::{environment, name};
use serde_json::{Value, json};

/// A namespace for such Pods.
#[derive(Clone)]
pub struct Exposed {
    opted: Space,
    space: Space,
}

/// Runs `test` with a namespace of its own for exposed Pods; those labelled `app=web` have these probes.
pub async fn with<Test, Done>(purpose: &'static str, probes: Vec<Value>, test: Test) -> Result<()>
where
    Test: FnOnce(Exposed) -> Done + Send + 'static,
    Done: Future<Output = Result<()>> + Send + 'static,
{
    space::with(purpose, Labels::opted_in(), move |opted| async move {
        marker::create(&opted, "health", "web", &probes).await?;
        marker::settled(&opted, &app("sample", "none").on_a_virtual_node().labelled("app", "web").build()).await?;
        space::with(purpose, Labels::none(), move |space| async move {
            bind(&space, "probelet-sidecar").await?;
            bind(&space, "probelet-sidecar-watch").await?;
            test(Exposed { opted, space }).await
        })
        .await
    })
    .await
}

/// Binds a ClusterRole to every ServiceAccount of a namespace.
pub async fn bind(space: &Space, role: &str) -> Result<()> {
    let group = format!("system:serviceaccounts:{}", space.name());
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": format!("test-{role}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    }))?;
    space.create_object(&binding).await?;
    Ok(())
}

impl Exposed {
    /// Where the Pods are.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Creates the Pod with its sidecar.
    pub async fn create(&self, builder: Builder) -> Result<Pod> {
        let mut pod = self.injected(&builder.labelled("app", "web").build()).await?;
        let metadata = std::mem::take(&mut pod.metadata);
        pod.metadata = ObjectMeta {
            name: metadata.name,
            labels: metadata.labels,
            annotations: metadata.annotations,
            ..ObjectMeta::default()
        };
        pod.status = None;
        let image = self.space.cluster().image(SIDECAR)?;
        let spec = pod.spec.as_mut().context("a Pod without spec")?;
        let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
        for container in containers {
            if [name::SIDECAR_CONTAINER, name::AGENT_CONTAINER].contains(&container.name.as_str()) {
                container.image = Some(image.clone());
                container.env.iter_mut().for_each(|list| list.retain(|entry| entry.name != environment::SHIELD));
            }
        }
        self.space.create_object(&pod).await
    }

    async fn injected(&self, pod: &Pod) -> Result<Pod> {
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let answer = self.opted.api::<Pod>().create(&dry, pod).await.context("the dry run was refused")?;
        ensure!(has_container(&answer, name::SIDECAR_CONTAINER), "the webhook injected no sidecar");
        Ok(answer)
    }
}
