//! Every name that is written into a cluster. Changing one breaks running Pods.

/// Namespace that probelet installs itself into; never injected.
pub const INSTALL_NAMESPACE: &str = "probelet-system";
/// Field manager of every write.
pub const FIELD_MANAGER: &str = "probelet";

/// Prefix of all own annotations and labels. Markers may not write below it.
pub const OWN_PREFIX: &str = "probelet.io/";
/// Prefix of OpenKruise's annotations and labels. Markers may not write below it.
pub const KRUISE_PREFIX: &str = "kruise.io/";

/// Label that opts a namespace in (`enabled`), keeps a Pod out (`disabled`), or takes it in on any node (`enabled`).
pub const INJECT_LABEL: &str = "probelet.io/inject";
/// Value of [`INJECT_LABEL`] that opts in.
pub const INJECT_ENABLED: &str = "enabled";
/// Value of [`INJECT_LABEL`] that keeps a Pod out.
pub const INJECT_DISABLED: &str = "disabled";

/// The sidecar's container name.
pub const SIDECAR_CONTAINER: &str = "probelet";
/// The init container that copies the exec agent into its volume; only where a Pod has exec probes.
pub const AGENT_CONTAINER: &str = "probelet-agent";
/// The memory volume that holds the exec agent and its sockets.
pub const AGENT_VOLUME: &str = "probelet-agent";
/// The projected volume with the sidecar's own token and the cluster's CA.
pub const TOKEN_VOLUME: &str = "probelet-token";
/// Where [`TOKEN_VOLUME`] is mounted in the sidecar: files `token`, `ca.crt`, `namespace`, and the plan as it is now.
pub const TOKEN_DIR: &str = "/var/run/secrets/probelet.io";
/// File below [`TOKEN_DIR`] with [`PLAN_ANNOTATION`]; the node keeps it up to date.
pub const PLAN_FILE: &str = "podprobe";
/// File below [`TOKEN_DIR`] with [`POLICIES_ANNOTATION`].
pub const POLICIES_FILE: &str = "marker-policies";
/// Where [`AGENT_VOLUME`] is mounted: writable in the sidecar and the init container, read-only in targets.
pub const AGENT_DIR: &str = "/.probelet";
/// The sidecar's binary in its image.
pub const SIDECAR_BINARY: &str = "/probelet";
/// The exec agent's binary in the sidecar's image; also its file name below [`AGENT_DIR`].
pub const AGENT_BINARY: &str = "/probelet-agent";

/// The plan: a JSON list of [`crate::marker::PodContainerProbe`] without marker policies
/// (openkruise/kruise:apis/apps/v1alpha1/pod_probe_marker_types.go `PodProbeMarkerAnnotationKey`).
pub const PLAN_ANNOTATION: &str = "kruise.io/podprobe";
/// Names of the markers that the plan was made from, sorted, comma-joined (same file,
/// `PodProbeMarkerListAnnotationKey`); preset by a user it names the markers instead of their selectors.
pub const MARKER_LIST_ANNOTATION: &str = "kruise.io/podprobemarker-list";
/// Which of [`MARKER_LIST_ANNOTATION`] the Pod's owner named, comma-joined; absent where the list is what selectors found.
/// Written at admission: afterwards one list cannot be told from the other.
pub const NAMED_MARKERS_ANNOTATION: &str = "probelet.io/named-markers";
/// Marker policies, and probes without a condition, which OpenKruise leaves out of the plan:
/// a JSON list of [`crate::plan::PolicyEntry`].
pub const POLICIES_ANNOTATION: &str = "probelet.io/marker-policies";
/// The keys that the Pod's own identity may write: [`crate::writes::Writes`].
pub const WRITES_ANNOTATION: &str = "probelet.io/writes";
/// What was injected: `<version>` or `<version>/<revision>`.
pub const INJECTED_ANNOTATION: &str = "probelet.io/injected";
/// Kind of the node that the Pod was bound to, written by the webhook on `pods/binding`.
pub const NODE_KIND_ANNOTATION: &str = "probelet.io/node-kind";
/// Value of [`NODE_KIND_ANNOTATION`]: no node agent runs there, so the sidecar probes.
pub const NODE_KIND_VIRTUAL: &str = "virtual";
/// Value of [`NODE_KIND_ANNOTATION`]: kruise-daemon marks there, so the sidecar stands by.
pub const NODE_KIND_ORDINARY: &str = "ordinary";
/// Annotation on a PodProbeMarker: `true` leaves its marks on Pods when a probe or the marker goes away.
pub const KEEP_MARKS_ANNOTATION: &str = "probelet.io/keep-marks";

/// kubectl's choice of container; kept, or set to the first of the user's containers.
pub const DEFAULT_CONTAINER_ANNOTATION: &str = "kubectl.kubernetes.io/default-container";
/// Local volumes that do not keep the cluster autoscaler from removing a node.
pub const SAFE_TO_EVICT_ANNOTATION: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// Annotations below [`OWN_PREFIX`] that are not settings.
pub const OWN_ANNOTATIONS: [&str; 5] =
    [NAMED_MARKERS_ANNOTATION, POLICIES_ANNOTATION, WRITES_ANNOTATION, INJECTED_ANNOTATION, NODE_KIND_ANNOTATION];

/// Condition types that the kubelet, the scheduler or OpenKruise own; no marker may write them
/// (openkruise/kruise:pkg/webhook/podprobemarker/validating `k8sNativePodConditions`, and
/// kubernetes/kubernetes:staging/src/k8s.io/api/core/v1/types.go `PodConditionType`).
pub const NATIVE_CONDITIONS: [&str; 11] = [
    "PodScheduled",
    "Initialized",
    "Ready",
    "ContainersReady",
    "DisruptionTarget",
    "PodReadyToStartContainers",
    "PodResizePending",
    "PodResizeInProgress",
    "AllContainersRestarting",
    "KruisePodReady",
    "InPlaceUpdateReady",
];

/// Whether a marker may not write this label or annotation key. Subdomains such as `game.kruise.io/` are users' own.
pub fn is_reserved_key(key: &str) -> bool {
    key.starts_with(OWN_PREFIX) || key.starts_with(KRUISE_PREFIX)
}
