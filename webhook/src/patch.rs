//! The difference between a Pod and the same Pod with additions, as a JSON Patch of `add` operations. json-patch's own
//! `diff` compares lists by position, so that one inserted container rewrites all after it; this one knows that list
//! items have names.

use crate::pod::Pod;
use json_patch::jsonptr::{PointerBuf, Token};
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::Value;

/// Operations that make `after` of `before`. `replace` and `remove` only come where `after` changed or dropped
/// something that `before` had.
pub fn diff(before: &Pod, after: &Pod) -> Patch {
    let mut diff = Diff { path: PointerBuf::root(), operations: Vec::new() };
    diff.within("metadata", |diff| diff.annotations(before, after));
    diff.within("spec", |diff| diff.value(&before.spec, &after.spec));
    Patch(diff.operations)
}

struct Diff {
    path: PointerBuf,
    operations: Vec<PatchOperation>,
}

impl Diff {
    fn within<'t>(&mut self, token: impl Into<Token<'t>>, step: impl FnOnce(&mut Self)) {
        self.path.push_back(token);
        step(self);
        self.path.pop_back();
    }

    fn annotations(&mut self, before: &Pod, after: &Pod) {
        let Some(after) = &after.metadata.annotations else { return };
        self.within("annotations", |diff| {
            let Some(before) = &before.metadata.annotations else {
                return diff
                    .add(Value::Object(after.iter().map(|(key, text)| (key.clone(), text.as_str().into())).collect()));
            };
            for (key, text) in after {
                match before.get(key) {
                    Some(old) if old == text => {}
                    Some(_) => diff.within(key, |diff| diff.replace(text.as_str().into())),
                    None => diff.within(key, |diff| diff.add(text.as_str().into())),
                }
            }
        });
    }

    fn value(&mut self, before: &Value, after: &Value) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => {
                for (key, value) in after {
                    match before.get(key) {
                        // A chained hook is another one: its parts mean nothing by themselves.
                        Some(old) if key == "postStart" && old != value => {
                            self.within(key, |diff| diff.replace(value.clone()));
                        }
                        Some(old) => self.within(key, |diff| diff.value(old, value)),
                        None => self.within(key, |diff| diff.add(value.clone())),
                    }
                }
                for key in before.keys().filter(|key| !after.contains_key(*key)) {
                    self.within(key, |diff| {
                        diff.operations.push(PatchOperation::Remove(RemoveOperation { path: diff.path.clone() }))
                    });
                }
            }
            (Value::Array(before), Value::Array(after)) if is_inserted(before, after) => self.list(before, after),
            (before, after) if before == after => {}
            (_, after) => self.replace(after.clone()),
        }
    }

    fn list(&mut self, before: &[Value], after: &[Value]) {
        let mut rest = before.iter().peekable();
        for (index, item) in after.iter().enumerate() {
            match rest.next_if(|old| is_same(old, item)) {
                Some(old) => self.within(index, |diff| diff.value(old, item)),
                None => self.within(index, |diff| diff.add(item.clone())),
            }
        }
    }

    fn add(&mut self, value: Value) {
        self.operations.push(PatchOperation::Add(AddOperation { path: self.path.clone(), value }));
    }

    fn replace(&mut self, value: Value) {
        self.operations.push(PatchOperation::Replace(ReplaceOperation { path: self.path.clone(), value }));
    }
}

/// Whether `after` still has every item of `before`, in order.
fn is_inserted(before: &[Value], after: &[Value]) -> bool {
    let mut rest = before.iter().peekable();
    for item in after {
        rest.next_if(|old| is_same(old, item));
    }
    rest.peek().is_none()
}

/// Whether two items are the same one, changed perhaps: mounts are known by path, all else by name.
fn is_same(old: &Value, new: &Value) -> bool {
    let key = |item: &'_ Value| item.get("mountPath").or_else(|| item.get("name")).cloned();
    match (key(old), key(new)) {
        (Some(old), Some(new)) => old == new,
        _ => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).expect("pod")
    }

    fn check(before: &Value, after: &Value) -> String {
        let patch = diff(&pod(before.clone()), &pod(after.clone()));
        let mut patched = before.clone();
        json_patch::patch(&mut patched, &patch).expect("applies");
        assert_eq!(&patched, after);
        patch.0.iter().map(|operation| format!("{operation}\n")).collect()
    }

    #[test]
    fn an_inserted_item_is_one_operation() {
        let text = check(
            &json!({"metadata": {}, "spec": {"initContainers": [{"name": "a", "x": 1}, {"name": "b"}]}}),
            &json!({"metadata": {}, "spec": {"initContainers": [{"name": "n"}, {"name": "a", "x": 1, "y": 2}, {"name": "b"}]}}),
        );
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn keys_are_escaped() {
        check(
            &json!({"metadata": {"annotations": {"a/b~c": "1"}}, "spec": {"a/b": {}}}),
            &json!({"metadata": {"annotations": {"a/b~c": "2", "~0/": "3", "é": "4"}}, "spec": {"a/b": {"~1": 1, "": 2}}}),
        );
    }

    #[test]
    fn annotations_that_were_absent_come_as_one() {
        let text = check(
            &json!({"metadata": {"name": "n"}, "spec": {}}),
            &json!({"metadata": {"name": "n", "annotations": {"a": "1", "b": "2"}}, "spec": {}}),
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn equal_pods_differ_by_nothing() {
        let value = json!({"metadata": {"annotations": {"a": "1"}}, "spec": {"containers": [{"name": "c"}, 1, null]}});
        assert_eq!(check(&value, &value), "");
    }

    #[test]
    fn other_changes_are_told_as_what_they_are() {
        check(
            &json!({"metadata": {}, "spec": {"a": [{"name": "x"}, {"name": "y"}], "b": 1, "c": 2}}),
            &json!({"metadata": {}, "spec": {"a": [{"name": "y"}], "b": 2}}),
        );
    }
}
