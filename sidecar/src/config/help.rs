//! `--help`: every setting, from one table.

use super::{SERVICE_HOST, SERVICE_PORT};
use probelet_protocol::environment as env;

/// Variable, what it is, what unset means.
pub(super) const SETTINGS: &[(&str, &str, &str)] = &[
    (env::POD_NAME, "name of the own Pod", "required"),
    (env::POD_NAMESPACE, "its namespace", "required"),
    (env::POD_UID, "its UID; guards against a Pod replaced under the same name", "required"),
    (env::POD_IPS, "its addresses, comma-joined", "not known"),
    (env::PLAN, "probes: the Pod's annotation kruise.io/podprobe", "none"),
    (env::POLICIES, "marker policies: the Pod's annotation probelet.io/marker-policies", "none"),
    (env::NODE_KIND, "ordinary: a node agent probes here, so stand by", "probe"),
    (env::PORTS, "JSON of named ports by container: {\"game\":{\"http\":8080}}", "none"),
    (env::STARTUP_PROBES, "containers with a startupProbe, comma-joined; their probes wait for it", "none"),
    (env::AGENT_KEYS, "JSON of exec agents' secrets by container", "none"),
    (env::AGENT_DIR, "folder of the exec agents' sockets", "/.probelet"),
    (
        env::DEFAULTS,
        "meaning of unset times: kruise (period 1 s, thresholds 1 and 1) or core (10 s, 1 and 3)",
        "kruise",
    ),
    (env::PERIOD, "periods that replace the probes' own: 250ms, or health=250ms,idle=5s", "the probes' own"),
    (env::TIMEOUT, "timeouts that replace the probes' own, written the same way", "the probes' own"),
    (
        env::PROBE_HOST,
        "where probes go: auto (127.0.0.1, ::1, then the Pod's address), pod-ip, or a loopback address",
        "auto",
    ),
    (env::MARKS, "what is written: all, or conditions (for providers that cannot bear label changes)", "all"),
    (env::OBSERVE, "how the Pod is seen: patch (one RBAC verb), or watch (needs get and watch)", "patch"),
    (env::LOOK, "between rare looks at the Pod in patch mode, such as 10m", "10m"),
    (
        env::RETRY_SPREAD,
        "after trouble with the API server, over how long its sidecars come back: 1s for each 250 of them",
        "up to 4s where it was away",
    ),
    (env::SHIELD, "true: the cluster puts overwritten marks back, so no looks are needed", "false"),
    (
        env::NATIVE_SIDECAR,
        "true: runs as a restartable init container; marking goes on until the neighbours ended",
        "false",
    ),
    (
        env::MAY_END,
        "true: the Pod may end and this is a plain container, so where it stands by it ends with the others",
        "false",
    ),
    (env::TOKEN_DIR, "folder of token and ca.crt, read again as they rotate", "/var/run/secrets/probelet.io"),
    (env::LOG_LEVEL, "error, warn, info (every transition), debug (every run) or trace", "info"),
    (env::LOG_FORMAT, "text or json", "text"),
    (env::METRICS_PORT, "port of /metrics, /healthz and, from inside the Pod, POST /probe", "no port is opened"),
    (env::EVENTS, "true: transitions, and wars of overwrites, are told as Events of the Pod too", "false"),
    (SERVICE_HOST, "API server: IPv4, IPv6 or name; Kubernetes sets it", "required"),
    (SERVICE_PORT, "its port; Kubernetes sets it", "443"),
];

/// The text of `--help`.
pub fn help(version: &str) -> String {
    let mut text = format!(
        "probelet {version}: probes the containers of its own Pod and marks the Pod with the results.\n\n\
         Usage: probelet [--help | --version]\n\n\
         It is started by Kubernetes, as a container that the webhook adds to a Pod. All settings are environment\n\
         variables; the webhook sets them from the Pod's annotations.\n\n"
    );
    for (variable, meaning, unset) in SETTINGS {
        text.push_str(&format!("  {variable}\n      {meaning}\n      unset: {unset}\n"));
    }
    text.push_str(
        "\nProbe now: a datagram to look.sock in the agents' folder (empty, or a probe's name), or, with a metrics port set,\n\
         POST /probe or /probe?name=NAME from inside the Pod. Each probe runs at most ten times a second for it.\n\n\
         Exit codes:\n  0  told to stop, or the Pod is gone, or its other containers have all ended\n  \
         1  could not start, or a fault in probelet itself\n  2  bad settings or a bad plan; every one is named\n",
    );
    text
}
