//! What can be meant, and is mostly a mistake.

use super::{Findings, Marker};
use probelet_protocol::marker::MarkerPolicy;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn look(marker: &Marker, findings: &mut Findings) {
    let mut writers: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let selected = selected_keys(marker);
    for (index, probe) in &marker.probes {
        let path = format!("spec.probes[{index}].markerPolicy");
        let keys: BTreeSet<_> = probe.marker_policy.iter().flat_map(keys).collect();
        for (kind, key) in keys {
            match writers.get(&(kind, key)) {
                Some(first) => {
                    findings.warning(&path, &format!("{kind} {key} is also written by spec.probes[{first}]"))
                }
                None => {
                    writers.insert((kind, key), *index);
                }
            }
            if kind == "label" && selected.contains(key) {
                findings.warning(&path, &format!("label {key} is in spec.selector, marking may unselect the Pod"));
            }
        }
    }
}

fn keys(policy: &MarkerPolicy) -> impl Iterator<Item = (&'static str, &str)> {
    let labels = policy.labels.keys().map(|key| ("label", key.as_str()));
    labels.chain(policy.annotations.keys().map(|key| ("annotation", key.as_str())))
}

fn selected_keys(marker: &Marker) -> BTreeSet<&str> {
    let Some(selector) = &marker.selector else { return BTreeSet::new() };
    let expressions = selector.match_expressions.iter().map(|requirement| requirement.key.as_str());
    selector.match_labels.keys().map(String::as_str).chain(expressions).collect()
}
