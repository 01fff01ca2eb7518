//! The process's settings: flags made into values, all that is wrong told at once.

use crate::certificate::{Validity, parse_certificates};
use crate::flag::Flags;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;
use tracing::Level;

pub mod file;
pub mod reload;
pub mod workers;

pub use workers::Workers;

const SHORTEST_VALIDITY: Duration = Duration::from_secs(30);
/// Kubernetes kills a Pod 30 s after SIGTERM; requests in hand may take 10 s after the drain.
const LONGEST_DRAIN: Duration = Duration::from_secs(300);

/// What the process runs with until it ends.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the HTTPS server.
    pub listen: SocketAddr,
    /// Of the HTTP server.
    pub admin_listen: SocketAddr,
    /// The own namespace.
    pub namespace: String,
    /// DNS names and IP addresses of the serving certificate.
    pub names: Vec<String>,
    /// Name of both registrations.
    pub webhook_configuration: String,
    /// The Secret with our certificates.
    pub tls_secret: String,
    /// The folder with somebody else's.
    pub cert_dir: Option<PathBuf>,
    /// Who signed those, in PEM.
    pub ca_bundle: Option<String>,
    /// Of certificates of our making.
    pub validity: Validity,
    /// CAs of callers.
    pub client_ca: Option<PathBuf>,
    /// The ConfigMap.
    pub config_map: String,
    /// The sidecar's image, where given.
    pub sidecar_image: Option<String>,
    /// Workers of each controller, unless the ConfigMap says otherwise.
    pub workers: Workers,
    /// Whether a Lease decides who runs controllers.
    pub leader_elect: bool,
    /// The Lease.
    pub lease: String,
    /// What sidecars are bound to.
    pub sidecar_cluster_role: String,
    /// Whether to keep the status of PodProbeMarkers.
    pub marker_status: MarkerStatus,
    /// Most writes to Pods a second; `None`: as fast as the API server takes them.
    pub pod_writes_per_second: Option<u32>,
    /// Least severe events that are logged.
    pub log_level: Level,
    /// How they are written.
    pub log_format: LogFormat,
    /// From SIGTERM to the closing of the server.
    pub drain: Duration,
}

/// Who keeps `status` of PodProbeMarkers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerStatus {
    /// We do.
    Always,
    /// Somebody else does.
    Never,
    /// We do, where OpenKruise does not.
    Auto,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, an object a line.
    Json,
}

/// All that is wrong with settings, each with its name and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", problems.join("\n"))]
pub struct SettingsError {
    /// One line each.
    pub problems: Vec<String>,
}

/// Collects problems while values are read.
#[derive(Default)]
struct Reader {
    problems: Vec<String>,
}

// === impl Settings ===

impl Settings {
    /// Reads flags.
    ///
    /// # Errors
    /// [`SettingsError`] with all problems.
    pub fn try_new(flags: &Flags) -> Result<Self, SettingsError> {
        let mut reader = Reader::default();
        let settings = Self {
            listen: reader.parse("listen", &flags.listen, "an address with a port, such as 0.0.0.0:8443", UNUSED),
            admin_listen: reader.parse(
                "admin-listen",
                &flags.admin_listen,
                "an address with a port, such as 0.0.0.0:8080",
                UNUSED,
            ),
            namespace: reader.name("namespace", &flags.namespace),
            names: names(flags),
            webhook_configuration: reader.name("webhook-configuration", &flags.webhook_configuration),
            tls_secret: reader.name("tls-secret", &flags.tls_secret),
            cert_dir: path(&flags.cert_dir),
            ca_bundle: reader.bundle("ca-bundle", &flags.ca_bundle),
            validity: Validity {
                serving: reader.validity("certificate-validity", &flags.certificate_validity),
                authority: reader.validity("ca-validity", &flags.ca_validity),
            },
            client_ca: path(&flags.client_ca),
            config_map: reader.name("config-map", &flags.config_map),
            sidecar_image: flags.sidecar_image.clone().filter(|image| !image.is_empty()),
            workers: reader.parse("workers", &flags.workers, workers::ALLOWED, Workers::DEFAULT),
            leader_elect: reader.parse("leader-elect", &flags.leader_elect, "true or false", true),
            lease: reader.name("lease", &flags.lease),
            sidecar_cluster_role: reader.name("sidecar-cluster-role", &flags.sidecar_cluster_role),
            marker_status: reader.parse(
                "marker-status",
                &flags.marker_status,
                "auto, always or never",
                MarkerStatus::Auto,
            ),
            pod_writes_per_second: reader.bound("pod-writes-per-second", &flags.pod_writes_per_second),
            log_level: reader.parse("log-level", &flags.log_level, "error, warn, info, debug or trace", Level::INFO),
            log_format: reader.parse("log-format", &flags.log_format, "text or json", LogFormat::Text),
            drain: reader.duration("drain", &flags.drain, Duration::ZERO, LONGEST_DRAIN),
        };
        reader.name("service", &flags.service);
        if reader.problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems: reader.problems }) }
    }
}

