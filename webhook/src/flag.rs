//! Command line and environment. Values stay text here, so that all that is wrong with them is told at once.

use clap::Parser;

/// Admission webhook and cold-path controllers of probelet.
///
/// Every flag has an environment variable; the flag wins. What the ConfigMap sets wins over both, because it can be
/// changed while the webhook runs.
#[derive(Clone, Debug, Parser)]
#[command(name = "probelet-webhook", version, about, max_term_width = 110)]
pub struct Flags {
    /// Address of the HTTPS server that the API server calls.
    #[arg(long, env = "PROBELET_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: String,
    /// Address of the HTTP server with /metrics, /readyz and /livez.
    #[arg(long, env = "PROBELET_ADMIN_LISTEN", default_value = "0.0.0.0:8080")]
    pub admin_listen: String,
    /// Namespace that the webhook runs in.
    #[arg(long, env = "POD_NAMESPACE", default_value = "probelet-system")]
    pub namespace: String,
    /// Service that the API server reaches the webhook by; names the serving certificate.
    #[arg(long, env = "PROBELET_SERVICE", default_value = "probelet-webhook")]
    pub service: String,
    /// Further DNS names or IP addresses of the serving certificate, comma-separated.
    #[arg(long, env = "PROBELET_EXTRA_NAMES", default_value = "")]
    pub extra_names: String,
    /// Name of both the MutatingWebhookConfiguration and the ValidatingWebhookConfiguration.
    #[arg(long, env = "PROBELET_WEBHOOK_CONFIGURATION", default_value = "probelet-webhook")]
    pub webhook_configuration: String,
    /// Secret with the webhook's own certificates; made if it is not there.
    #[arg(long, env = "PROBELET_TLS_SECRET", default_value = "probelet-webhook-tls")]
    pub tls_secret: String,
    /// Folder with tls.crt, tls.key and perhaps ca.crt that somebody else keeps, as cert-manager does; then no Secret is
    /// read or written.
    #[arg(long, env = "PROBELET_CERT_DIR", default_value = "")]
    pub cert_dir: String,
    /// PEM of who signed what is in --cert-dir; kept in the registrations. Empty: that folder's ca.crt, and where it has none
    /// the registrations are somebody else's.
    #[arg(long, env = "PROBELET_CA_BUNDLE", default_value = "", hide_default_value = true)]
    pub ca_bundle: String,
    /// How long a serving certificate is valid, at least 30s.
    #[arg(long, env = "PROBELET_CERTIFICATE_VALIDITY", default_value = "90days")]
    pub certificate_validity: String,
    /// How long a certificate authority is valid, at least 30s.
    #[arg(long, env = "PROBELET_CA_VALIDITY", default_value = "730days")]
    pub ca_validity: String,
    /// File with certificate authorities; callers must then show a certificate that one of them signed.
    #[arg(long, env = "PROBELET_CLIENT_CA", default_value = "")]
    pub client_ca: String,
    /// ConfigMap in the own namespace whose key config.yaml holds further settings, read again as it changes.
    #[arg(long, env = "PROBELET_CONFIG_MAP", default_value = "probelet-config")]
    pub config_map: String,
    /// Image of the sidecar.
    #[arg(long, env = "PROBELET_SIDECAR_IMAGE")]
    pub sidecar_image: Option<String>,
    /// Workers of each controller: 1 to 64, or auto (by the size of the cluster and the length of the queues).
    #[arg(long, env = "PROBELET_WORKERS", default_value = "3")]
    pub workers: String,
    /// Whether controllers run in one replica at a time; false where there is one replica only.
    #[arg(long, env = "PROBELET_LEADER_ELECT", default_value = "true", num_args = 0..=1, default_missing_value = "true")]
    pub leader_elect: String,
    /// Lease in the own namespace by which the leader is elected.
    #[arg(long, env = "PROBELET_LEASE", default_value = "probelet-webhook")]
    pub lease: String,
    /// ClusterRole that sidecars are bound to, one RoleBinding in each opted-in namespace.
    #[arg(long, env = "PROBELET_SIDECAR_CLUSTER_ROLE", default_value = "probelet-sidecar")]
    pub sidecar_cluster_role: String,
    /// Whether the status of PodProbeMarkers is kept: always, never, or auto (only where OpenKruise does not).
    #[arg(long, env = "PROBELET_MARKER_STATUS", default_value = "auto")]
    pub marker_status: String,
    /// Writes to Pods a second, at most, when a PodProbeMarker changes; 0: no bound of our own.
    #[arg(long, env = "PROBELET_POD_WRITES_PER_SECOND", default_value = "0")]
    pub pod_writes_per_second: String,
    /// error, warn, info, debug or trace.
    #[arg(long, env = "PROBELET_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// text or json.
    #[arg(long, env = "PROBELET_LOG_FORMAT", default_value = "text")]
    pub log_format: String,
    /// After SIGTERM, how long requests are still accepted while the endpoint is being removed everywhere.
    #[arg(long, env = "PROBELET_DRAIN", default_value = "5s")]
    pub drain: String,
}
