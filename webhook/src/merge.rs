//! From markers to a Pod's plan: the annotations that OpenKruise writes, and those that it leaves out
//! (openkruise/kruise:pkg/webhook/pod/mutating/pod_probe_marker.go). Which probe is left out does not depend on the
//! order in which markers were seen: they are taken by name.

use crate::cluster::{Marker, Namespace};
use crate::pod::{Pod, name};
use crate::port;
use crate::select::is_injected;
use crate::warning::Warnings;
use probelet_protocol::limit;
use probelet_protocol::marker::PodContainerProbe;
use probelet_protocol::name::{
    MARKER_LIST_ANNOTATION, NAMED_MARKERS_ANNOTATION, PLAN_ANNOTATION, POLICIES_ANNOTATION, is_reserved_key,
};
use probelet_protocol::plan::{Plan, PlanError, PlannedProbe, PolicyEntry, ProbeId};
use probelet_protocol::port::NamedPorts;
use probelet_protocol::writes::Writes;
use std::collections::BTreeSet;
use std::sync::Arc;

mod judge;
mod own;

/// A Pod's plan, as values and as the annotations to write. `None`: leave that annotation as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marking {
    /// The probes.
    pub plan: Plan,
    /// `kruise.io/podprobe`.
    pub plan_text: Option<String>,
    /// `kruise.io/podprobemarker-list`.
    pub list_text: Option<String>,
    /// `probelet.io/named-markers`.
    pub named_text: Option<String>,
    /// `probelet.io/marker-policies`.
    pub policies_text: Option<String>,
    /// What the Pod's identity may write.
    pub writes: Writes,
    /// Whether any marker was found at all.
    pub has_markers: bool,
}

/// A plan that the Pod brings and that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The annotations that the Pod's owner wrote are no plan.
    #[error(transparent)]
    Own(PlanError),
    /// The annotation that another webhook wrote is no plan; the Pod's owner cannot help it.
    #[error(transparent)]
    Foreign(PlanError),
    /// It would write what is not the Pod's.
    #[error("annotation {annotation}: probe {probe}: {problem}")]
    NotAllowed {
        /// Annotation key.
        annotation: &'static str,
        /// Container and name.
        probe: ProbeId,
        /// What and why.
        problem: String,
    },
    /// The values could not be written as JSON.
    #[error("writing the plan: {0}")]
    Write(#[from] serde_json::Error),
}

/// Makes a Pod's plan of its namespace's markers, or of what the Pod brings.
///
/// # Errors
/// [`MergeError`] where the Pod brings a plan that cannot be used.
pub fn merge(pod: &Pod, namespace: Option<&Namespace>, warnings: &mut Warnings) -> Result<Marking, MergeError> {
    let brought = pod.annotation(PLAN_ANNOTATION).filter(|text| !text.trim().is_empty());
    if brought.is_some() && named(pod).is_none() {
        return own::merge(pod, warnings);
    }
    let markers = find(pod, namespace, warnings);
    let mut merger = Merger::of(pod, warnings);
    if brought.is_some() {
        merger.seed(pod).map_err(MergeError::Foreign)?;
    }
    for marker in &markers {
        merger.take(marker);
    }
    let marking = merger.finish(pod, !markers.is_empty())?;
    Ok(Marking { named_text: first_named(pod, namespace), ..marking })
}

/// The markers for a Pod: those that its owner named, else those that select it; by name, each once.
fn find(pod: &Pod, namespace: Option<&Namespace>, warnings: &mut Warnings) -> Vec<Arc<Marker>> {
    let Some(namespace) = namespace else { return Vec::new() };
    // An earlier pass told whose the list is.
    let listed = named(pod).filter(|_| !is_injected(pod));
    let names = listed.or_else(|| names(pod, NAMED_MARKERS_ANNOTATION));
    let Some(names) = names else {
        return namespace.markers.values().filter(|marker| selects(marker, pod)).cloned().collect();
    };
    let mut found = Vec::new();
    for name in names {
        match namespace.markers.get(name) {
            Some(marker) => found.push(marker.clone()),
            None => warnings
                .push(format!("annotation {MARKER_LIST_ANNOTATION}: no PodProbeMarker {name:?} in this namespace")),
        }
    }
    found
}

fn selects(marker: &Marker, pod: &Pod) -> bool {
    marker.spec.selector.as_ref().is_some_and(|selector| selector.matches(&pod.metadata.labels))
}

