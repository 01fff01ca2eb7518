//! Environment variables through which the webhook configures the sidecar. All but the `fieldRef` ones are literal
//! values that the webhook resolved from the Pod, its annotations and the cluster's configuration.

/// `fieldRef` metadata.name.
pub const POD_NAME: &str = "PROBELET_POD_NAME";
/// `fieldRef` metadata.namespace.
pub const POD_NAMESPACE: &str = "PROBELET_POD_NAMESPACE";
/// `fieldRef` metadata.uid.
pub const POD_UID: &str = "PROBELET_POD_UID";
/// `fieldRef` status.podIPs: comma-joined; some providers leave it empty.
pub const POD_IPS: &str = "PROBELET_POD_IPS";
/// `fieldRef` metadata.annotations of [`crate::name::PLAN_ANNOTATION`].
pub const PLAN: &str = "PROBELET_PLAN";
/// `fieldRef` metadata.annotations of [`crate::name::POLICIES_ANNOTATION`].
pub const POLICIES: &str = "PROBELET_MARKER_POLICIES";
/// `fieldRef` metadata.annotations of [`crate::name::NODE_KIND_ANNOTATION`]; empty: not known, so probe.
pub const NODE_KIND: &str = "PROBELET_NODE_KIND";
/// JSON [`crate::port::NamedPorts`] of the Pod's containers, native sidecars included.
pub const PORTS: &str = "PROBELET_PORTS";
/// Comma-joined names of containers with a startupProbe.
pub const STARTUP_PROBES: &str = "PROBELET_STARTUP_PROBES";
/// JSON map from container to the secret that its exec agent proves itself with.
pub const AGENT_KEYS: &str = "PROBELET_AGENT_KEYS";
/// `true` where the sidecar is a restartable init container.
pub const NATIVE_SIDECAR: &str = "PROBELET_NATIVE_SIDECAR";
/// `true` where the Pod may end (`restartPolicy` Never or OnFailure) and the sidecar is a plain container, for which it would wait.
pub const MAY_END: &str = "PROBELET_MAY_END";
/// `true` where the cluster's shield puts marks back, so that no looks are needed.
pub const SHIELD: &str = "PROBELET_SHIELD";
/// [`crate::setting::Observation`].
pub const OBSERVE: &str = "PROBELET_OBSERVE";
/// [`crate::setting::Marks`].
pub const MARKS: &str = "PROBELET_MARKS";
/// [`crate::setting::Defaults`].
pub const DEFAULTS: &str = "PROBELET_DEFAULTS";
/// [`crate::setting::ProbeHost`].
pub const PROBE_HOST: &str = "PROBELET_PROBE_HOST";
/// [`crate::setting::ByProbe`] durations that replace probes' periods.
pub const PERIOD: &str = "PROBELET_PERIOD";
/// [`crate::setting::ByProbe`] durations that replace probes' timeouts.
pub const TIMEOUT: &str = "PROBELET_TIMEOUT";
/// Duration between rare looks at the Pod in patch-only mode.
pub const LOOK: &str = "PROBELET_LOOK";
/// Duration over which sidecars come back after trouble with the API server.
pub const RETRY_SPREAD: &str = "PROBELET_RETRY_SPREAD";
/// [`crate::setting::LogLevel`].
pub const LOG_LEVEL: &str = "PROBELET_LOG_LEVEL";
/// [`crate::setting::LogFormat`].
pub const LOG_FORMAT: &str = "PROBELET_LOG_FORMAT";
/// Port of `/metrics` and `/healthz`; unset: no port is opened.
pub const METRICS_PORT: &str = "PROBELET_METRICS_PORT";
/// `true`: transitions, and the begin of a war of overwrites, are also told as Events of the Pod.
pub const EVENTS: &str = "PROBELET_EVENTS";
/// Folder with `token` and `ca.crt`, [`crate::name::TOKEN_DIR`] where unset.
pub const TOKEN_DIR: &str = "PROBELET_TOKEN_DIR";
/// Folder of the exec agent and its sockets, [`crate::name::AGENT_DIR`] where unset.
pub const AGENT_DIR: &str = "PROBELET_AGENT_DIR";
