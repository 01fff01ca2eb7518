//! The values that settings take, each with its text form.

use crate::limit;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// Says what was found and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not allowed: {allowed}")]
pub struct ValueError {
    found: String,
    allowed: String,
}

impl ValueError {
    fn new(found: &str, allowed: impl Into<String>) -> Self {
        Self { found: found.to_owned(), allowed: allowed.into() }
    }
}

/// An enum that is written as one of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(ValueError::new(text, format!("must be one of {}", [$($word),+].join(", ")))),
                }
            }
        }
    };
}

words! {
    /// How the sidecar sees its own Pod.
    Observation {
        /// By the answers to its own patches: one RBAC verb.
        #[default]
        Patch = "patch",
        /// By a watch: overwrites are seen at once; needs `get` and `watch`.
        Watch = "watch",
    }
}

words! {
    /// What the sidecar writes.
    Marks {
        /// Conditions, labels and annotations.
        #[default]
        All = "all",
        /// Conditions only, for providers that cannot bear metadata changes (virtual-kubelet/virtual-kubelet#744).
        Conditions = "conditions",
    }
}

words! {
    /// What unset fields of a probe mean.
    Defaults {
        /// Period 1 s, timeout 1 s, thresholds 1 and 1, delay 0 (openkruise/kruise:pkg/daemon/podprobe/worker.go).
        #[default]
        Kruise = "kruise",
        /// Period 10 s, timeout 1 s, thresholds 1 and 3, delay 0 (kubernetes/kubernetes:pkg/apis/core/v1/defaults.go).
        Core = "core",
    }
}

words! {
    /// Lowest level that is logged.
    LogLevel {
        /// Faults only.
        Error = "error",
        /// And what needs a look.
        Warn = "warn",
        /// And every transition.
        #[default]
        Info = "info",
        /// And every run.
        Debug = "debug",
        /// And everything else.
        Trace = "trace",
    }
}

words! {
    /// Form of the log.
    LogFormat {
        /// For people.
        #[default]
        Text = "text",
        /// One object a line.
        Json = "json",
    }
}

/// Where probes are sent to. Never anything but the own Pod: the dialler checks again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbeHost {
    /// 127.0.0.1, then ::1, then the Pod's own address, going on where a connection is refused.
    #[default]
    Auto,
    /// The Pod's own address, as kubelet does.
    PodIp,
    /// One loopback address.
    Loopback(IpAddr),
}

impl fmt::Display for ProbeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::PodIp => f.write_str("pod-ip"),
            Self::Loopback(address) => address.fmt(f),
        }
    }
}

impl FromStr for ProbeHost {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match (text, text.parse::<IpAddr>()) {
            ("auto", _) => Ok(Self::Auto),
            ("pod-ip", _) => Ok(Self::PodIp),
            (_, Ok(address)) if address.is_loopback() => Ok(Self::Loopback(address)),
            _ => Err(ValueError::new(text, "must be auto, pod-ip, or a loopback address such as 127.0.0.1 or ::1")),
        }
    }
}

/// A duration for all probes and for single ones: `250ms`, `health=250ms,idle=5s`, or both: `1s,health=250ms`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByProbe {
    every: Option<Duration>,
    named: BTreeMap<String, Duration>,
}

impl ByProbe {
    /// The duration set for a probe, by its name.
    pub fn get(&self, probe: &str) -> Option<Duration> {
        self.named.get(probe).copied().or(self.every)
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.every.is_none() && self.named.is_empty()
    }
}

impl fmt::Display for ByProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = self.every.iter().map(|duration| humantime::format_duration(*duration).to_string());
        let named = self.named.iter().map(|(name, span)| format!("{name}={}", humantime::format_duration(*span)));
        f.write_str(&every.chain(named).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for ByProbe {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut by_probe = Self::default();
        for item in text.split(',').map(str::trim) {
            match item.split_once('=') {
                Some((name, span)) => {
                    let span = parse_duration(span.trim(), limit::SHORTEST_PERIOD)?;
                    if by_probe.named.insert(name.trim().to_owned(), span).is_some() {
                        return Err(ValueError::new(text, format!("probe {:?} is named twice", name.trim())));
                    }
                }
                None => {
                    if by_probe.every.replace(parse_duration(item, limit::SHORTEST_PERIOD)?).is_some() {
                        return Err(ValueError::new(text, "at most one duration without a probe's name"));
                    }
                }
            }
        }
        Ok(by_probe)
    }
}

/// A humantime duration between `shortest` and a day.
///
/// # Errors
/// [`ValueError`] with both bounds.
pub fn parse_duration(text: &str, shortest: Duration) -> Result<Duration, ValueError> {
    let longest = Duration::from_secs(limit::SECONDS.unsigned_abs().into());
    match humantime::parse_duration(text) {
        Ok(span) if (shortest..=longest).contains(&span) => Ok(span),
        _ => Err(ValueError::new(
            text,
            format!(
                "must be a duration such as 250ms or 5s, from {} to {}",
                humantime::format_duration(shortest),
                humantime::format_duration(longest)
            ),
        )),
    }
}

/// `true` or `false`.
///
/// # Errors
/// [`ValueError`] for anything else.
pub fn parse_bool(text: &str) -> Result<bool, ValueError> {
    text.parse().map_err(|_| ValueError::new(text, "must be true or false"))
}

pub(super) fn parse_port(text: &str) -> Result<u16, ValueError> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(ValueError::new(text, "must be a port between 1 and 65535")),
    }
}

pub(super) fn non_empty(text: &str) -> Result<String, ValueError> {
    if text.trim().is_empty() { Err(ValueError::new(text, "must not be empty")) } else { Ok(text.trim().to_owned()) }
}
