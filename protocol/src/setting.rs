//! Per-Pod settings: annotations under `probelet.io/`. Parsed by the webhook, which refuses unknown and malformed ones by
//! name and hands the rest to the sidecar in its environment, in the same text form.

use crate::name::{OWN_ANNOTATIONS, OWN_PREFIX};
use std::collections::BTreeMap;
use std::time::Duration;

mod value;
pub use value::{
    ByProbe, Defaults, LogFormat, LogLevel, Marks, Observation, ProbeHost, ValueError, parse_bool, parse_duration,
};

/// The settings of one Pod, unset ones at the cluster's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `probelet.io/image`: the sidecar's image; the webhook allows configured prefixes only.
    pub image: Option<String>,
    /// `probelet.io/cpu-request`: a Kubernetes quantity; checked by the webhook.
    pub cpu_request: Option<String>,
    /// `probelet.io/cpu-limit`.
    pub cpu_limit: Option<String>,
    /// `probelet.io/memory-request`.
    pub memory_request: Option<String>,
    /// `probelet.io/memory-limit`.
    pub memory_limit: Option<String>,
    /// `probelet.io/native-sidecar`: `true` or `false`.
    pub native_sidecar: Option<bool>,
    /// `probelet.io/observe`.
    pub observe: Option<Observation>,
    /// `probelet.io/marks`.
    pub marks: Option<Marks>,
    /// `probelet.io/defaults`.
    pub defaults: Option<Defaults>,
    /// `probelet.io/probe-host`.
    pub probe_host: Option<ProbeHost>,
    /// `probelet.io/period`.
    pub period: ByProbe,
    /// `probelet.io/timeout`.
    pub timeout: ByProbe,
    /// `probelet.io/look`: at least 1 min.
    pub look: Option<Duration>,
    /// `probelet.io/retry-spread`: at least 1 s.
    pub retry_spread: Option<Duration>,
    /// `probelet.io/log-level`.
    pub log_level: Option<LogLevel>,
    /// `probelet.io/log-format`.
    pub log_format: Option<LogFormat>,
    /// `probelet.io/metrics-port`.
    pub metrics_port: Option<u16>,
    /// `probelet.io/events`.
    pub events: Option<bool>,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No setting has this name.
    #[error("annotation {key}: no such setting; known are {}", KEYS.join(", "))]
    Unknown {
        /// The whole annotation key.
        key: String,
    },
    /// The setting exists, the value does not.
    #[error("annotation {key}: {source}")]
    Malformed {
        /// The whole annotation key.
        key: String,
        /// What is allowed.
        source: ValueError,
    },
}

/// Names of all settings, without the prefix.
pub const KEYS: [&str; 18] = [
    "cpu-limit",
    "cpu-request",
    "defaults",
    "events",
    "image",
    "log-format",
    "log-level",
    "look",
    "marks",
    "memory-limit",
    "memory-request",
    "metrics-port",
    "native-sidecar",
    "observe",
    "period",
    "probe-host",
    "retry-spread",
    "timeout",
];

const SHORTEST_LOOK: Duration = Duration::from_secs(60);
/// Least value of `probelet.io/retry-spread`.
pub const SHORTEST_SPREAD: Duration = Duration::from_secs(1);

impl Settings {
    /// Reads the settings among a Pod's annotations.
    ///
    /// # Errors
    /// Every [`SettingError`] at once.
    pub fn parse(annotations: &BTreeMap<String, String>) -> Result<Self, Vec<SettingError>> {
        let mut settings = Self::default();
        let mut errors = Vec::new();
        for (key, text) in annotations {
            let Some(name) = key.strip_prefix(OWN_PREFIX) else { continue };
            if OWN_ANNOTATIONS.contains(&key.as_str()) {
                continue;
            }
            match settings.set(name, text) {
                Some(Ok(())) => {}
                Some(Err(source)) => errors.push(SettingError::Malformed { key: key.clone(), source }),
                None => errors.push(SettingError::Unknown { key: key.clone() }),
            }
        }
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }

    fn set(&mut self, name: &str, text: &str) -> Option<Result<(), ValueError>> {
        Some(match name {
            "image" => put(&mut self.image, value::non_empty(text)),
            "cpu-request" => put(&mut self.cpu_request, value::non_empty(text)),
            "cpu-limit" => put(&mut self.cpu_limit, value::non_empty(text)),
            "memory-request" => put(&mut self.memory_request, value::non_empty(text)),
            "memory-limit" => put(&mut self.memory_limit, value::non_empty(text)),
            "native-sidecar" => put(&mut self.native_sidecar, parse_bool(text)),
            "observe" => put(&mut self.observe, text.parse()),
            "marks" => put(&mut self.marks, text.parse()),
            "defaults" => put(&mut self.defaults, text.parse()),
            "probe-host" => put(&mut self.probe_host, text.parse()),
            "period" => text.parse().map(|periods| self.period = periods),
            "timeout" => text.parse().map(|timeouts| self.timeout = timeouts),
            "look" => put(&mut self.look, parse_duration(text, SHORTEST_LOOK)),
            "retry-spread" => put(&mut self.retry_spread, parse_duration(text, SHORTEST_SPREAD)),
            "log-level" => put(&mut self.log_level, text.parse()),
            "log-format" => put(&mut self.log_format, text.parse()),
            "metrics-port" => put(&mut self.metrics_port, value::parse_port(text)),
            "events" => put(&mut self.events, parse_bool(text)),
            _ => return None,
        })
    }
}

fn put<T>(field: &mut Option<T>, value: Result<T, ValueError>) -> Result<(), ValueError> {
    *field = Some(value?);
    Ok(())
}

#[cfg(test)]
mod tests;
