//! Names that no probe writes any more, and that are removed from the Pod.

use crate::desired::{Unit, units};
use crate::observed::Observed;
use probelet_protocol::plan::Plan;
use probelet_protocol::writes::Writes;
use std::collections::BTreeSet;

/// Names to remove, and those that are left on purpose.
#[derive(Clone, Debug, Default)]
pub struct Retired {
    names: Writes,
    kept: BTreeSet<Unit>,
}

// === impl Retired ===

impl Retired {
    /// Names to remove, if they are there.
    pub fn names(&self) -> &Writes {
        &self.names
    }

    /// The plan was edited: what only the old one wrote is retired, unless its probe says to keep its marks.
    pub fn replan(&mut self, old: Plan, new: &Plan) {
        let (kept, gone): (Vec<_>, Vec<_>) = old.probes.into_iter().partition(|planned| planned.keep_marks);
        let planned = units(&Writes::of(new));
        self.kept.extend(units(&Writes::of(&Plan { probes: kept })));
        self.kept.retain(|unit| !planned.contains(unit));
        self.names.extend(Writes::of(&Plan { probes: gone }));
        let kept = &self.kept;
        retain(&mut self.names, |unit| !kept.contains(unit));
    }

    /// Names that the Pod's own list still allows and the plan does not need are retired as well: their probe went away while no
    /// sidecar was running. What is gone stays retired while it is listed, so that a node that puts it back is healed at the
    /// rate of every heal; after that it is done with, and theirs who set it later.
    pub fn observe(&mut self, observed: &Observed, plan: &Plan) {
        let listed: Writes = observed.plan.writes.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default();
        let planned = units(&Writes::of(plan));
        let is_listed = units(&listed);
        self.names.extend(listed);
        let kept = &self.kept;
        let is_open = |unit: &Unit| is_listed.contains(unit) || observed.holds(unit);
        retain(&mut self.names, |unit| is_open(unit) && !planned.contains(unit) && !kept.contains(unit));
    }
}

fn retain(names: &mut Writes, keep: impl Fn(&Unit) -> bool) {
    names.conditions.retain(|name| keep(&Unit::Condition(name.clone())));
    names.labels.retain(|name| keep(&Unit::Label(name.clone())));
    names.annotations.retain(|name| keep(&Unit::Annotation(name.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(names: &[&str], keep_marks: bool) -> Plan {
        let entry = |name: &&str| {
            format!(
                r#"{{"name":"{name}","containerName":"c","keepMarks":{keep_marks},"probe":{{"tcpSocket":{{"port":1}}}},
                "markerPolicy":[{{"state":"Failed","labels":{{"{name}":"1"}}}}]}}"#
            )
        };
        let text = names.iter().map(entry).collect::<Vec<_>>().join(",");
        Plan::parse(None, Some(&format!("[{text}]"))).expect("plan")
    }

    fn pod(labels: &str, writes: &str) -> Observed {
        let json = format!(
            r#"{{"metadata":{{"uid":"u","labels":{labels},"annotations":{{"probelet.io/writes":"{writes}"}}}}}}"#
        );
        Observed::parse(json.as_bytes()).expect("pod")
    }

    #[test]
    fn what_an_edit_drops_is_retired_until_it_is_gone() {
        let mut retired = Retired::default();
        retired.replan(plan(&["a", "b"], false), &plan(&["b"], false));
        assert!(retired.names().labels.contains("a"));
        retired.observe(&pod(r#"{"a":"1","b":"1"}"#, ""), &plan(&["b"], false));
        assert_eq!(retired.names().to_string(), "l:a");
        retired.observe(&pod(r#"{"b":"1"}"#, "l:a,l:b"), &plan(&["b"], false));
        assert_eq!(retired.names().to_string(), "l:a", "it may be put back");
        retired.observe(&pod(r#"{"b":"1"}"#, "l:b"), &plan(&["b"], false));
        assert_eq!(retired.names().to_string(), "");
        retired.observe(&pod(r#"{"a":"1","b":"1"}"#, "l:b"), &plan(&["b"], false));
        assert_eq!(retired.names().to_string(), "", "somebody else's");
    }

    #[test]
    fn marks_to_keep_are_not_retired_even_while_they_are_listed() {
        let mut retired = Retired::default();
        retired.replan(plan(&["a"], true), &plan(&[], false));
        retired.observe(&pod(r#"{"a":"1","old":"1"}"#, "l:a,l:old"), &plan(&[], false));
        assert_eq!(retired.names().to_string(), "l:old");
    }
}
