//! What no probe may ask for, whatever let its marker pass: markers may be older than this webhook's validation.

use probelet_protocol::marker::{MarkerPolicy, PodContainerProbe};
use probelet_protocol::name::{NATIVE_CONDITIONS, is_reserved_key};
use probelet_protocol::probe::{Handler, Probe};

/// The field of a marker's probe, and what is wrong with it.
pub(super) fn problem(probe: &PodContainerProbe) -> Option<(&'static str, String)> {
    if probe.name.is_empty() {
        return Some((".name", "must not be empty".to_owned()));
    }
    if let Some(problem) = handler(&probe.probe) {
        return Some((".probe", problem));
    }
    if let Some(problem) = condition(&probe.pod_condition_type) {
        return Some((".podConditionType", problem));
    }
    policies(&probe.marker_policy).map(|problem| (".markerPolicy", problem))
}

/// What is wrong with a condition's type; an empty one is none.
pub(super) fn condition(kind: &str) -> Option<String> {
    NATIVE_CONDITIONS.contains(&kind).then(|| format!("{kind} is not a marker's to write"))
}

/// What is wrong with the keys of marker policies.
pub(super) fn policies(policies: &[MarkerPolicy]) -> Option<String> {
    policies
        .iter()
        .flat_map(|policy| policy.labels.keys().chain(policy.annotations.keys()))
        .find(|key| is_reserved_key(key))
        .map(|key| format!("key {key} is reserved"))
}

/// What is wrong with a handler.
pub(super) fn handler(probe: &Probe) -> Option<String> {
    let host = match probe.handler() {
        Ok(Handler::HttpGet(action)) => &action.host,
        Ok(Handler::TcpSocket(action)) => &action.host,
        Ok(Handler::Exec(action)) if action.command.is_empty() => {
            return Some("exec.command must not be empty".to_owned());
        }
        Ok(_) => return None,
        Err(error) => return Some(error.to_string()),
    };
    host.as_ref().filter(|host| !host.is_empty()).map(|_| "host is not allowed, a probe goes to its own Pod".to_owned())
}
