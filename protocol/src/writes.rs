//! `probelet.io/writes`: what a Pod's own identity may write to its Pod. Read by the admission policies in CEL, so it
//! is flat text, not JSON: `c:<condition type>`, `l:<label key>`, `a:<annotation key>`, comma-joined, sorted. None of
//! the three kinds of name can contain a comma or a colon.

use crate::plan::Plan;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Names of conditions, labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Condition types.
    pub conditions: BTreeSet<String>,
    /// Label keys.
    pub labels: BTreeSet<String>,
    /// Annotation keys.
    pub annotations: BTreeSet<String>,
}

/// An item that is none of the three kinds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation probelet.io/writes: {0:?}: each item must start with c:, l: or a:, followed by a name")]
pub struct WritesError(String);

impl Writes {
    /// Everything that a plan may write.
    pub fn of(plan: &Plan) -> Self {
        let mut writes = Self::default();
        for planned in &plan.probes {
            writes.conditions.extend(planned.condition_type.clone());
            for policy in &planned.policies {
                writes.labels.extend(policy.labels.keys().cloned());
                writes.annotations.extend(policy.annotations.keys().cloned());
            }
        }
        writes
    }

    /// Adds another one's names, as for keys that are being retired.
    pub fn extend(&mut self, other: Self) {
        self.conditions.extend(other.conditions);
        self.labels.extend(other.labels);
        self.annotations.extend(other.annotations);
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [('c', &self.conditions), ('l', &self.labels), ('a', &self.annotations)];
        let items = kinds.into_iter().flat_map(|(kind, names)| names.iter().map(move |name| (kind, name)));
        for (index, (kind, name)) in items.enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{kind}:{name}")?;
        }
        Ok(())
    }
}

impl FromStr for Writes {
    type Err = WritesError;

    fn from_str(text: &str) -> Result<Self, WritesError> {
        let mut writes = Self::default();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let names = match item.split_once(':') {
                Some(("c", name)) if !name.is_empty() => (&mut writes.conditions, name),
                Some(("l", name)) if !name.is_empty() => (&mut writes.labels, name),
                Some(("a", name)) if !name.is_empty() => (&mut writes.annotations, name),
                _ => return Err(WritesError(item.to_owned())),
            };
            names.0.insert(names.1.to_owned());
        }
        Ok(writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_may_write_its_condition_types_and_the_keys_of_all_its_policies() {
        let plan = Plan::parse(
            Some(r#"[{"name":"a","containerName":"c","probe":{"tcpSocket":{"port":1}},"podConditionType":"x.io/T"}]"#),
            Some(
                r#"[{"name":"a","containerName":"c","markerPolicy":[{"state":"Failed","labels":{"x.io/l":"1"}},
                    {"state":"Succeeded","annotations":{"x.io/a":"2"}}]}]"#,
            ),
        )
        .expect("plan");
        let text = Writes::of(&plan).to_string();
        assert_eq!(text, "c:x.io/T,l:x.io/l,a:x.io/a");
        assert_eq!(text.parse(), Ok(Writes::of(&plan)));
        assert_eq!("".parse(), Ok(Writes::default()));
    }

    #[test]
    fn an_item_of_no_kind_is_refused_by_name() {
        for bad in ["x", "c:", "z:a", "c:a,Ready"] {
            let error = bad.parse::<Writes>().expect_err(bad).to_string();
            assert!(error.contains("must start with c:, l: or a:"), "{error}");
        }
    }
}
