//! How virtual nodes, and Pods bound for them, are told. Configuration, with what is known of providers built in.

use crate::node::{NodeKind, NodeShape, Taint};
use crate::syntax;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Both lists of rules. A list that is given replaces the built-in one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VirtualNodes {
    /// What virtual nodes look like.
    pub nodes: Vec<NodeProfile>,
    /// What Pods look like that a provider's own scheduler or webhook takes to a virtual node, whatever else they say.
    pub pods: Vec<PodRule>,
}

/// One kind of virtual node. A node is of this kind where it has all the labels or any of the taints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NodeProfile {
    /// For messages.
    pub name: String,
    /// Labels that such a node has, all of them.
    pub labels: BTreeMap<String, String>,
    /// Taints that such a node has, and ordinary nodes have not.
    pub taints: Vec<TaintPattern>,
}

/// A taint, with what is left out matching everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TaintPattern {
    /// Taint key.
    pub key: String,
    /// Taint value.
    pub value: Option<String>,
    /// `NoSchedule` or `NoExecute`; `NoSchedule` where left out.
    pub effect: Option<String>,
}

/// A Pod that meets everything which is set here is bound for a virtual node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PodRule {
    /// For messages.
    pub name: String,
    /// A label of the Pod.
    pub label: Option<KeyValue>,
    /// A label of the Pod's namespace; the same key on the Pod with another value wins over it.
    pub namespace_label: Option<KeyValue>,
    /// An annotation of the Pod.
    pub annotation: Option<KeyValue>,
    /// `spec.runtimeClassName`.
    pub runtime_class: Option<String>,
    /// `spec.schedulerName`.
    pub scheduler: Option<String>,
}

/// A key with its allowed values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KeyValue {
    /// Key.
    pub key: String,
    /// Allowed values; empty: any.
    pub values: Vec<String>,
}

impl Default for VirtualNodes {
    fn default() -> Self {
        Self { nodes: built_in_nodes(), pods: built_in_pods() }
    }
}

// === impl VirtualNodes ===

impl VirtualNodes {
    /// What a node is.
    pub fn kind(&self, shape: &NodeShape) -> NodeKind {
        let is_virtual = self.nodes.iter().any(|profile| profile.is_of_kind(shape));
        if is_virtual { NodeKind::Virtual } else { NodeKind::Ordinary }
    }

    pub(super) fn check(&self, problems: &mut Vec<String>) {
        for (index, profile) in self.nodes.iter().enumerate() {
            profile.check(&format!("virtualNodes.nodes[{index}]"), problems);
        }
        for (index, rule) in self.pods.iter().enumerate() {
            rule.check(&format!("virtualNodes.pods[{index}]"), problems);
        }
    }
}

// === impl NodeProfile ===

impl NodeProfile {
    fn is_of_kind(&self, shape: &NodeShape) -> bool {
        let labelled = !self.labels.is_empty()
            && self.labels.iter().all(|(key, value)| shape.labels.get(key).is_some_and(|found| found == value));
        labelled || self.taints.iter().any(|pattern| shape.taints.iter().any(|taint| pattern.is_met_by(taint)))
    }

    fn check(&self, path: &str, problems: &mut Vec<String>) {
        if self.labels.is_empty() && self.taints.is_empty() {
            problems.push(format!("{path}: needs labels or taints, it would match no node"));
        }
        for (key, value) in &self.labels {
            check_label(&format!("{path}.labels"), key, Some(value), problems);
        }
        for (index, taint) in self.taints.iter().enumerate() {
            let path = format!("{path}.taints[{index}]");
            check_label(&path, &taint.key, taint.value.as_ref(), problems);
            if let Some(effect) = &taint.effect
                && !["NoSchedule", "NoExecute"].contains(&effect.as_str())
            {
                problems.push(format!("{path}.effect: {effect:?} must be one of NoSchedule, NoExecute"));
            }
        }
    }
}

// === impl TaintPattern ===

impl TaintPattern {
    /// Effect that a toleration has to tolerate.
    pub fn effect(&self) -> &str {
        self.effect.as_deref().unwrap_or("NoSchedule")
    }

