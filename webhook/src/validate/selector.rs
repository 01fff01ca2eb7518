//! `spec.selector` (kubernetes/kubernetes:staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go).

use super::Findings;
use crate::syntax;
use probelet_protocol::marker::{LabelSelector, LabelSelectorRequirement};

const PATH: &str = "spec.selector";

pub(super) fn check(selector: Option<&LabelSelector>, findings: &mut Findings) {
    let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
        if !findings.errors.iter().any(|error| error.starts_with(PATH)) {
            findings.error(PATH, "must not be empty, it would match nothing");
        }
        return;
    };
    for (key, value) in &selector.match_labels {
        let path = format!("{PATH}.matchLabels");
        check_key(&path, key, findings);
        check_value(&path, value, findings);
    }
    for (index, requirement) in selector.match_expressions.iter().enumerate() {
        check_requirement(&format!("{PATH}.matchExpressions[{index}]"), requirement, findings);
    }
}

fn check_requirement(path: &str, requirement: &LabelSelectorRequirement, findings: &mut Findings) {
    check_key(&format!("{path}.key"), &requirement.key, findings);
    let values = format!("{path}.values");
    match requirement.operator.as_str() {
        operator @ ("In" | "NotIn") if requirement.values.is_empty() => {
            findings.error(&values, &format!("must not be empty with the operator {operator}"));
        }
        operator @ ("Exists" | "DoesNotExist") if !requirement.values.is_empty() => {
            findings.error(&values, &format!("must be empty with the operator {operator}"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => findings
            .error(&format!("{path}.operator"), &format!("{other:?} must be one of In, NotIn, Exists, DoesNotExist")),
    }
    for value in &requirement.values {
        check_value(&values, value, findings);
    }
}

fn check_key(path: &str, key: &str, findings: &mut Findings) {
    if let Some(problem) = syntax::qualified_name(key) {
        findings.error(path, &format!("key {key:?} {problem}"));
    }
}

fn check_value(path: &str, value: &str, findings: &mut Findings) {
    if let Some(problem) = syntax::label_value(value) {
        findings.error(path, &format!("value {value:?} {problem}"));
    }
}
