//! How our own objects are told from others': the controllers touch nothing without this label.

use std::collections::BTreeMap;

/// Label of every object that probelet makes.
pub const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "probelet");
/// Label of every object that the controllers made, as other tools expect it.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "probelet-webhook");

/// Labels of a new object.
pub fn labels() -> BTreeMap<String, String> {
    [PART_OF, MANAGED_BY].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Whether an object with these labels is one of ours.
pub fn is_ours(labels: Option<&BTreeMap<String, String>>) -> bool {
    labels.is_some_and(|labels| labels.get(PART_OF.0).is_some_and(|value| value == PART_OF.1))
}
