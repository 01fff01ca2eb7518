//! Where a Pod may land. The scheduler's rules (kubernetes/kubernetes:staging/src/k8s.io/component-helpers/scheduling/corev1,
//! nodeaffinity and tolerations) over what is known: profiles of virtual nodes, of which only some labels are known, and
//! the virtual nodes that exist, of which all are.

use crate::cluster::{Cluster, Namespace};
use crate::config::{NodeProfile, PodRule, VirtualNodes};
use crate::node::{NodeKind, NodeShape};
use crate::pod::{Pod, list};
use serde_json::Value;
use std::collections::BTreeMap;

mod requirement;
mod toleration;
use requirement::Names;

/// How a Pod's wishes meet a kind of node. The order is that of alternatives: the best one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It cannot land there.
    Excluded,
    /// Nothing speaks against it.
    Possible,
    /// It asks for such nodes.
    Wanted,
}

/// Labels of a node of which possibly more is known than of a profile.
struct Labels<'a> {
    known: &'a BTreeMap<String, String>,
    /// Whether labels that are not known do not exist.
    complete: bool,
    /// Kinds of nodes by name.
    names: Names<'a>,
}

/// Whether the Pod is bound for a virtual node, or may land on one.
pub fn may_be_virtual(pod: &Pod, namespace: Option<&Namespace>, rules: &VirtualNodes, cluster: &Cluster) -> bool {
    if let Some(kind) = pod.text("nodeName").and_then(|name| cluster.node_kind(name)) {
        return kind == NodeKind::Virtual;
    }
    rules.pods.iter().any(|rule| is_taken(pod, namespace, rule))
        || rules.nodes.iter().any(|profile| may_land_on_kind(pod, profile, cluster))
        || tolerates_every_kind(pod, rules, cluster)
        || cluster.virtual_nodes().iter().any(|(name, shape)| may_land_on_node(pod, name, shape))
}

/// Whether the Pod asks for Windows nodes and cannot land on Linux.
pub fn is_windows(pod: &Pod) -> bool {
    if let Some(os) = pod.spec.get("os").and_then(|os| os.get("name")).and_then(Value::as_str) {
        return os == "windows";
    }
    let fit = |os: &str| {
        let known = ["kubernetes.io/os", "beta.kubernetes.io/os"].map(|key| (key.to_owned(), os.to_owned())).into();
        constraints(pod, &Labels { known: &known, complete: false, names: Names::Unknown })
    };
    fit("windows") == Fit::Wanted && fit("linux") == Fit::Excluded
}

fn is_taken(pod: &Pod, namespace: Option<&Namespace>, rule: &PodRule) -> bool {
    let label =
        rule.label.as_ref().is_none_or(|wanted| pod.label(&wanted.key).is_some_and(|value| wanted.allows(value)));
    let namespace_label = rule.namespace_label.as_ref().is_none_or(|wanted| {
        // The Pod's own label of this key decides where it is set.
        let value = pod.label(&wanted.key).or_else(|| namespace?.label(&wanted.key));
        value.is_some_and(|value| wanted.allows(value))
    });
    let annotation = rule
        .annotation
        .as_ref()
        .is_none_or(|wanted| pod.annotation(&wanted.key).is_some_and(|value| wanted.allows(value)));
    let is_field =
        |wanted: &Option<String>, field: &str| wanted.as_deref().is_none_or(|wanted| pod.text(field) == Some(wanted));
    label
        && namespace_label
        && annotation
        && is_field(&rule.runtime_class, "runtimeClassName")
        && is_field(&rule.scheduler, "schedulerName")
}

/// A Pod that asks for the profile's labels is bound for it; one that merely could be must tolerate the profile's
/// taints or prefer its labels, as else every plain Pod of a hybrid cluster would be taken.
fn may_land_on_kind(pod: &Pod, profile: &NodeProfile, cluster: &Cluster) -> bool {
    let labels = Labels { known: &profile.labels, complete: false, names: Names::Known(cluster) };
    match constraints(pod, &labels) {
        Fit::Excluded => false,
        Fit::Wanted => true,
        Fit::Possible => {
            let tolerations = list(&pod.spec, "tolerations");
            profile.taints.iter().any(|taint| toleration::any_meets(tolerations, taint)) || is_preferred(pod, &labels)
        }
    }
}

/// A toleration without key names no kind of node, so it counts only where the Pod is free to land on each of them: what
/// the Pod keeps away from may be the only kind that the cluster has.
fn tolerates_every_kind(pod: &Pod, rules: &VirtualNodes, cluster: &Cluster) -> bool {
    let tolerations = list(&pod.spec, "tolerations");
    !rules.nodes.is_empty()
        && rules.nodes.iter().all(|profile| {
            let labels = Labels { known: &profile.labels, complete: false, names: Names::Known(cluster) };
            toleration::meets_all(tolerations, &profile.taints) && constraints(pod, &labels) != Fit::Excluded
        })
}

fn may_land_on_node(pod: &Pod, name: &str, shape: &NodeShape) -> bool {
    let labels = Labels { known: &shape.labels, complete: true, names: Names::Is(name) };
    constraints(pod, &labels) != Fit::Excluded && toleration::all_met(list(&pod.spec, "tolerations"), &shape.taints)
}

/// nodeSelector and required node affinity: both must hold.
fn constraints(pod: &Pod, labels: &Labels<'_>) -> Fit {
    let selector = pod.spec.get("nodeSelector").and_then(Value::as_object).into_iter().flatten();
    let selector = selector.map(|(key, value)| requirement::equals(key, value.as_str().unwrap_or_default(), labels));
    let affinity = affinity(pod)
        .and_then(|affinity| affinity.get("requiredDuringSchedulingIgnoredDuringExecution"))
        .filter(|required| !required.is_null())
        .map(|required| {
            list(required, "nodeSelectorTerms").iter().map(|term| term_fit(term, labels)).max().unwrap_or(Fit::Excluded)
        });
    all(selector.chain(affinity))
}

fn is_preferred(pod: &Pod, labels: &Labels<'_>) -> bool {
    affinity(pod).is_some_and(|affinity| {
        list(affinity, "preferredDuringSchedulingIgnoredDuringExecution")
            .iter()
            .filter_map(|preferred| preferred.get("preference"))
            .any(|term| term_fit(term, labels) == Fit::Wanted)
    })
}

fn affinity(pod: &Pod) -> Option<&Value> {
    pod.spec.get("affinity")?.get("nodeAffinity")
}

/// All expressions and fields of a term must hold; a term without any matches nothing.
fn term_fit(term: &Value, labels: &Labels<'_>) -> Fit {
    let expressions = list(term, "matchExpressions");
    let fields = list(term, "matchFields");
    if expressions.is_empty() && fields.is_empty() {
        return Fit::Excluded;
    }
    let expressions = expressions.iter().map(|expression| requirement::expression(expression, labels));
    all(expressions.chain(fields.iter().map(|field| requirement::field(field, labels))))
}

fn all(fits: impl Iterator<Item = Fit>) -> Fit {
    let mut fit = Fit::Possible;
    for next in fits {
        match next {
            Fit::Excluded => return Fit::Excluded,
            Fit::Wanted => fit = Fit::Wanted,
            Fit::Possible => {}
        }
    }
    fit
}

#[cfg(test)]
mod tests;
