//! Whether a PodProbeMarker can be accepted. OpenKruise's rules
//! (openkruise/kruise:pkg/webhook/podprobemarker/validating/probe_create_update_handler.go), with all errors at once;
//! stricter only where something could never work or is unsafe, laxer where it could well work: grpc, and a scheme or
//! path left out.

use probelet_protocol::limit;
use probelet_protocol::marker::{LabelSelector, PodContainerProbe};
use probelet_protocol::name::NATIVE_CONDITIONS;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

mod doubt;
mod handler;
mod policy;
mod selector;

/// Most problems that are told at once.
const TOLD: usize = 20;

/// What was found. A marker with errors is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Each begins with the field's path.
    pub errors: Vec<String>,
    /// The same, for what is merely doubtful.
    pub warnings: Vec<String>,
}

/// A marker's parts, of which each may be malformed on its own.
struct Marker {
    selector: Option<LabelSelector>,
    probes: Vec<(usize, PodContainerProbe)>,
}

/// Looks at a marker that is being created.
pub fn created(object: &Value) -> Findings {
    let mut findings = Findings::default();
    let marker = read(object, &mut findings);
    selector::check(marker.selector.as_ref(), &mut findings);
    check_list(object, &mut findings);
    let mut seen = Seen::default();
    for (index, probe) in &marker.probes {
        check_probe(&format!("spec.probes[{index}]"), probe, &mut seen, &mut findings);
    }
    doubt::look(&marker, &mut findings);
    findings
}

/// Looks at a marker that is being changed. One whose spec stays passes whatever it holds: its finalizers must go.
pub fn updated(old: &Value, new: &Value) -> Findings {
    let is_going =
        new.get("metadata").and_then(|metadata| metadata.get("deletionTimestamp")).is_some_and(|time| !time.is_null());
    if is_going || old.get("spec") == new.get("spec") {
        return Findings::default();
    }
    let mut findings = created(new);
    let selector = |object: &Value| object.get("spec").and_then(|spec| spec.get("selector")).cloned();
    let read = |value: Option<Value>| value.and_then(|value| LabelSelector::deserialize(value).ok());
    if read(selector(old)) != read(selector(new)) {
        findings.error("spec.selector", "must not change; make a new PodProbeMarker instead");
    }
    findings
}

/// Names that must not come twice.
#[derive(Default)]
struct Seen {
    names: BTreeMap<String, String>,
    types: BTreeMap<String, String>,
}

fn read(object: &Value, findings: &mut Findings) -> Marker {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let selector = part("spec.selector", spec.get("selector").unwrap_or(&Value::Null), findings).flatten();
    let list = spec.get("probes").and_then(Value::as_array);
    let probes = list.into_iter().flatten().enumerate();
    let probes =
        probes.filter_map(|(index, probe)| Some((index, part(&format!("spec.probes[{index}]"), probe, findings)?)));
    Marker { selector, probes: probes.collect() }
}

/// A part by itself, so that one that is malformed does not hide what is wrong with the others.
fn part<T: for<'de> Deserialize<'de>>(path: &str, value: &Value, findings: &mut Findings) -> Option<T> {
    match serde_path_to_error::deserialize(value) {
        Ok(part) => Some(part),
        Err(error) => {
            let inner = error.path().to_string();
            let path = if inner == "." { path.to_owned() } else { format!("{path}.{inner}") };
            findings.error(&path, &error.inner().to_string());
            None
        }
    }
}

fn check_list(object: &Value, findings: &mut Findings) {
    match object.get("spec").and_then(|spec| spec.get("probes")) {
        None | Some(Value::Null) => findings.error("spec.probes", "must not be empty"),
        Some(Value::Array(list)) if list.is_empty() => findings.error("spec.probes", "must not be empty"),
        Some(Value::Array(list)) if list.len() > limit::PROBES => {
            findings.error("spec.probes", &format!("has {} probes, at most {} are allowed", list.len(), limit::PROBES));
        }
        Some(list @ Value::Array(_)) => {
            let bytes = list.to_string().len();
            if bytes > limit::PLAN_BYTES {
                findings.error(
                    "spec.probes",
                    &format!("has {bytes} bytes as JSON, at most {} are allowed", limit::PLAN_BYTES),
                );
            }
        }
        Some(_) => findings.error("spec.probes", "must be a list"),
    }
}

fn check_probe(path: &str, probe: &PodContainerProbe, seen: &mut Seen, findings: &mut Findings) {
    check_name(&format!("{path}.name"), &probe.name, seen, findings);
    match crate::syntax::dns_label(&probe.container_name) {
        Some(_) if probe.container_name.is_empty() => {
            findings.error(&format!("{path}.containerName"), "must not be empty");
        }
        Some(problem) => {
            findings.error(&format!("{path}.containerName"), &format!("{:?} {problem}", probe.container_name))
        }
        None => {}
    }
    handler::check(&format!("{path}.probe"), &probe.probe, findings);
    check_condition(path, probe, seen, findings);
    policy::check(&format!("{path}.markerPolicy"), &probe.marker_policy, findings);
}

fn check_name(path: &str, name: &str, seen: &mut Seen, findings: &mut Findings) {
    if name.is_empty() {
        return findings.error(path, "must not be empty");
    }
    if name.contains('#') {
        findings.error(path, &format!("{name:?} must not contain '#'"));
    }
    if name.chars().count() > limit::NAME || name.chars().any(char::is_control) {
        findings.error(path, &format!("{name:?} must have at most {} characters, no control characters", limit::NAME));
    }
    if NATIVE_CONDITIONS.contains(&name) {
        findings.error(path, &format!("{name:?} is a condition of Kubernetes or OpenKruise"));
    }
    if let Some(first) = seen.names.insert(name.to_owned(), path.to_owned()) {
        findings.error(path, &format!("{name:?} is the name of {} already", first.trim_end_matches(".name")));
    }
}

fn check_condition(path: &str, probe: &PodContainerProbe, seen: &mut Seen, findings: &mut Findings) {
    let kind = &probe.pod_condition_type;
    let at = format!("{path}.podConditionType");
    if kind.is_empty() {
        if probe.marker_policy.is_empty() {
            findings.error(&at, "must be set, or markerPolicy must be: else the result goes nowhere");
        }
        return;
    }
    if let Some(problem) = crate::syntax::qualified_name(kind) {
        findings.error(&at, &format!("{kind:?} {problem}"));
    }
    if NATIVE_CONDITIONS.contains(&kind.as_str()) {
        findings.error(&at, &format!("{kind:?} is a condition of Kubernetes or OpenKruise, no marker may write it"));
    }
    if let Some(first) = seen.types.insert(kind.clone(), at.clone()) {
        findings.error(&at, &format!("{kind:?} stands at {first} already"));
    }
}

// === impl Findings ===

impl Findings {
    /// One message for all errors; `None` where there are none.
    pub fn message(&self) -> Option<String> {
        let mut told: Vec<_> = self.errors.iter().take(TOLD).map(String::as_str).collect();
        let more = format!("and {} more", self.errors.len().saturating_sub(TOLD));
        if self.errors.len() > TOLD {
            told.push(&more);
        }
        (!told.is_empty()).then(|| told.join("; "))
    }

    fn error(&mut self, path: &str, problem: &str) {
        self.errors.push(format!("{path}: {}", shortened(problem)));
    }

    fn warning(&mut self, path: &str, doubt: &str) {
        self.warnings.push(format!("{path}: {}", shortened(doubt)));
    }
}

/// Problems repeat what was found, which may be long.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(512)]
}
