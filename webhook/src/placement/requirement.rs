//! One requirement of a node selector.

use super::{Fit, Labels};
use crate::cluster::Cluster;
use crate::node::NodeKind;
use crate::pod::list;
use serde_json::Value;

/// The label that carries a node's name.
const HOST_NAME: &str = "kubernetes.io/hostname";

/// What is known of the names of the nodes in question.
#[derive(Clone, Copy)]
pub(super) enum Names<'a> {
    /// Nothing.
    Unknown,
    /// It is this one node.
    Is(&'a str),
    /// They are virtual nodes; the kinds of existing nodes are known.
    Known(&'a Cluster),
}

/// `nodeSelector`'s one operator.
pub(super) fn equals(key: &str, value: &str, labels: &Labels<'_>) -> Fit {
    judge(key, "In", &[value], labels)
}

/// An entry of `matchExpressions`.
pub(super) fn expression(requirement: &Value, labels: &Labels<'_>) -> Fit {
    let (key, operator, values) = read(requirement);
    judge(key, operator, &values, labels)
}

/// An entry of `matchFields`: only `metadata.name` with `In` and `NotIn` exists.
pub(super) fn field(requirement: &Value, labels: &Labels<'_>) -> Fit {
    let (key, operator, values) = read(requirement);
    if key == "metadata.name" { by_name(operator, &values, labels.names) } else { Fit::Excluded }
}

fn read(requirement: &Value) -> (&str, &str, Vec<&str>) {
    let text = |field: &str| requirement.get(field).and_then(Value::as_str).unwrap_or_default();
    (text("key"), text("operator"), list(requirement, "values").iter().filter_map(Value::as_str).collect())
}

fn judge(key: &str, operator: &str, values: &[&str], labels: &Labels<'_>) -> Fit {
    let known = labels.known.get(key).map(String::as_str);
    if known.is_none() && !labels.complete {
        return if key == HOST_NAME { by_name(operator, values, labels.names) } else { Fit::Possible };
    }
    let holds = match operator {
        "In" => known.is_some_and(|value| values.contains(&value)),
        "NotIn" => known.is_none_or(|value| !values.contains(&value)),
        "Exists" => known.is_some(),
        "DoesNotExist" => known.is_none(),
        "Gt" => compare(known, values).is_some_and(|(value, bound)| value > bound),
        "Lt" => compare(known, values).is_some_and(|(value, bound)| value < bound),
        _ => false,
    };
    match (holds, operator) {
        (false, _) => Fit::Excluded,
        // Nodes without the label meet these as well, so they ask for nothing.
        (true, "NotIn" | "DoesNotExist") => Fit::Possible,
        (true, _) => Fit::Wanted,
    }
}

fn compare(value: Option<&str>, bounds: &[&str]) -> Option<(i64, i64)> {
    let &[bound] = bounds else { return None };
    Some((value?.parse().ok()?, bound.parse().ok()?))
}

fn by_name(operator: &str, values: &[&str], names: Names<'_>) -> Fit {
    let is_in = match operator {
        "In" => true,
        "NotIn" => false,
        // Every node has a name.
        "Exists" => return Fit::Possible,
        _ => return Fit::Excluded,
    };
    match names {
        Names::Unknown => Fit::Possible,
        Names::Is(name) if values.contains(&name) == is_in => Fit::Possible,
        Names::Is(_) => Fit::Excluded,
        Names::Known(_) if !is_in => Fit::Possible,
        Names::Known(cluster) => values
            .iter()
            .map(|name| match cluster.node_kind(name) {
                Some(NodeKind::Virtual) => Fit::Wanted,
                Some(NodeKind::Ordinary) => Fit::Excluded,
                None => Fit::Possible,
            })
            .max()
            .unwrap_or(Fit::Excluded),
    }
}