const UNUSED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn names(flags: &Flags) -> Vec<String> {
    let (service, namespace) = (&flags.service, &flags.namespace);
    let mut names = vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
    ];
    names.extend(flags.extra_names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    names
}

// === impl Reader ===

impl Reader {
    fn refuse(&mut self, flag: &str, text: &str, allowed: &str) {
        self.problems.push(format!("--{flag}: {text:?} must be {allowed}"));
    }

    fn parse<T: FromStr>(&mut self, flag: &str, text: &str, allowed: &str, otherwise: T) -> T {
        text.parse().unwrap_or_else(|_| {
            self.refuse(flag, text, allowed);
            otherwise
        })
    }

    fn name(&mut self, flag: &str, text: &str) -> String {
        let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.".contains(letter);
        let ends = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
        if text.len() > 253 || !text.chars().all(allowed) || !ends(text.chars().next()) || !ends(text.chars().last()) {
            self.refuse(flag, text, "the name of an object: lower case letters, digits, - and .");
        }
        text.to_owned()
    }

    fn bundle(&mut self, flag: &str, text: &str) -> Option<String> {
        if text.trim().is_empty() {
            return None;
        }
        if let Err(error) = parse_certificates("the text", text.as_bytes()) {
            self.problems.push(format!("--{flag}: {error}; it must be certificates in PEM"));
        }
        Some(text.to_owned())
    }

    fn duration(&mut self, flag: &str, text: &str, least: Duration, most: Duration) -> Duration {
        let parsed = humantime::parse_duration(text).ok().filter(|duration| (least..=most).contains(duration));
        parsed.unwrap_or_else(|| {
            let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
            self.refuse(flag, text, &format!("a duration such as 90s, from {least} to {most}"));
            Duration::ZERO
        })
    }

    fn validity(&mut self, flag: &str, text: &str) -> Duration {
        self.duration(flag, text, SHORTEST_VALIDITY, Duration::from_secs(3650 * 24 * 3600))
    }

    fn bound(&mut self, flag: &str, text: &str) -> Option<u32> {
        let bound = self.parse(flag, text, "a number of writes a second, 0 for no bound", 0);
        (bound > 0).then_some(bound)
    }
}

// === impl FromStr ===

impl FromStr for MarkerStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(()),
        }
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn settings(arguments: &[&str]) -> Result<Settings, SettingsError> {
        Settings::try_new(&Flags::parse_from([&["probelet-webhook"], arguments].concat()))
    }

    #[test]
    fn defaults_are_valid() {
        let settings = settings(&[]).expect("defaults");
        assert_eq!(settings.workers, Workers::Fixed(3));
        assert_eq!(settings.drain, Duration::from_secs(5));
        assert_eq!(settings.names[0], "probelet-webhook.probelet-system.svc");
        assert!(settings.leader_elect);
        assert_eq!(settings.pod_writes_per_second, None);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let error = settings(&[
            "--workers=0",
            "--drain=soon",
            "--ca-bundle=x",
            "--log-level=loud",
            "--listen=8443",
            "--namespace=A_B",
        ]);
        let problems = error.expect_err("refused").problems;
        for flag in
            ["--workers: \"0\" must be", "--drain", "--ca-bundle: the text", "--log-level", "--listen", "--namespace"]
        {
            assert!(problems.iter().any(|problem| problem.starts_with(flag)), "{flag} in {problems:?}");
        }
        assert_eq!(problems.len(), 6, "{problems:?}");
    }

    #[test]
    fn certificates_may_not_be_shorter_than_their_own_rotation() {
        let error = settings(&["--certificate-validity=29s"]).expect_err("refused").to_string();
        assert!(error.contains("--certificate-validity") && error.contains("from 30s"), "{error}");
    }
}
