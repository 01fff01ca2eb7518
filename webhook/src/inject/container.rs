//! The containers that are added.

use super::{Options, environment, volume};
use crate::pod::Pod;
use probelet_protocol::name::SIDECAR_CONTAINER;
use serde_json::{Map, Value, json};

/// User and group of the injected containers: nobody's on any base image.
const USER: u32 = 65532;

/// The sidecar. Its image's entry point is the sidecar's binary.
pub(super) fn sidecar(pod: &Pod, native: bool, options: &Options<'_>) -> Value {
    let mut container = base(pod, SIDECAR_CONTAINER, options);
    if native {
        container.insert("restartPolicy".to_owned(), "Always".into());
    }
    container.insert("env".to_owned(), environment::all(pod, native, options));
    if let Some(port) = options.settings.metrics_port {
        container.insert("ports".to_owned(), json!([{"name": "probelet", "containerPort": port, "protocol": "TCP"}]));
    }
    container.insert("volumeMounts".to_owned(), json!([volume::token_mount()]));
    Value::Object(container)
}

fn base(pod: &Pod, name: &str, options: &Options<'_>) -> Map<String, Value> {
    let image = options.settings.image.as_ref().unwrap_or(&options.config.image);
    let mut container = Map::new();
    container.insert("name".to_owned(), name.into());
    container.insert("image".to_owned(), image.as_str().into());
    if let Some(policy) = &options.config.image_pull_policy {
        container.insert("imagePullPolicy".to_owned(), policy.as_str().into());
    }
    if let Some(resources) = options.wanted.resolve(pod, options.bounds) {
        container.insert("resources".to_owned(), resources);
    }
    container.insert("securityContext".to_owned(), security_context());
    container
}

/// What the restricted Pod Security Standard asks for, set here as the Pod may leave it to its own containers.
fn security_context() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        "runAsGroup": USER,
        "runAsNonRoot": true,
        "runAsUser": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}
