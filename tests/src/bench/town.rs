//! An API server of its own with namespaces, markers and Pods for the webhook's benches.

use crate::marker;
use crate::plane::Plane;
use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// The namespace of the Pods that are counted.
pub const NAMESPACE: &str = "games";
/// The marker that selects all of them.
pub const MARKER: &str = "minecraft";
/// So many Pods are created at once.
const AT_ONCE: usize = 16;

/// The API server, and its administrator's client.
pub struct Town {
    /// Where it runs.
    pub plane: Plane,
    /// The administrator.
    pub client: Client,
}

// === impl Town ===

impl Town {
    /// An API server with the chart's objects, a virtual node, and [`NAMESPACE`] with [`MARKER`].
    ///
    /// # Errors
    /// Where it does not come up.
    pub async fn found() -> Result<Self> {
        let plane = Plane::start(None).await?;
        plane.install()?;
        let client = plane.client().await?;
        let town = Self { plane, client };
        let node = json!({"metadata": {"name": "virtual", "labels": {"type": "virtual-kubelet"}}});
        let params = PostParams::default();
        Api::<Node>::all(town.client.clone()).create(&params, &serde_json::from_value(node)?).await?;
        town.namespace(NAMESPACE, json!({"probelet.io/inject": "enabled"})).await?;
        town.marker(NAMESPACE, MARKER, 1).await?;
        Ok(town)
    }

    /// Makes a namespace with these labels.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn namespace(&self, name: &str, labels: Value) -> Result<()> {
        let object = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Makes the marker, or edits it: its probe's period in seconds is `period`.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn marker(&self, namespace: &str, name: &str, period: usize) -> Result<()> {
        let spec = json!({
            "selector": {"matchLabels": {"app": name}},
            "probes": [{
                "name": "healthy", "containerName": "game", "podConditionType": "game.example/healthy",
                "probe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": period},
                "markerPolicy": [
                    {"state": "Succeeded", "labels": {"game.example/ready": "true"}},
                    {"state": "Failed", "labels": {"game.example/ready": "false"}},
                ],
            }],
        });
        let resource = marker::resource();
        let object = json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": spec});
        let api = Api::<marker::PodProbeMarker>::namespaced_with(self.client.clone(), namespace, &resource);
        api.patch(name, &PatchParams::apply("bench"), &Patch::Apply(object)).await?;
        Ok(())
    }

    /// Makes that many Pods of a marker for the virtual node, as fast as the API server takes them from 16 clients.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn pods(&self, namespace: &str, marker: &str, count: usize) -> Result<()> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        stream::iter(0..count)
            .map(|index| {
                let api = api.clone();
                async move {
                    let pod = serde_json::from_value(pod(&format!("{marker}-{index}"), marker))?;
                    api.create(&PostParams::default(), &pod).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }
}

/// A Pod with two containers for the virtual node.
pub fn pod(name: &str, app: &str) -> Value {
    let container = |name: &str| {
        json!({"name": name, "image": "example.com/game:1", "ports": [{"containerPort": 8080}],
            "env": [{"name": "REGION", "value": "north"}, {"name": "TIER", "value": "gold"}],
            "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}})
    };
    let mut second = container("log");
    if let Some(second) = second.as_object_mut() {
        second.remove("ports");
        second.remove("readinessProbe");
    }
    json!({
        "metadata": {"name": name, "labels": {"app": app, "game.example/fleet": "north"}},
        "spec": {"serviceAccountName": "default", "nodeSelector": {"type": "virtual-kubelet"}, "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}],
            "containers": [container("game"), second]},
    })
}
