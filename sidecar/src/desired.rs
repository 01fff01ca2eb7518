//! What the Pod should carry, given what its probes settled on.

use crate::threshold::ProbeState;
use probelet_protocol::limit::cut_message;
use probelet_protocol::marker::{MarkerPolicy, PolicyState};
use probelet_protocol::plan::{Plan, PlannedProbe, ProbeId};
use probelet_protocol::setting::Marks;
use probelet_protocol::writes::Writes;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// One thing on the Pod that can be written alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// An entry of `status.conditions`, by type.
    Condition(String),
    /// A label, by key.
    Label(String),
    /// An annotation, by key.
    Annotation(String),
}

/// How a unit should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// A condition with this content.
    Condition(Condition),
    /// A label or annotation with this value.
    Text(String),
    /// Not there.
    Absent,
}

/// The parts of a condition that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: Cow<'static, str>,
    /// CamelCase.
    pub reason: String,
    /// Cut to [`probelet_protocol::limit::MESSAGE_BYTES`].
    pub message: String,
}

/// What one probe has settled on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The state.
    pub state: ProbeState,
    /// CamelCase, for the condition and the log.
    pub reason: String,
    /// The handler's words; may be empty.
    pub message: String,
    /// Wall clock, whole seconds since 1970, when the state began.
    pub since: u64,
    /// Wall clock, whole seconds since 1970, of the run that settled it.
    pub probed: u64,
}

/// Everything that should be on the Pod.
pub type Desired = BTreeMap<Unit, Want>;

/// Results by probe; one that has not settled yet is absent.
pub type Results = BTreeMap<ProbeId, Settled>;

// === impl Unit ===

impl Unit {
    /// The condition type or key.
    pub fn name(&self) -> &str {
        match self {
            Self::Condition(name) | Self::Label(name) | Self::Annotation(name) => name,
        }
    }
}

/// The desired state of one Pod.
///
/// - Succeeded: condition True, the Succeeded policy's keys. Failed: condition False, the Failed policy's keys. Unknown:
///   condition Unknown, no policy's keys.
/// - Keys of a probe's other policies are deleted, also where no policy matches
///   (openkruise/kruise:pkg/controller/nodepodprobe/node_pod_probe_controller.go `updatePodProbeStatus`).
/// - A key that several probes write: a value set by any matching policy wins over every deletion, whichever probe it
///   comes from; of several values the probe later in the plan wins, as there. A key is not deleted while a probe that
///   may set it has not settled.
/// - `retired` is absent, unless the plan writes it again.
/// - With [`Marks::Conditions`] labels and annotations are left alone.
pub fn desired(plan: &Plan, results: &Results, retired: &Writes, marks: Marks) -> Desired {
    let mut desired = Desired::new();
    let mut unsettled = BTreeSet::new();
    for planned in &plan.probes {
        if results.get(&planned.id).is_none() {
            unsettled.extend(planned.policies.iter().flat_map(texts).map(|(unit, _)| unit));
        }
    }
    for planned in &plan.probes {
        let Some(settled) = results.get(&planned.id) else { continue };
        if let Some(kind) = &planned.condition_type {
            desired.insert(Unit::Condition(kind.clone()), Want::Condition(condition(settled)));
        }
        for (unit, want) in marked(planned, settled.state) {
            let is_deletion = want == Want::Absent;
            if is_deletion && (unsettled.contains(&unit) || desired.contains_key(&unit)) {
                continue;
            }
            desired.insert(unit, want);
        }
    }
    let planned = units(&Writes::of(plan));
    desired.extend(units(retired).into_iter().filter(|unit| !planned.contains(unit)).map(|unit| (unit, Want::Absent)));
    if marks == Marks::Conditions {
        desired.retain(|unit, _| matches!(unit, Unit::Condition(_)));
    }
    desired
}

/// Every unit that these names stand for.
pub fn units(writes: &Writes) -> BTreeSet<Unit> {
    let conditions = writes.conditions.iter().cloned().map(Unit::Condition);
    let labels = writes.labels.iter().cloned().map(Unit::Label);
    conditions.chain(labels).chain(writes.annotations.iter().cloned().map(Unit::Annotation)).collect()
}

/// One probe's own wishes for labels and annotations: what its matched policy sets, then what the others leave behind.
fn marked(planned: &PlannedProbe, state: ProbeState) -> Vec<(Unit, Want)> {
    let is_matched = |policy: &&MarkerPolicy| match policy.state {
        PolicyState::Succeeded => state == ProbeState::Succeeded,
        PolicyState::Failed => state == ProbeState::Failed,
    };
    let matched: BTreeMap<_, _> = planned.policies.iter().filter(is_matched).flat_map(texts).collect();
    let opposite = planned.policies.iter().filter(|policy| !is_matched(policy)).flat_map(texts);
    let deleted = opposite.filter(|(unit, _)| !matched.contains_key(unit)).map(|(unit, _)| (unit, Want::Absent));
    let deleted: Vec<_> = deleted.collect();
    matched.into_iter().map(|(unit, value)| (unit, Want::Text(value.to_owned()))).chain(deleted).collect()
}

fn texts(policy: &MarkerPolicy) -> impl Iterator<Item = (Unit, &str)> {
    let labels = policy.labels.iter().map(|(key, value)| (Unit::Label(key.clone()), value.as_str()));
    let annotations = policy.annotations.iter().map(|(key, value)| (Unit::Annotation(key.clone()), value.as_str()));
    labels.chain(annotations)
}

fn condition(settled: &Settled) -> Condition {
    let status = match settled.state {
        ProbeState::Succeeded => "True",
        ProbeState::Failed => "False",
        ProbeState::Unknown => "Unknown",
    };
    Condition {
        status: status.into(),
        reason: settled.reason.clone(),
        message: cut_message(&settled.message).to_owned(),
    }
}

#[cfg(test)]
mod tests;
