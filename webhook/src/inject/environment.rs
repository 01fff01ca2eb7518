//! The sidecar's environment: what the downward API knows, and what was settled at admission.

use super::Options;
use super::agent::Keys;
use crate::pod::{Pod, name};
use crate::port;
use humantime::format_duration;
use probelet_protocol::environment as variable;
use probelet_protocol::name::{NODE_KIND_ANNOTATION, PLAN_ANNOTATION, POLICIES_ANNOTATION};
use serde_json::{Value, json};

/// Everything, in the order in which a reader of the Pod looks for it.
pub(super) fn all(pod: &Pod, native: bool, keys: &Keys, options: &Options<'_>) -> Value {
    let annotation = |key: &str| format!("metadata.annotations['{key}']");
    let mut list = vec![
        field(variable::POD_NAME, "metadata.name"),
        field(variable::POD_NAMESPACE, "metadata.namespace"),
        field(variable::POD_UID, "metadata.uid"),
        field(variable::POD_IPS, "status.podIPs"),
        field(variable::PLAN, &annotation(PLAN_ANNOTATION)),
        field(variable::POLICIES, &annotation(POLICIES_ANNOTATION)),
        field(variable::NODE_KIND, &annotation(NODE_KIND_ANNOTATION)),
    ];
    if native {
        list.push(json!({"name": variable::NATIVE_SIDECAR, "value": "true"}));
    }
    list.extend(literals(pod, keys, options).into_iter().map(|(name, value)| json!({"name": name, "value": value})));
    Value::Array(list)
}

/// Variables with a value of their own, only those that are set.
pub(super) fn literals(pod: &Pod, keys: &Keys, options: &Options<'_>) -> Vec<(&'static str, String)> {
    let settings = options.settings;
    let ports = port::named(pod);
    let startup: Vec<_> = pod
        .targets()
        .filter(|container| container.get("startupProbe").is_some_and(Value::is_object))
        .map(name)
        .collect();
    // Told rather than seen: where it stands by, a sidecar never looks at a Pod that does not end.
    let may_end =
        settings.native_sidecar != Some(true) && matches!(pod.text("restartPolicy"), Some("Never" | "OnFailure"));
    let values = [
        (variable::PORTS, (!ports.is_empty()).then(|| json!(ports).to_string())),
        (variable::STARTUP_PROBES, (!startup.is_empty()).then(|| startup.join(","))),
        (variable::AGENT_KEYS, (!keys.is_empty()).then(|| json!(keys).to_string())),
        (variable::MAY_END, may_end.then(|| "true".to_owned())),
        (variable::SHIELD, options.config.shield.then(|| "true".to_owned())),
        (variable::OBSERVE, settings.observe.map(|value| value.to_string())),
        (variable::MARKS, settings.marks.map(|value| value.to_string())),
        (variable::DEFAULTS, settings.defaults.map(|value| value.to_string())),
        (variable::PROBE_HOST, settings.probe_host.map(|value| value.to_string())),
        (variable::PERIOD, (!settings.period.is_empty()).then(|| settings.period.to_string())),
        (variable::TIMEOUT, (!settings.timeout.is_empty()).then(|| settings.timeout.to_string())),
        (variable::LOOK, settings.look.map(|value| format_duration(value).to_string())),
        (variable::RETRY_SPREAD, settings.retry_spread.map(|value| format_duration(value).to_string())),
        (variable::LOG_LEVEL, settings.log_level.map(|value| value.to_string())),
        (variable::LOG_FORMAT, settings.log_format.map(|value| value.to_string())),
        (variable::METRICS_PORT, settings.metrics_port.map(|value| value.to_string())),
        (variable::EVENTS, settings.events.map(|value| value.to_string())),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, literal(&value?)))).collect()
}

/// Brings the literals of a sidecar that is there up to date, and leaves what others added. A new one comes where it would have
/// been in a first pass, so that it does not matter in which pass its reason was seen.
pub(super) fn refresh(sidecar: &mut Value, literals: &[(&'static str, String)]) {
    let Some(list) = sidecar.get_mut("env").and_then(Value::as_array_mut) else { return };
    let mut next = list.len();
    for (variable, value) in literals.iter().rev() {
        let wanted = json!({"name": variable, "value": value});
        match list.iter().position(|entry| name(entry) == *variable) {
            Some(present) => {
                next = present;
                if list[present].get("value").and_then(Value::as_str) != Some(value) {
                    list[present] = wanted;
                }
            }
            None => list.insert(next, wanted),
        }
    }
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
}

/// Kubelet expands `$(NAME)` in literal values; `$$(NAME)` stays as it is.
fn literal(value: &str) -> String {
    value.replace("$(", "$$(")
}