fn named(pod: &Pod) -> Option<BTreeSet<&str>> {
    names(pod, MARKER_LIST_ANNOTATION)
}

fn names<'a>(pod: &'a Pod, annotation: &str) -> Option<BTreeSet<&'a str>> {
    let names: BTreeSet<_> =
        pod.annotation(annotation)?.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    (!names.is_empty()).then_some(names)
}

/// Which markers the owner of a Pod named, where this is the first pass. A list beside a plan is OpenKruise's: that one was
/// named where some marker on it does not select the Pod.
fn first_named(pod: &Pod, namespace: Option<&Namespace>) -> Option<String> {
    let listed = named(pod).filter(|_| !is_injected(pod))?;
    let has_plan = pod.annotation(PLAN_ANNOTATION).is_some_and(|text| !text.trim().is_empty());
    let is_selected =
        |name: &str| namespace.and_then(|known| known.markers.get(name)).is_some_and(|marker| selects(marker, pod));
    let is_named = !has_plan || !listed.iter().all(|name| is_selected(name));
    is_named.then(|| listed.into_iter().collect::<Vec<_>>().join(","))
}

/// Takes probes one by one and keeps what makes them unique.
struct Merger<'a> {
    containers: BTreeSet<&'a str>,
    ports: NamedPorts,
    /// Whether probes with a condition are added. Not to a plan that OpenKruise just wrote; but to one of an earlier
    /// pass, as containers may have come since.
    extends: bool,
    /// Probes of `plan` that were on the Pod already and have no marker yet.
    seeded: BTreeSet<ProbeId>,
    ids: BTreeSet<ProbeId>,
    types: BTreeSet<String>,
    list: BTreeSet<String>,
    probes: Vec<PodContainerProbe>,
    entries: Vec<PolicyEntry>,
    bytes: usize,
    is_longer: bool,
    plan: Plan,
    warnings: &'a mut Warnings,
}

impl<'a> Merger<'a> {
    fn of(pod: &'a Pod, warnings: &'a mut Warnings) -> Self {
        Self {
            containers: pod.targets().map(name).collect(),
            ports: port::named(pod),
            extends: true,
            seeded: BTreeSet::new(),
            ids: BTreeSet::new(),
            types: BTreeSet::new(),
            list: BTreeSet::new(),
            probes: Vec::new(),
            entries: Vec::new(),
            bytes: 0,
            is_longer: false,
            plan: Plan::default(),
            warnings,
        }
    }

    /// Starts from the plan that is on the Pod, which stays as it is.
    fn seed(&mut self, pod: &Pod) -> Result<(), PlanError> {
        let text = pod.annotation(PLAN_ANNOTATION).unwrap_or_default();
        self.plan = Plan::parse(Some(text), None)?;
        self.probes = serde_json::from_str(text)
            .map_err(|source| PlanError::Malformed { annotation: PLAN_ANNOTATION, source })?;
        self.extends = is_injected(pod);
        self.bytes = text.len();
        for planned in &self.plan.probes {
            self.ids.insert(planned.id.clone());
            self.types.extend(planned.condition_type.clone());
            own::warn_of_container(pod, planned, self.warnings);
        }
        self.seeded = self.ids.clone();
        Ok(())
    }

    /// The order of the plan is that of the markers' names, then of their probes.
    fn take(&mut self, marker: &Marker) {
        for (index, probe) in marker.spec.probes.iter().enumerate() {
            if !self.containers.contains(probe.container_name.as_str()) {
                continue;
            }
            let at = |field: &str| format!("marker {}: spec.probes[{index}]{field}", marker.name);
            let id = ProbeId { container: probe.container_name.clone(), name: probe.name.clone() };
            let has_condition = !probe.pod_condition_type.is_empty();
            if self.seeded.remove(&id) {
                self.join(marker, probe, &id);
            } else if has_condition && !self.extends {
                // OpenKruise left it out.
            } else if self.ids.contains(&id) {
                self.warnings.push(format!("{}: left out, probe {id} is another marker's", at(".name")));
            } else if self.types.contains(&probe.pod_condition_type) {
                let kind = &probe.pod_condition_type;
                self.warnings.push(format!("{}: left out, {kind} is another probe's", at(".podConditionType")));
            } else if let Some((field, problem)) = judge::problem(probe) {
                self.warnings.push(format!("{}: left out, {problem}", at(field)));
            } else if !self.has_room(probe) {
                self.warnings.push(format!("{}: left out, the plan would exceed its limits", at("")));
            } else {
                if let Some(problem) = port::problem(&probe.probe, &probe.container_name, &self.ports) {
                    self.warnings.push(at(&problem));
                }
                self.add(marker, probe, id);
            }
        }
    }

