//! The annotations that injection writes.

use crate::config::Config;
use crate::merge::Marking;
use crate::pod::{Pod, name};
use probelet_protocol::name::{
    DEFAULT_CONTAINER_ANNOTATION, INJECTED_ANNOTATION, MARKER_LIST_ANNOTATION, NAMED_MARKERS_ANNOTATION,
    PLAN_ANNOTATION, POLICIES_ANNOTATION, SIDECAR_CONTAINER, WRITES_ANNOTATION,
};

pub(super) fn add(pod: &mut Pod, marking: &Marking, config: &Config) {
    // kubectl takes the first container by itself, but says so each time once there are two.
    let first = pod.containers().iter().map(name).find(|name| *name != SIDECAR_CONTAINER).map(str::to_owned);
    let annotations = pod.metadata.annotations.get_or_insert_default();
    if let Some(first) = first {
        annotations.entry(DEFAULT_CONTAINER_ANNOTATION.to_owned()).or_insert(first);
    }
    let texts = [
        (PLAN_ANNOTATION, marking.plan_text.clone()),
        (MARKER_LIST_ANNOTATION, marking.list_text.clone()),
        (NAMED_MARKERS_ANNOTATION, marking.named_text.clone()),
        (POLICIES_ANNOTATION, marking.policies_text.clone()),
        // Never the Pod's own word: it decides what the Pod's identity may write.
        (WRITES_ANNOTATION, Some(marking.writes.to_string())),
        (INJECTED_ANNOTATION, Some(config.injected())),
    ];
    annotations.extend(texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?))));
}

/// Bytes of all annotations, as the API server counts them
/// (kubernetes/kubernetes:staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go `TotalAnnotationSizeLimitB`).
pub fn size(pod: &Pod) -> usize {
    pod.metadata.annotations.iter().flatten().map(|(key, value)| key.len() + value.len()).sum()
}
