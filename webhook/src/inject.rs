//! A Pod in, the same Pod with the sidecar out. Only adds; a Pod that an earlier pass injected is brought up to date.

use crate::config::Config;
use crate::limit_range::Bounds;
use crate::merge::Marking;
use crate::pod::{Pod, name};
use crate::resource::Wanted;
use crate::warning::Warnings;
use probelet_protocol::name::SIDECAR_CONTAINER;
use probelet_protocol::setting::Settings;
use serde_json::Value;

mod agent;
mod annotation;
mod container;
mod environment;
mod volume;

pub use annotation::size as annotation_bytes;

/// What injection needs besides the Pod and its plan.
pub struct Options<'a> {
    /// Cluster-wide configuration.
    pub config: &'a Config,
    /// The Pod's settings over the configured ones.
    pub settings: &'a Settings,
    /// Requests and limits that are asked for.
    pub wanted: &'a Wanted,
    /// The namespace's limits for containers and Pods, CPU and memory.
    pub bounds: &'a [Bounds; 2],
    /// A new random key for an exec agent.
    pub random: fn() -> Result<String, NoRandom>,
    /// What cannot be done.
    pub warnings: &'a mut Warnings,
}

/// The system gave no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random numbers from the system")]
pub struct NoRandom;

/// The Pod with its plan and sidecar.
///
/// # Errors
/// [`NoRandom`] where exec agents would need keys and there are none.
pub fn inject(pod: &Pod, marking: &Marking, options: &mut Options<'_>) -> Result<Pod, NoRandom> {
    let mut injected = pod.clone();
    annotation::add(&mut injected, marking, options.config);
    let keys = agent::add(&mut injected, pod, &marking.plan, options)?;
    if let Some(present) = sidecar(&mut injected) {
        environment::refresh(present, &environment::literals(pod, &keys, options));
        if !keys.is_empty() {
            container::mount_agent(present);
        }
        return Ok(injected);
    }
    let native = options.settings.native_sidecar == Some(true);
    let sidecar = container::sidecar(pod, native, &keys, options);
    push(&mut injected.spec, if native { "initContainers" } else { "containers" }, sidecar);
    push(&mut injected.spec, "volumes", volume::token());
    for secret in &options.config.image_pull_secrets {
        push_named(&mut injected.spec, "imagePullSecrets", secret);
    }
    Ok(injected)
}

/// The sidecar that an earlier pass added.
fn sidecar(pod: &mut Pod) -> Option<&mut Value> {
    let spec = pod.spec.as_object_mut()?;
    let lists = spec.iter_mut().filter(|(field, _)| ["containers", "initContainers"].contains(&field.as_str()));
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten().find(|container| name(container) == SIDECAR_CONTAINER)
}

/// Appends to a list of an object, which it makes where it is absent.
fn push(object: &mut Value, field: &str, item: Value) {
    let Some(object) = object.as_object_mut() else { return };
    match object.entry(field).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(list) => list.push(item),
        null => *null = Value::Array(vec![item]),
    }
}

fn push_named(object: &mut Value, field: &str, wanted: &str) {
    if !crate::pod::list(object, field).iter().any(|item| name(item) == wanted) {
        push(object, field, serde_json::json!({ "name": wanted }));
    }
}