    fn has_room(&mut self, probe: &PodContainerProbe) -> bool {
        // What an entry has besides the probe is short.
        let bytes = self.bytes + serde_json::to_string(probe).map_or(limit::PLAN_BYTES, |text| text.len() + 128);
        let fits = self.plan.probes.len() < limit::PROBES && bytes <= limit::PLAN_BYTES;
        if fits {
            self.bytes = bytes;
        }
        fits
    }

    /// A probe that is in the Pod's plan already gets its policies.
    fn join(&mut self, marker: &Marker, probe: &PodContainerProbe, id: &ProbeId) {
        let Some(planned) = self.plan.probes.iter_mut().find(|planned| planned.id == *id) else { return };
        self.list.insert(marker.name.clone());
        if let Some(problem) = judge::policies(&probe.marker_policy) {
            self.warnings.push(format!("marker {}: probe {id}.markerPolicy: left out, {problem}", marker.name));
            return;
        }
        planned.marker.clone_from(&marker.name);
        planned.policies.clone_from(&probe.marker_policy);
        planned.keep_marks = marker.keep_marks;
        if !probe.marker_policy.is_empty() || marker.keep_marks {
            self.entries.push(PolicyEntry { probe: None, ..entry(marker, probe) });
        }
    }

    fn add(&mut self, marker: &Marker, probe: &PodContainerProbe, id: ProbeId) {
        let condition_type = Some(probe.pod_condition_type.clone()).filter(|kind| !kind.is_empty());
        self.ids.insert(id.clone());
        self.types.extend(condition_type.clone());
        self.list.insert(marker.name.clone());
        let without_condition = condition_type.is_none();
        if !without_condition {
            self.is_longer = true;
            self.probes.push(PodContainerProbe { marker_policy: Vec::new(), ..probe.clone() });
        }
        if without_condition || !probe.marker_policy.is_empty() || marker.keep_marks {
            self.entries.push(entry(marker, probe));
        }
        self.plan.probes.push(PlannedProbe {
            id,
            marker: marker.name.clone(),
            probe: probe.probe.clone(),
            condition_type,
            policies: probe.marker_policy.clone(),
            keep_marks: marker.keep_marks,
        });
    }

    fn finish(mut self, pod: &Pod, has_markers: bool) -> Result<Marking, MergeError> {
        let plan_text = if self.is_longer { non_empty(&self.probes)? } else { None };
        let preset = named(pod);
        let is_known = preset.as_ref().is_some_and(|names| self.list.iter().all(|name| names.contains(name.as_str())));
        let list_text = (!is_known && !self.list.is_empty()).then(|| {
            self.list.extend(preset.into_iter().flatten().map(str::to_owned));
            self.list.iter().map(String::as_str).collect::<Vec<_>>().join(",")
        });
        let policies_text = non_empty(&self.entries)?;
        let writes = writes(&self.plan);
        Ok(Marking { writes, plan: self.plan, plan_text, list_text, policies_text, has_markers, ..Marking::default() })
    }
}

/// What a plan may write; never what is the kubelet's or reserved, whoever made the plan (threat T3).
fn writes(plan: &Plan) -> Writes {
    let mut writes = Writes::of(plan);
    writes.conditions.retain(|kind| judge::condition(kind).is_none());
    writes.labels.retain(|key| !is_reserved_key(key));
    writes.annotations.retain(|key| !is_reserved_key(key));
    writes
}

fn entry(marker: &Marker, probe: &PodContainerProbe) -> PolicyEntry {
    PolicyEntry {
        name: probe.name.clone(),
        container_name: probe.container_name.clone(),
        marker: marker.name.clone(),
        probe: probe.pod_condition_type.is_empty().then(|| probe.probe.clone()),
        marker_policy: probe.marker_policy.clone(),
        keep_marks: marker.keep_marks,
    }
}

fn non_empty<T: serde::Serialize>(list: &[T]) -> Result<Option<String>, serde_json::Error> {
    if list.is_empty() { Ok(None) } else { serde_json::to_string(list).map(Some) }
}

/// Annotation that a planned probe's entry stands in.
fn annotation_of(planned: &PlannedProbe) -> &'static str {
    if planned.condition_type.is_some() { PLAN_ANNOTATION } else { POLICIES_ANNOTATION }
}

#[cfg(test)]
mod tests;
