//! Decisions: a request in, a verdict out. Pure: nothing here waits, writes or asks anyone.

use crate::binding::{self, Binding};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::inject::{self, NoRandom, Options};
use crate::limit_range::Bounds;
use crate::merge::{self, MergeError};
use crate::pod::Pod;
use crate::resource::Wanted;
use crate::review::{self, Answer, Request, ReviewError};
use crate::select;
use crate::skip::SkipReason;
use crate::warning::Warnings;
use crate::{image, patch, resource, validate};
use json_patch::Patch;
use probelet_protocol::marker;
use probelet_protocol::name::{INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL, OWN_ANNOTATIONS, OWN_PREFIX};
use probelet_protocol::setting::Settings;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// Annotations that the API server takes, all together.
const ANNOTATION_BYTES: usize = 256 * 1024;
/// HTTP status of a refusal: the object is understood, and not acceptable.
const INVALID: u16 = 422;

/// All that decisions depend on, besides the request.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// What is known of the cluster.
    pub cluster: &'a Cluster,
    /// The configuration that holds now.
    pub config: &'a Config,
    /// A new random key.
    pub random: fn() -> Result<String, NoRandom>,
}

/// A decision with its reason.
#[derive(Debug)]
pub struct Verdict {
    /// What is answered.
    pub answer: Answer,
    /// What is counted.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The Pod got its sidecar, or an earlier one was brought up to date.
    Injected,
    /// It has everything already.
    Unchanged,
    /// It is not for us.
    Skipped(SkipReason),
    /// A binding or a marker passed.
    Allowed,
    /// The request was refused.
    Denied,
    /// A fault of ours; the request passed unchanged.
    Error(String),
}

/// Decides over the creation of a Pod.
///
/// # Errors
/// [`ReviewError`] where the object cannot be read as a Pod.
pub fn mutate_pod(request: &Request<'_>, world: &World<'_>) -> Result<Verdict, ReviewError> {
    let is_pod = request.resource.group.is_empty() && request.resource.resource == "pods";
    let Some(object) =
        request.object.filter(|_| is_pod && request.sub_resource.is_empty() && request.operation == "CREATE")
    else {
        return Ok(Verdict::skipped(SkipReason::OtherRequest, Warnings::default()));
    };
    match review::object::<Pod>(object, "request.object") {
        Ok(pod) => Ok(decide_pod(&pod, &request.namespace, world)),
        Err(ReviewError::TooManyValues(_)) => Ok(Verdict::skipped(SkipReason::TooManyValues, Warnings::default())),
        Err(error) => Err(error),
    }
}

/// Decides over a Pod that is being created in a namespace.
pub fn decide_pod(pod: &Pod, namespace: &str, world: &World<'_>) -> Verdict {
    let mut warnings = Warnings::default();
    match patch_for(pod, namespace, world, &mut warnings) {
        Ok(patch) => Verdict::patched(patch, warnings),
        Err(Stop::Skip(reason)) => Verdict::skipped(reason, warnings),
        Err(Stop::Deny(problems)) => Verdict::denied(&problems, warnings),
        Err(Stop::Fault(message)) => Verdict::error(message, warnings),
    }
}

/// Why there is no patch.
enum Stop {
    Skip(SkipReason),
    Deny(Vec<String>),
    Fault(String),
}

