//! What a running Pod's annotations should be, after its markers have changed. Pure: the Pod and the markers in, changes out.

use crate::cluster::Namespace;
use crate::merge::{MergeError, merge};
use crate::pod::Pod;
use crate::warning::Warnings;
use probelet_protocol::name::{
    AGENT_CONTAINER, MARKER_LIST_ANNOTATION, NAMED_MARKERS_ANNOTATION, PLAN_ANNOTATION, POLICIES_ANNOTATION,
    WRITES_ANNOTATION,
};
use probelet_protocol::plan::Plan;
use probelet_protocol::writes::Writes;
use std::collections::BTreeMap;

/// What has to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Annotations to set, or to remove.
    pub annotations: BTreeMap<&'static str, Option<String>>,
    /// A probe runs a command, and the Pod was started without the agent that could.
    pub lacks_agent: bool,
}

/// Compares a Pod with its markers. `present`: names that it may write and has.
///
/// # Errors
/// [`MergeError`] where its annotations cannot be read; then they stay.
pub fn revise(pod: &Pod, present: &Writes, namespace: &Namespace) -> Result<Revision, MergeError> {
    let listed = pod.annotation(MARKER_LIST_ANNOTATION).unwrap_or_default();
    let own = pod.annotation(PLAN_ANNOTATION).is_some_and(|text| !text.trim().is_empty());
    if own && listed.trim().is_empty() {
        // The Pod brought its plan; no marker has a say in it.
        return Ok(Revision::default());
    }
    let mut fresh = pod.clone();
    let annotations = fresh.metadata.annotations.get_or_insert_default();
    for key in [PLAN_ANNOTATION, POLICIES_ANNOTATION] {
        annotations.remove(key);
    }
    // Where the Pod's owner wrote the list it stays, whatever becomes of its markers.
    let named = pod.annotation(NAMED_MARKERS_ANNOTATION).map(|_| listed.to_owned());
    if named.is_none() {
        annotations.remove(MARKER_LIST_ANNOTATION);
    }
    let marking = merge(&fresh, Some(namespace), &mut Warnings::default())?;
    let mut writes = marking.writes.clone();
    writes.extend(retiring(pod, present, &writes));
    let writes = Some(writes.to_string()).filter(|text| !text.is_empty());
    let wanted = [
        (PLAN_ANNOTATION, marking.plan_text),
        (MARKER_LIST_ANNOTATION, marking.list_text.or(named)),
        (POLICIES_ANNOTATION, marking.policies_text),
        (WRITES_ANNOTATION, writes),
    ];
    let annotations =
        wanted.into_iter().filter(|(key, text)| pod.annotation(key) != text.as_deref()).collect::<BTreeMap<_, _>>();
    let lacks_agent = marking.plan.has_exec() && !pod.has_container(AGENT_CONTAINER);
    Ok(Revision { annotations, lacks_agent })
}

/// Names that the Pod may write no longer, but still has to remove.
fn retiring(pod: &Pod, present: &Writes, wanted: &Writes) -> Writes {
    let plan = Plan::parse(pod.annotation(PLAN_ANNOTATION), pod.annotation(POLICIES_ANNOTATION)).unwrap_or_default();
    // What is to stay on the Pod is nobody's to remove.
    let probes = plan.probes.into_iter().filter(|planned| planned.keep_marks).collect();
    let staying = Writes::of(&Plan { probes });
    let left = |present: &std::collections::BTreeSet<String>,
                wanted: &std::collections::BTreeSet<String>,
                staying: &std::collections::BTreeSet<String>| {
        present.iter().filter(|name| !wanted.contains(*name) && !staying.contains(*name)).cloned().collect()
    };
    Writes {
        conditions: left(&present.conditions, &wanted.conditions, &staying.conditions),
        labels: left(&present.labels, &wanted.labels, &staying.labels),
        annotations: left(&present.annotations, &wanted.annotations, &staying.annotations),
    }
}

#[cfg(test)]
mod tests;
