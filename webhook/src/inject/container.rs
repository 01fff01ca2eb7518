//! The containers that are added.

use super::agent::Keys;
use super::{Options, environment, volume};
use crate::pod::{Pod, list, name};
use probelet_protocol::name::{AGENT_BINARY, AGENT_CONTAINER, AGENT_DIR, AGENT_VOLUME, SIDECAR_CONTAINER};
use serde_json::{Map, Value, json};

/// User and group of the injected containers: nobody's on any base image.
const USER: u32 = 65532;

/// The sidecar. Its image's entry point is the sidecar's binary.
pub(super) fn sidecar(pod: &Pod, native: bool, keys: &Keys, options: &Options<'_>) -> Value {
    let mut container = base(pod, SIDECAR_CONTAINER, options);
    if native {
        container.insert("restartPolicy".to_owned(), "Always".into());
    }
    container.insert("env".to_owned(), environment::all(pod, native, keys, options));
    if let Some(port) = options.settings.metrics_port {
        container.insert("ports".to_owned(), json!([{"name": "probelet", "containerPort": port, "protocol": "TCP"}]));
    }
    let mut mounts = vec![volume::token_mount()];
    if !keys.is_empty() {
        mounts.push(volume::agent_mount(false));
    }
    container.insert("volumeMounts".to_owned(), Value::Array(mounts));
    Value::Object(container)
}

/// Mounts the agents' folder in a sidecar that an earlier pass added without.
pub(super) fn mount_agent(sidecar: &mut Value) {
    if !list(sidecar, "volumeMounts").iter().any(|mount| name(mount) == AGENT_VOLUME) {
        super::push(sidecar, "volumeMounts", volume::agent_mount(false));
    }
}

/// The init container that copies the exec agent out of the sidecar's image.
pub(super) fn agent(pod: &Pod, options: &Options<'_>) -> Value {
    let mut container = base(pod, AGENT_CONTAINER, options);
    container.insert("command".to_owned(), json!([AGENT_BINARY, "install", AGENT_DIR]));
    container.insert("volumeMounts".to_owned(), json!([volume::agent_mount(false)]));
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