/// Nothing is refused, or warned of, for a Pod that would not be injected in any case.
fn patch_for(pod: &Pod, namespace: &str, world: &World<'_>, warnings: &mut Warnings) -> Result<Patch, Stop> {
    let World { cluster, config, random } = *world;
    let known = cluster.namespace(namespace);
    let known = known.as_deref();
    select::check_wanted(pod, namespace, known, config)?;
    select::check_placement(pod, known, config, cluster)?;
    if let Some(value) = pod.label(INJECT_LABEL).filter(|value| ![INJECT_ENABLED, INJECT_DISABLED].contains(value)) {
        warnings.push(format!("label {INJECT_LABEL}: {value:?} is neither enabled nor disabled, so it is ignored"));
    }
    let (settings, wanted) = &settings(pod, config).map_err(Stop::Deny)?;
    let marking = merge::merge(pod, known, warnings)?;
    if marking.plan.probes.is_empty() {
        // An earlier pass found probes: their markers have gone in between.
        let reason = if marking.has_markers { SkipReason::NoProbe } else { SkipReason::NoMarker };
        return if select::is_injected(pod) { Ok(Patch::default()) } else { Err(Stop::Skip(reason)) };
    }
    select::check_names(pod)?;
    let own = pod.metadata.annotations.iter().flatten().map(|(key, _)| key);
    resource::unused(pod, own).into_iter().for_each(|warning| warnings.push(warning));
    let ranges = known.into_iter().flat_map(|known| known.limit_ranges.values());
    let bounds = &Bounds::of(ranges.flat_map(|items| items.iter()));
    let mut options = Options { config, settings, wanted, bounds, random, warnings };
    let injected = inject::inject(pod, &marking, &mut options).map_err(|error| Stop::Fault(error.to_string()))?;
    if !resource::is_within(&injected, bounds) && resource::is_within(pod, bounds) {
        return Err(Stop::Skip(SkipReason::PodLimitRange));
    }
    if inject::annotation_bytes(&injected) > ANNOTATION_BYTES {
        return Err(Stop::Skip(SkipReason::AnnotationsTooLarge));
    }
    Ok(patch::diff(pod, &injected))
}

impl From<SkipReason> for Stop {
    fn from(reason: SkipReason) -> Self {
        Self::Skip(reason)
    }
}

impl From<MergeError> for Stop {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Own(_) | MergeError::NotAllowed { .. } => Self::Deny(vec![error.to_string()]),
            MergeError::Foreign(_) | MergeError::Write(_) => Self::Fault(error.to_string()),
        }
    }
}

/// Decides over the binding of a Pod to a node.
///
/// # Errors
/// [`ReviewError`] where the object cannot be read as a Binding.
pub fn mutate_binding(request: &Request<'_>, world: &World<'_>) -> Result<Verdict, ReviewError> {
    let is_binding = request.resource.group.is_empty()
        && matches!(
            (request.resource.resource.as_str(), request.sub_resource.as_str()),
            ("pods", "binding") | ("bindings", "")
        );
    let Some(object) = request.object.filter(|_| is_binding && request.operation == "CREATE") else {
        return Ok(Verdict::skipped(SkipReason::OtherRequest, Warnings::default()));
    };
    let binding: Binding = match review::object(object, "request.object") {
        Err(ReviewError::TooManyValues(_)) => {
            return Ok(Verdict::skipped(SkipReason::TooManyValues, Warnings::default()));
        }
        binding => binding?,
    };
    if world.config.is_exempt(&request.namespace) {
        return Ok(Verdict::skipped(SkipReason::ExemptNamespace, Warnings::default()));
    }
    Ok(Verdict::allowed(binding::annotate(&binding, &request.namespace, world.cluster), Warnings::default()))
}

/// Decides over the creation or change of a PodProbeMarker.
///
/// # Errors
/// [`ReviewError`] where there is no object to look at.
pub fn validate_marker(request: &Request<'_>, _: &World<'_>) -> Result<Verdict, ReviewError> {
    let is_marker = request.resource.group == marker::GROUP && request.resource.resource == marker::PLURAL;
    if !is_marker || !request.sub_resource.is_empty() || !["CREATE", "UPDATE"].contains(&request.operation.as_str()) {
        return Ok(Verdict::skipped(SkipReason::OtherRequest, Warnings::default()));
    }
    let mut warnings = Warnings::default();
    let read = |object: Option<&RawValue>, field: &'static str| {
        review::object::<Value>(object.ok_or(ReviewError::Missing(field))?, field)
    };
    let object = match read(request.object, "request.object") {
        Err(error @ ReviewError::TooManyValues(_)) => return Ok(Verdict::denied(&[error.to_string()], warnings)),
        object => object?,
    };
    let findings = if request.operation == "CREATE" {
        validate::created(&object)
    } else {
        match read(request.old_object, "request.oldObject") {
            // It came when nobody looked, and may be mended.
            Err(ReviewError::TooManyValues(_)) => validate::created(&object),
            old => validate::updated(&old?, &object),
        }
    };
    findings.warnings.iter().for_each(|warning| warnings.push(warning.clone()));
    Ok(match findings.message() {
        Some(message) => Verdict::denied(&[message], warnings),
        None => Verdict::allowed(Patch::default(), warnings),
    })
}

