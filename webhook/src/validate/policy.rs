//! `markerPolicy`: which labels and annotations hold in which state.

use super::Findings;
use crate::syntax;
use probelet_protocol::marker::MarkerPolicy;
use probelet_protocol::name::is_reserved_key;
use std::collections::BTreeSet;

pub(super) fn check(path: &str, policies: &[MarkerPolicy], findings: &mut Findings) {
    let mut states = BTreeSet::new();
    for (index, policy) in policies.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if !states.insert(policy.state) {
            findings.error(&format!("{path}.state"), &format!("{:?} has a policy already", policy.state));
        }
        if policy.labels.is_empty() && policy.annotations.is_empty() {
            findings.error(&path, "needs labels or annotations");
        }
        for (key, value) in &policy.labels {
            check_key(&format!("{path}.labels"), key, key, findings);
            if let Some(problem) = syntax::label_value(value) {
                findings.error(&format!("{path}.labels"), &format!("value {value:?} of {key} {problem}"));
            }
        }
        for key in policy.annotations.keys() {
            // The API server takes annotation keys with upper case prefixes.
            check_key(&format!("{path}.annotations"), key, &key.to_lowercase(), findings);
        }
    }
}

fn check_key(path: &str, key: &str, judged: &str, findings: &mut Findings) {
    if let Some(problem) = syntax::qualified_name(judged) {
        findings.error(path, &format!("key {key:?} {problem}"));
    } else if is_reserved_key(judged) {
        findings.error(path, &format!("key {key:?} is reserved, no marker may write below probelet.io/ or kruise.io/"));
    }
}
