//! Which Pods are injected, as far as the Pod, its namespace and the nodes decide it; the probes are `merge`'s.

use crate::cluster::{Cluster, Namespace};
use crate::config::Config;
use crate::placement;
use crate::pod::{Pod, list, name};
use crate::skip::SkipReason;
use probelet_protocol::name::{
    AGENT_CONTAINER, AGENT_VOLUME, INJECT_DISABLED, INJECT_ENABLED, INJECT_LABEL, INJECTED_ANNOTATION,
    SIDECAR_CONTAINER, TOKEN_VOLUME,
};

/// Marks a static Pod's image in the API (kubernetes/kubernetes:pkg/kubelet/types/pod_update.go `ConfigMirrorAnnotationKey`).
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Whether the Pod's owner and its namespace's owner want it, and the Pod can be changed.
///
/// # Errors
/// The reason why not.
pub fn check_wanted(pod: &Pod, namespace: &str, known: Option<&Namespace>, config: &Config) -> Result<(), SkipReason> {
    if config.is_exempt(namespace) {
        return Err(SkipReason::ExemptNamespace);
    }
    // A namespace younger than our watch is not known yet. The API server has compared its labels already, before it
    // called: the webhook's namespaceSelector asks for the same label.
    if let Some(labels) = known.and_then(|known| known.labels.as_ref())
        && labels.get(INJECT_LABEL).map(String::as_str) != Some(INJECT_ENABLED)
    {
        return Err(SkipReason::NotOptedIn);
    }
    if pod.label(INJECT_LABEL) == Some(INJECT_DISABLED) {
        return Err(SkipReason::OptedOut);
    }
    if pod.annotation(MIRROR_ANNOTATION).is_some() {
        return Err(SkipReason::MirrorPod);
    }
    if placement::is_windows(pod) {
        return Err(SkipReason::WindowsPod);
    }
    Ok(())
}

/// Whether the names of what would be added are free.
///
/// # Errors
/// [`SkipReason::NameTaken`] where they are not.
pub fn check_names(pod: &Pod) -> Result<(), SkipReason> {
    if !is_injected(pod) && has_our_names(pod) { Err(SkipReason::NameTaken) } else { Ok(()) }
}

/// Whether the Pod lands where no node agent marks it, or may land there.
///
/// # Errors
/// [`SkipReason::OrdinaryNode`] where it cannot.
pub fn check_placement(
    pod: &Pod,
    known: Option<&Namespace>,
    config: &Config,
    cluster: &Cluster,
) -> Result<(), SkipReason> {
    let forced = pod.label(INJECT_LABEL) == Some(INJECT_ENABLED);
    if forced || is_injected(pod) || placement::may_be_virtual(pod, known, &config.virtual_nodes, cluster) {
        Ok(())
    } else {
        Err(SkipReason::OrdinaryNode)
    }
}

/// Whether an earlier pass injected it: an annotation alone, copied from elsewhere, is not enough.
pub fn is_injected(pod: &Pod) -> bool {
    pod.annotation(INJECTED_ANNOTATION).is_some() && pod.has_container(SIDECAR_CONTAINER)
}

fn has_our_names(pod: &Pod) -> bool {
    pod.has_container(SIDECAR_CONTAINER)
        || pod.has_container(AGENT_CONTAINER)
        || list(&pod.spec, "volumes").iter().any(|volume| [TOKEN_VOLUME, AGENT_VOLUME].contains(&name(volume)))
}