    fn is_met_by(&self, taint: &Taint) -> bool {
        self.key == taint.key
            && self.value.as_ref().is_none_or(|value| *value == taint.value)
            && self.effect.as_ref().is_none_or(|effect| *effect == taint.effect)
    }
}

// === impl PodRule ===

impl PodRule {
    fn check(&self, path: &str, problems: &mut Vec<String>) {
        let keys =
            [("label", &self.label), ("namespaceLabel", &self.namespace_label), ("annotation", &self.annotation)];
        if keys.iter().all(|(_, key)| key.is_none()) && self.runtime_class.is_none() && self.scheduler.is_none() {
            problems.push(format!(
                "{path}: needs one of label, namespaceLabel, annotation, runtimeClass, scheduler, it would match every Pod"
            ));
        }
        for (field, key) in keys {
            let Some(KeyValue { key, .. }) = key else { continue };
            check_label(&format!("{path}.{field}"), key, None, problems);
        }
    }
}

// === impl KeyValue ===

impl KeyValue {
    /// Whether a value that was found under [`KeyValue::key`] is allowed.
    pub fn allows(&self, value: &str) -> bool {
        self.values.is_empty() || self.values.iter().any(|allowed| allowed == value)
    }
}

fn check_label(path: &str, key: &str, value: Option<&String>, problems: &mut Vec<String>) {
    if let Some(problem) = syntax::qualified_name(key) {
        problems.push(format!("{path}: key {key:?} {problem}"));
    }
    if let Some(value) = value
        && let Some(problem) = syntax::label_value(value)
    {
        problems.push(format!("{path}: value {value:?} of {key} {problem}"));
    }
}

/// Node profiles that are known from providers' documents and nodes.
fn built_in_nodes() -> Vec<NodeProfile> {
    let profile = |name: &str, label: (&str, &str), taint: &str, effect: &str| NodeProfile {
        name: name.to_owned(),
        labels: BTreeMap::from([(label.0.to_owned(), label.1.to_owned())]),
        taints: vec![TaintPattern { key: taint.to_owned(), value: None, effect: Some(effect.to_owned()) }],
    };
    vec![
        // virtual-kubelet/virtual-kubelet:cmd/virtual-kubelet/internal/commands/root/node.go; ACK, ACI, CCI and others.
        // `kubernetes.io/role=agent`, which such nodes also have, is not enough: AKS gave it to ordinary nodes as well.
        profile("virtual-kubelet", ("type", "virtual-kubelet"), "virtual-kubelet.io/provider", "NoSchedule"),
        profile("liqo", ("liqo.io/type", "virtual-node"), "virtual-node.liqo.io/not-allowed", "NoExecute"),
        profile(
            "eks-fargate",
            ("eks.amazonaws.com/compute-type", "fargate"),
            "eks.amazonaws.com/compute-type",
            "NoSchedule",
        ),
    ]
}

/// What providers' schedulers and webhooks go by.
fn built_in_pods() -> Vec<PodRule> {
    let key = |key: &str, values: &[&str]| KeyValue {
        key: key.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let rule = |name: &str| PodRule { name: name.to_owned(), ..PodRule::default() };
    let label = |name: &str, values: &[&str]| PodRule { label: Some(key(name, values)), ..rule(name) };
    let namespace = |name: &str| PodRule { namespace_label: Some(key(name, &["true"])), ..rule(name) };
    let annotation = |name: &str, values: &[&str]| PodRule { annotation: Some(key(name, values)), ..rule(name) };
    vec![
        // Alibaba Cloud: on the Pod or its namespace, above nodeSelector and affinity.
        namespace("alibabacloud.com/eci"),
        namespace("alibabacloud.com/acs"),
        label("alibabacloud.com/compute-class", &[]),
        annotation("alibabacloud.com/burst-resource", &["eci", "eci_only"]),
        label("bursting.cci.io/burst-to-cci", &["enforce", "auto", "localPrefer"]),
        // Written by EKS' own webhook.
        label("eks.amazonaws.com/fargate-profile", &[]),
        PodRule { scheduler: Some("fargate-scheduler".to_owned()), ..rule("fargate-scheduler") },
    ]
}
