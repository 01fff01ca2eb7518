//! The exec agent: how commands come to run in target containers without privileges. An init container copies a static
//! program into a memory volume, the targets mount it read-only, and their `postStart` leaves it running.

use super::{NoRandom, Options, container, volume};
use crate::pod::{Pod, list, name};
use probelet_protocol::agent::AgentStart;
use probelet_protocol::environment::AGENT_KEYS;
use probelet_protocol::limit::PLAN_BYTES;
use probelet_protocol::name::{AGENT_BINARY, AGENT_CONTAINER, AGENT_DIR, AGENT_VOLUME, SAFE_TO_EVICT_ANNOTATION};
use probelet_protocol::plan::Plan;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

mod hook;

/// Keys by container, as the sidecar gets them.
pub(super) type Keys = BTreeMap<String, String>;

/// Adds what exec probes need, and answers the keys of all agents; nothing where the plan has no exec probe.
///
/// # Errors
/// [`NoRandom`] where there is nothing to make keys of.
pub(super) fn add(pod: &mut Pod, before: &Pod, plan: &Plan, options: &mut Options<'_>) -> Result<Keys, NoRandom> {
    let targets: BTreeSet<_> = plan
        .probes
        .iter()
        .filter(|planned| planned.probe.exec.is_some())
        .map(|planned| planned.id.container.as_str())
        .filter(|target| before.targets().any(|container| name(container) == *target))
        .collect();
    let mut keys = present_keys(before);
    if targets.is_empty() {
        return Ok(keys);
    }
    if !before.has_container(AGENT_CONTAINER) {
        super::push(&mut pod.spec, "volumes", volume::agent());
        super::push(&mut pod.spec, "initContainers", container::agent(before, options));
    }
    precede(pod, &targets);
    make_evictable(pod);
    let unequipped: Vec<_> = targets.into_iter().filter(|target| !keys.contains_key(*target)).collect();
    if let Some(field) = shared_processes(before).filter(|_| !unequipped.is_empty()) {
        options
            .warnings
            .push(format!("spec.{field}: containers see each other's agent key, and could forge exec results"));
    }
    for target in unequipped {
        let key = (options.random)()?;
        let Some(container) = find(pod, target) else { continue };
        if equip(container, target, &key) {
            keys.insert(target.to_owned(), key);
        } else {
            options
                .warnings
                .push(format!("container {target}: exec probes cannot run, its postStart cannot be chained"));
        }
    }
    Ok(keys)
}

/// The field by which a container sees the processes of others. A key is in the arguments of its container's `postStart`, which everybody
/// may read there, and in the memory of whoever holds it (docs/decisions/0002).
fn shared_processes(pod: &Pod) -> Option<&'static str> {
    let is_set = |field: &&str| pod.spec.get(*field).and_then(Value::as_bool) == Some(true);
    ["shareProcessNamespace", "hostPID"].into_iter().find(is_set)
}

/// Keys that an earlier pass gave out. The Pod's owner could have written such a text too, and would gain nothing: a
/// key lets a container speak for itself. There are no more of them than a plan has probes, so a longer text than a
/// plan's is not ours.
fn present_keys(pod: &Pod) -> Keys {
    let containers = pod.containers().iter().chain(pod.init_containers());
    let sidecar =
        containers.into_iter().find(|container| name(container) == probelet_protocol::name::SIDECAR_CONTAINER);
    let variable = sidecar.and_then(|sidecar| list(sidecar, "env").iter().find(|entry| name(entry) == AGENT_KEYS));
    let text = variable.and_then(|variable| variable.get("value")?.as_str()).unwrap_or_default();
    if text.len() > PLAN_BYTES { Keys::new() } else { serde_json::from_str(text).unwrap_or_default() }
}

/// The init container that brings the agent comes last, so that the others keep their index; only where a native sidecar
/// is a target, which starts in turn, must it come before that one, also one that another webhook put in front of it since.
fn precede(pod: &mut Pod, targets: &BTreeSet<&str>) {
    let Some(containers) = pod.spec.get_mut("initContainers").and_then(Value::as_array_mut) else { return };
    let agent = containers.iter().position(|container| name(container) == AGENT_CONTAINER);
    let first = containers.iter().position(|container| targets.contains(name(container)));
    if let (Some(agent), Some(first)) = (agent, first)
        && first < agent
    {
        let container = containers.remove(agent);
        containers.insert(first, container);
    }
}

/// A local volume keeps the cluster autoscaler from removing a node, unless it is named here (fault F19).
fn make_evictable(pod: &mut Pod) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    let volumes = annotations.entry(SAFE_TO_EVICT_ANNOTATION.to_owned()).or_default();
    if !volumes.split(',').any(|volume| volume.trim() == AGENT_VOLUME) {
        let comma = if volumes.is_empty() { "" } else { "," };
        volumes.push_str(comma);
        volumes.push_str(AGENT_VOLUME);
    }
}

fn find<'a>(pod: &'a mut Pod, target: &str) -> Option<&'a mut Value> {
    let spec = pod.spec.as_object_mut()?;
    let lists = spec.iter_mut().filter(|(field, _)| ["containers", "initContainers"].contains(&field.as_str()));
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten().find(|container| name(container) == target)
}

/// Mount and `postStart` of one target; a hook that it has is chained. Whether it could be: one of a kind that is not
/// known here must not be lost.
fn equip(container: &mut Value, target: &str, key: &str) -> bool {
    let own =
        container.pointer("/lifecycle/postStart").filter(|own| own.as_object().is_some_and(|own| !own.is_empty()));
    let hook = own.and_then(|own| hook::read(own, container));
    if own.is_some() && hook.is_none() {
        return false;
    }
    let start = AgentStart { container: target.to_owned(), key: key.to_owned(), dir: AGENT_DIR.to_owned(), hook };
    super::push(container, "volumeMounts", volume::agent_mount(true));
    let program = format!("{AGENT_DIR}{AGENT_BINARY}");
    let command: Vec<_> = std::iter::once(program).chain(start.to_arguments()).collect();
    let Some(container) = container.as_object_mut() else { return false };
    let lifecycle = container.entry("lifecycle").or_insert_with(|| Value::Object(Map::new()));
    if lifecycle.is_null() {
        *lifecycle = Value::Object(Map::new());
    }
    if let Some(lifecycle) = lifecycle.as_object_mut() {
        lifecycle.insert("postStart".to_owned(), json!({"exec": {"command": command}}));
    }
    true
}
