//! Why a Pod is left as it is.

use crate::review::VALUES;
use std::fmt;

/// Exactly one reason a skipped Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// Not the creation of a Pod, or what else an endpoint is for.
    OtherRequest,
    /// kube-system, the install namespace, or exempt by configuration.
    ExemptNamespace,
    /// The namespace has no `probelet.io/inject=enabled`.
    NotOptedIn,
    /// The Pod has `probelet.io/inject=disabled`.
    OptedOut,
    /// A static Pod's image in the API: it cannot be changed.
    MirrorPod,
    /// The sidecar is a Linux program.
    WindowsPod,
    /// The Pod has a container or volume of its own with a name of ours.
    NameTaken,
    /// No PodProbeMarker is for it, and it brings no plan.
    NoMarker,
    /// Markers are for it, but none of their probes is for one of its containers.
    NoProbe,
    /// It cannot land on a virtual node; kruise-daemon marks it where it lands.
    OrdinaryNode,
    /// With the plan its annotations would be larger than the API server takes.
    AnnotationsTooLarge,
    /// A LimitRange bounds the sum of the Pod's containers, and leaves no room for the sidecar.
    PodLimitRange,
    /// To read it whole would take more memory than there is for one request.
    TooManyValues,
}

impl SkipReason {
    /// All reasons, for metrics that start at zero.
    pub const ALL: [Self; 13] = [
        Self::OtherRequest,
        Self::ExemptNamespace,
        Self::NotOptedIn,
        Self::OptedOut,
        Self::MirrorPod,
        Self::WindowsPod,
        Self::NameTaken,
        Self::NoMarker,
        Self::NoProbe,
        Self::OrdinaryNode,
        Self::AnnotationsTooLarge,
        Self::PodLimitRange,
        Self::TooManyValues,
    ];

    /// Value of a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherRequest => "other_request",
            Self::ExemptNamespace => "exempt_namespace",
            Self::NotOptedIn => "not_opted_in",
            Self::OptedOut => "opted_out",
            Self::MirrorPod => "mirror_pod",
            Self::WindowsPod => "windows_pod",
            Self::NameTaken => "name_taken",
            Self::NoMarker => "no_marker",
            Self::NoProbe => "no_probe",
            Self::OrdinaryNode => "ordinary_node",
            Self::AnnotationsTooLarge => "annotations_too_large",
            Self::PodLimitRange => "pod_limit_range",
            Self::TooManyValues => "too_many_values",
        }
    }

    /// Whether the Pod's owner probably wanted something else, so that it is worth a warning and an Event.
    pub fn is_mistake(self) -> bool {
        matches!(
            self,
            Self::NameTaken | Self::NoProbe | Self::AnnotationsTooLarge | Self::PodLimitRange | Self::TooManyValues
        )
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyValues => return write!(f, "the object has more than {VALUES} JSON values"),
            Self::OtherRequest => "nothing is decided for such a request",
            Self::ExemptNamespace => "Pods of this namespace are never injected",
            Self::NotOptedIn => "the namespace is not labelled probelet.io/inject=enabled",
            Self::OptedOut => "the Pod is labelled probelet.io/inject=disabled",
            Self::MirrorPod => "mirror Pods cannot be changed",
            Self::WindowsPod => "Windows Pods cannot run the sidecar",
            Self::NameTaken => {
                "the Pod has a container or volume of its own named probelet, probelet-agent or probelet-token"
            }
            Self::NoMarker => "no PodProbeMarker selects the Pod",
            Self::NoProbe => "no probe of the Pod's markers can be used for its containers",
            Self::OrdinaryNode => "the Pod is not bound for a virtual node",
            Self::AnnotationsTooLarge => "with the plan the Pod's annotations would exceed 256 KiB",
            Self::PodLimitRange => "with the sidecar the Pod would exceed a LimitRange of type Pod",
        })
    }
}
