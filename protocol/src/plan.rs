//! What one Pod's sidecar has to do: the probes of `kruise.io/podprobe` together with their marker policies.

use crate::limit;
use crate::marker::{MarkerPolicy, PodContainerProbe};
use crate::name::{PLAN_ANNOTATION, POLICIES_ANNOTATION};
use crate::probe::{HandlerError, Probe, null_is_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// One entry of `probelet.io/marker-policies`: what OpenKruise leaves out of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyEntry {
    /// The probe's name.
    #[serde(default)]
    pub name: String,
    /// The probe's container.
    #[serde(default)]
    pub container_name: String,
    /// The marker that it comes from, for logs; empty for a Pod that brought its own plan.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub marker: String,
    /// The whole probe, where it has no condition type: such probes are not in `kruise.io/podprobe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Labels and annotations by state.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub marker_policy: Vec<MarkerPolicy>,
    /// Leave the marks when the probe goes away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_marks: bool,
}

/// Identity of a probe within its Pod. Two fields, not one joined string: names may contain any separator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId {
    /// Container that is probed.
    pub container: String,
    /// The probe's name.
    pub name: String,
}

/// A probe with everything that its result decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedProbe {
    /// Which one.
    pub id: ProbeId,
    /// Marker that it comes from; empty where unknown.
    pub marker: String,
    /// What to run and when; has exactly one handler.
    pub probe: Probe,
    /// Condition that takes the result.
    pub condition_type: Option<String>,
    /// Labels and annotations by state.
    pub policies: Vec<MarkerPolicy>,
    /// Leave the marks when the probe goes away.
    pub keep_marks: bool,
}

/// All probes of a Pod, in the annotations' order: first those with a condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The probes; identities and condition types are unique.
    pub probes: Vec<PlannedProbe>,
}

/// Why a Pod's annotations are no plan. Names the annotation, the entry and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Larger than [`limit::PLAN_BYTES`].
    #[error("annotation {annotation}: {bytes} bytes, at most {} are allowed", limit::PLAN_BYTES)]
    TooLarge {
        /// Annotation key.
        annotation: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// Not the JSON that it should be.
    #[error("annotation {annotation}: not a JSON list of probes: {source}")]
    Malformed {
        /// Annotation key.
        annotation: &'static str,
        /// Where and what.
        source: serde_json::Error,
    },
    /// More than [`limit::PROBES`].
    #[error("{count} probes, at most {most} are allowed in one Pod", count = .0, most = limit::PROBES)]
    TooMany(usize),
    /// A field of an entry is missing or has a value that can never work.
    #[error("annotation {annotation}: [{index}].{field}: {message}")]
    Invalid {
        /// Annotation key.
        annotation: &'static str,
        /// Entry, from 0.
        index: usize,
        /// Field path within the entry.
        field: &'static str,
        /// What is wrong and what is allowed.
        message: String,
    },
}

impl Plan {
    /// Reads a plan from the two annotations; absent or blank ones hold nothing. A repeated identity or condition type
    /// is skipped, the first one counts, as OpenKruise merges (openkruise/kruise:pkg/webhook/pod/mutating/pod_probe_marker.go).
    ///
    /// # Errors
    /// [`PlanError`], naming the annotation and the entry.
    pub fn parse(podprobe: Option<&str>, marker_policies: Option<&str>) -> Result<Self, PlanError> {
        let probes: Vec<PodContainerProbe> = parse_list(PLAN_ANNOTATION, podprobe)?;
        let mut entries: Vec<PolicyEntry> = parse_list(POLICIES_ANNOTATION, marker_policies)?;
        let mut plan = Self::default();
        let (mut ids, mut types) = (BTreeSet::new(), BTreeSet::new());
        for (index, probe) in probes.into_iter().enumerate() {
            let id = ProbeId { container: probe.container_name, name: probe.name };
            check(PLAN_ANNOTATION, index, &id, &probe.probe, "probe")?;
            let condition_type = Some(probe.pod_condition_type).filter(|kind| !kind.is_empty());
            if ids.contains(&id) || condition_type.as_ref().is_some_and(|kind| types.contains(kind)) {
                continue;
            }
            ids.insert(id.clone());
            types.extend(condition_type.clone());
            let entry = take_entry(&mut entries, &id);
            plan.probes.push(PlannedProbe {
                marker: entry.marker,
                probe: probe.probe,
                condition_type,
                policies: if probe.marker_policy.is_empty() { entry.marker_policy } else { probe.marker_policy },
                keep_marks: entry.keep_marks,
                id,
            });
        }
        for (index, entry) in entries.into_iter().enumerate() {
            let Some(probe) = entry.probe else { continue };
            let id = ProbeId { container: entry.container_name, name: entry.name };
            check(POLICIES_ANNOTATION, index, &id, &probe, "probe")?;
            if ids.insert(id.clone()) {
                plan.probes.push(PlannedProbe {
                    id,
                    marker: entry.marker,
                    probe,
                    condition_type: None,
                    policies: entry.marker_policy,
                    keep_marks: entry.keep_marks,
                });
            }
        }
        if plan.probes.len() > limit::PROBES {
            return Err(PlanError::TooMany(plan.probes.len()));
        }
        Ok(plan)
    }

    /// Whether some probe runs a command, so that the Pod needs the exec agent.
    pub fn has_exec(&self) -> bool {
        self.probes.iter().any(|planned| planned.probe.exec.is_some())
    }
}

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container, self.name)
    }
}

fn take_entry(entries: &mut [PolicyEntry], id: &ProbeId) -> PolicyEntry {
    entries
        .iter_mut()
        .find(|entry| entry.name == id.name && entry.container_name == id.container && entry.probe.is_none())
        .map(std::mem::take)
        .unwrap_or_default()
}

fn parse_list<T: for<'de> Deserialize<'de>>(annotation: &'static str, text: Option<&str>) -> Result<Vec<T>, PlanError> {
    let text = text.unwrap_or_default();
    if text.len() > limit::PLAN_BYTES {
        return Err(PlanError::TooLarge { annotation, bytes: text.len() });
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let list: Option<Vec<T>> =
        serde_json::from_str(text).map_err(|source| PlanError::Malformed { annotation, source })?;
    Ok(list.unwrap_or_default())
}

/// What no probe can do without. The rest is judged by its handler, at run time: a plan that another writer made must not stop the
/// other probes.
fn check(
    annotation: &'static str,
    index: usize,
    id: &ProbeId,
    probe: &Probe,
    field: &'static str,
) -> Result<(), PlanError> {
    let invalid = |field, message: String| Err(PlanError::Invalid { annotation, index, field, message });
    if id.name.is_empty() {
        return invalid("name", "must not be empty".into());
    }
    if id.container.is_empty() {
        return invalid("containerName", "must not be empty".into());
    }
    match probe.handler() {
        Ok(_) => Ok(()),
        Err(error @ (HandlerError::Missing | HandlerError::Several(_))) => invalid(field, error.to_string()),
    }
}

#[cfg(test)]
mod tests;
