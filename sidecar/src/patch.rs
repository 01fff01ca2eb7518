//! One strategic merge patch for `pods/status`, and the comparison that it comes from.

use crate::desired::{Desired, Unit, Want};
use crate::observed::Observed;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// Changes to one Pod. Without any it is a look: it writes nothing, and its answer is the Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Guards against a Pod replaced under the same name.
    pub uid: String,
    /// What changes.
    pub changes: BTreeMap<Unit, Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How it is to be.
    pub want: Want,
    /// For conditions.
    pub times: Times,
}

/// Times of a condition, in seconds since 1970; an absent one is left as it is on the Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// `lastProbeTime`.
    pub probed: Option<u64>,
    /// `lastTransitionTime`.
    pub since: Option<u64>,
}

/// Units that are not as desired. Without an observation that is all of them.
pub fn differing<'a>(desired: &'a Desired, observed: Option<&Observed>) -> BTreeMap<&'a Unit, &'a Want> {
    let differs = |(unit, want): &(&Unit, &Want)| observed.is_none_or(|observed| !observed.has(unit, want));
    desired.iter().filter(differs).collect()
}

// === impl Patch ===

impl Patch {
    /// A patch that changes nothing.
    pub fn look(uid: &str) -> Self {
        Self { uid: uid.to_owned(), changes: BTreeMap::new() }
    }

    /// The body to send.
    pub fn body(&self) -> Vec<u8> {
        // Maps with text keys and plain values: serialisation cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn texts(&self, key: fn(&Unit) -> Option<&str>) -> BTreeMap<&str, Option<&str>> {
        let mut texts = BTreeMap::new();
        for (unit, change) in &self.changes {
            if let Some(key) = key(unit) {
                let value = if let Want::Text(value) = &change.want { Some(value.as_str()) } else { None };
                texts.insert(key, value);
            }
        }
        texts
    }
}

impl Serialize for Patch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let conditions = Conditions(&self.changes);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("metadata", &Metadata(self))?;
        if self.changes.keys().any(|unit| matches!(unit, Unit::Condition(_))) {
            map.serialize_entry("status", &BTreeMap::from([("conditions", conditions)]))?;
        }
        map.end()
    }
}

struct Metadata<'a>(&'a Patch);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("uid", &self.0.uid)?;
        let labels = self.0.texts(|unit| if let Unit::Label(key) = unit { Some(key) } else { None });
        if !labels.is_empty() {
            map.serialize_entry("labels", &labels)?;
        }
        let annotations = self.0.texts(|unit| if let Unit::Annotation(key) = unit { Some(key) } else { None });
        if !annotations.is_empty() {
            map.serialize_entry("annotations", &annotations)?;
        }
        map.end()
    }
}

/// Entries of `status.conditions`, merged by type; foreign ones are not named, so they stay.
struct Conditions<'a>(&'a BTreeMap<Unit, Change>);

impl Serialize for Conditions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (unit, change) in self.0 {
            if let Unit::Condition(kind) = unit {
                list.serialize_element(&Entry { kind, change })?;
            }
        }
        list.end()
    }
}

struct Entry<'a> {
    kind: &'a str,
    change: &'a Change,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.kind)?;
        let Want::Condition(condition) = &self.change.want else {
            map.serialize_entry("$patch", "delete")?;
            return map.end();
        };
        map.serialize_entry("status", &condition.status)?;
        map.serialize_entry("reason", &condition.reason)?;
        map.serialize_entry("message", &condition.message)?;
        if let Some(probed) = self.change.times.probed {
            map.serialize_entry("lastProbeTime", &rfc3339(probed))?;
        }
        if let Some(since) = self.change.times.since {
            map.serialize_entry("lastTransitionTime", &rfc3339(since))?;
        }
        map.end()
    }
}

/// A time as the API server writes it, from seconds since 1970.
pub fn rfc3339(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Condition;

    fn condition() -> Want {
        Want::Condition(Condition { status: "True".into(), reason: "R".into(), message: "m \"q\"".into() })
    }

    #[test]
    fn a_patch_names_the_uid_and_nothing_that_does_not_change() {
        assert_eq!(Patch::look("u1").body(), br#"{"metadata":{"uid":"u1"}}"#);
        let changes = BTreeMap::from([
            (
                Unit::Condition("T".into()),
                Change { want: condition(), times: Times { probed: Some(0), since: Some(86_400) } },
            ),
            (Unit::Condition("V".into()), Change { want: condition(), times: Times::default() }),
            (Unit::Condition("Old".into()), Change { want: Want::Absent, times: Times::default() }),
            (Unit::Label("a/b".into()), Change { want: Want::Text("1".into()), times: Times::default() }),
            (Unit::Label("gone".into()), Change { want: Want::Absent, times: Times::default() }),
            (Unit::Annotation("n".into()), Change { want: Want::Text("{}".into()), times: Times::default() }),
        ]);
        let body = String::from_utf8(Patch { uid: "u1".into(), changes }.body()).expect("text");
        assert_eq!(
            body,
            concat!(
                r#"{"metadata":{"uid":"u1","labels":{"a/b":"1","gone":null},"annotations":{"n":"{}"}},"#,
                r#""status":{"conditions":[{"type":"Old","$patch":"delete"},"#,
                r#"{"type":"T","status":"True","reason":"R","message":"m \"q\"","lastProbeTime":"1970-01-01T00:00:00Z","#,
                r#""lastTransitionTime":"1970-01-02T00:00:00Z"},"#,
                r#"{"type":"V","status":"True","reason":"R","message":"m \"q\""}]}}"#
            )
        );
    }

    #[test]
    fn only_what_differs_from_the_observation_is_left() {
        let pod = br#"{"metadata":{"uid":"u","labels":{"a":"1"}},"status":{"conditions":
            [{"type":"T","status":"True","reason":"R","message":"m \"q\""}]}}"#;
        let observed = Observed::parse(pod).expect("pod");
        let desired = Desired::from([
            (Unit::Condition("T".into()), condition()),
            (Unit::Label("a".into()), Want::Text("1".into())),
            (Unit::Label("b".into()), Want::Text("2".into())),
            (Unit::Label("c".into()), Want::Absent),
        ]);
        let keys: Vec<_> = differing(&desired, Some(&observed)).into_keys().cloned().collect();
        assert_eq!(keys, [Unit::Label("b".into())]);
        assert_eq!(differing(&desired, None).len(), 4);
    }
}
