//! A plan that the Pod's owner wrote, with no marker behind it. It is used as it is, or refused: nobody else would tell
//! the owner.

use super::{Marking, MergeError, annotation_of, judge, writes};
use crate::pod::{Pod, name};
use crate::port;
use crate::warning::Warnings;
use probelet_protocol::name::{PLAN_ANNOTATION, POLICIES_ANNOTATION};
use probelet_protocol::plan::{Plan, PlannedProbe};

pub(super) fn merge(pod: &Pod, warnings: &mut Warnings) -> Result<Marking, MergeError> {
    let plan =
        Plan::parse(pod.annotation(PLAN_ANNOTATION), pod.annotation(POLICIES_ANNOTATION)).map_err(MergeError::Own)?;
    let ports = port::named(pod);
    for planned in &plan.probes {
        let problem = judge::handler(&planned.probe)
            .or_else(|| judge::condition(planned.condition_type.as_deref().unwrap_or_default()))
            .or_else(|| judge::policies(&planned.policies));
        if let Some(problem) = problem {
            let annotation = annotation_of(planned);
            return Err(MergeError::NotAllowed { annotation, probe: planned.id.clone(), problem });
        }
        warn_of_container(pod, planned, warnings);
        if let Some(problem) = port::problem(&planned.probe, &planned.id.container, &ports) {
            warnings.push(format!("annotation {}: probe {}{problem}", annotation_of(planned), planned.id));
        }
    }
    Ok(Marking { writes: writes(&plan), plan, ..Marking::default() })
}

pub(super) fn warn_of_container(pod: &Pod, planned: &PlannedProbe, warnings: &mut Warnings) {
    if !pod.targets().any(|container| name(container) == planned.id.container) {
        let annotation = annotation_of(planned);
        warnings.push(format!("annotation {annotation}: probe {}: the Pod has no such container", planned.id));
    }
}