/// The Pod's settings over the configured ones, checked.
fn settings(pod: &Pod, config: &Config) -> Result<(Settings, Wanted), Vec<String>> {
    let own = pod.metadata.annotations.iter().flatten();
    let own = own.filter(|(key, _)| key.starts_with(OWN_PREFIX) && !OWN_ANNOTATIONS.contains(&key.as_str()));
    let mut all: BTreeMap<String, String> = config.setting_annotations();
    all.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    let texts =
        |errors: Vec<_>| errors.into_iter().map(|error: probelet_protocol::setting::SettingError| error.to_string());
    let settings = Settings::parse(&all).map_err(|errors| texts(errors).collect::<Vec<_>>())?;
    let mut problems = Vec::new();
    if let Some(wanted) = &settings.image {
        if let Err(problem) = image::check(wanted) {
            problems.push(format!("annotation probelet.io/image: {problem}"));
        } else if !image::is_allowed(wanted, &config.image, &config.allowed_image_prefixes) {
            problems
                .push(format!("annotation probelet.io/image: {wanted:?} is not allowed: {}", allowed_images(config)));
        }
    }
    match Wanted::of(&settings) {
        Ok(wanted) if problems.is_empty() => Ok((settings, wanted)),
        Ok(_) => Err(problems),
        Err(errors) => Err(problems.into_iter().chain(errors.into_iter().map(|error| error.to_string())).collect()),
    }
}

fn allowed_images(config: &Config) -> String {
    if config.allowed_image_prefixes.is_empty() {
        return format!("the cluster allows only {}", config.image);
    }
    format!("it must begin with {}", config.allowed_image_prefixes.join(" or "))
}

// === impl Verdict ===

impl Verdict {
    fn patched(patch: Patch, warnings: Warnings) -> Self {
        let outcome = if patch.0.is_empty() { Outcome::Unchanged } else { Outcome::Injected };
        Self { answer: Answer { patch, warnings, ..Answer::default() }, outcome }.told()
    }

    fn allowed(patch: Patch, warnings: Warnings) -> Self {
        Self { answer: Answer { patch, warnings, ..Answer::default() }, outcome: Outcome::Allowed }.told()
    }

    fn skipped(reason: SkipReason, mut warnings: Warnings) -> Self {
        if reason.is_mistake() {
            warnings.push(format!("not injected: {reason}"));
        }
        Self { answer: Answer { warnings, ..Answer::default() }, outcome: Outcome::Skipped(reason) }.told()
    }

    fn denied(problems: &[String], warnings: Warnings) -> Self {
        let denied = Some((INVALID, format!("probelet: {}", problems.join("; "))));
        Self { answer: Answer { denied, warnings, ..Answer::default() }, outcome: Outcome::Denied }.told()
    }

    /// A fault that is not the sender's: the Pod passes as it is.
    pub fn error(message: String, mut warnings: Warnings) -> Self {
        warnings.push(format!("not injected: {message}"));
        Self { answer: Answer { warnings, ..Answer::default() }, outcome: Outcome::Error(message) }.told()
    }

    fn told(mut self) -> Self {
        self.answer.outcome = self.outcome.to_string();
        self
    }
}

// === impl Outcome ===

impl Outcome {
    /// Value of a metric's label, without the skip's reason.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Unchanged => "unchanged",
            Self::Skipped(_) => "skipped",
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Error(_) => "error",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
            Self::Error(message) => write!(f, "error: {message}"),
            other => f.write_str(other.as_str()),
        }
    }
}
