//! Tolerations against taints (kubernetes/kubernetes:staging/src/k8s.io/api/core/v1/toleration.go `ToleratesTaint`).

use crate::config::TaintPattern;
use crate::node::Taint;
use serde_json::Value;

/// Whether some toleration meets a taint of this pattern by its key; a value that the pattern leaves open may be any.
pub(super) fn any_meets(tolerations: &[Value], pattern: &TaintPattern) -> bool {
    let named =
        tolerations.iter().filter(|toleration| toleration.get("key").and_then(Value::as_str) == Some(&pattern.key));
    named.into_iter().any(|toleration| meets_pattern(toleration, pattern))
}

/// Whether every taint of these patterns is met, be it by a toleration without key.
pub(super) fn meets_all(tolerations: &[Value], patterns: &[TaintPattern]) -> bool {
    patterns.iter().all(|pattern| tolerations.iter().any(|toleration| meets_pattern(toleration, pattern)))
}

fn meets_pattern(toleration: &Value, pattern: &TaintPattern) -> bool {
    meets(toleration, &pattern.key, pattern.value.as_deref(), pattern.effect())
}

/// Prefix of the taints by which Kubernetes tells a node's state of the moment: not ready, cordoned, under pressure. A Pod
/// waits until they are gone and lands there all the same.
const STATE_PREFIX: &str = "node.kubernetes.io/";

/// Whether every taint that keeps Pods away for good is tolerated.
pub(super) fn all_met(tolerations: &[Value], taints: &[Taint]) -> bool {
    let lasting =
        taints.iter().filter(|taint| taint.effect != "PreferNoSchedule" && !taint.key.starts_with(STATE_PREFIX));
    lasting.into_iter().all(|taint| {
        tolerations.iter().any(|toleration| meets(toleration, &taint.key, Some(&taint.value), &taint.effect))
    })
}

fn meets(toleration: &Value, key: &str, value: Option<&str>, effect: &str) -> bool {
    let text = |field: &str| toleration.get(field).and_then(Value::as_str).unwrap_or_default();
    if !["", effect].contains(&text("effect")) {
        return false;
    }
    match (text("operator"), text("key")) {
        ("Exists", "") => true,
        (_, found) if found != key => false,
        ("Exists", _) => true,
        ("" | "Equal", _) => value.is_none_or(|value| value == text("value")),
        ("Gt" | "Lt", _) => is_beyond(text("operator"), text("value"), value),
        _ => false,
    }
}

/// Numeric operators of newer API servers: the taint's number against the toleration's.
fn is_beyond(operator: &str, bound: &str, value: Option<&str>) -> bool {
    let Some(value) = value else { return true };
    match (value.parse::<i64>(), bound.parse::<i64>()) {
        (Ok(value), Ok(bound)) => {
            if operator == "Gt" {
                value > bound
            } else {
                value < bound
            }
        }
        _ => false,
    }
}
