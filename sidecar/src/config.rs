//! Settings from the environment, read through a lookup that tests replace. All errors are told at once, each with its
//! variable's name.

use crate::look::LookSettings;
use crate::observed::PlanText;
use crate::timing::TimingSettings;
use probelet_protocol::environment as env;
use probelet_protocol::name::{AGENT_DIR, TOKEN_DIR};
use probelet_protocol::plan::Plan;
use probelet_protocol::port::NamedPorts;
use probelet_protocol::setting::{
    ByProbe, Defaults, LogFormat, LogLevel, Marks, Observation, ProbeHost, SHORTEST_SPREAD, parse_bool, parse_duration,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

mod help;
pub use help::help;

/// Host of the API server, as Kubernetes sets it in every container.
pub const SERVICE_HOST: &str = "KUBERNETES_SERVICE_HOST";
/// Its port.
pub const SERVICE_PORT: &str = "KUBERNETES_SERVICE_PORT";
/// Between rare looks where nothing is set.
pub const DEFAULT_LOOK: Duration = Duration::from_secs(600);
const SHORTEST_LOOK: Duration = Duration::from_secs(1);

/// Everything that a sidecar is told.
pub struct Config {
    /// The own Pod.
    pub pod: PodName,
    /// Its addresses, as far as they are known.
    pub pod_ips: Vec<IpAddr>,
    /// The plan as text, to tell edits by.
    pub plan_text: PlanText,
    /// The plan.
    pub plan: Plan,
    /// A node agent probes on this kind of node; the sidecar stands by.
    pub node_kind: Option<String>,
    /// Named ports by container.
    pub ports: NamedPorts,
    /// Containers with a startupProbe.
    pub startup_probes: BTreeSet<String>,
    /// Secrets of the exec agents by container.
    pub agent_keys: BTreeMap<String, String>,
    /// A restartable init container.
    pub is_native: bool,
    /// The Pod may end, and would wait for this container.
    pub may_end: bool,
    /// How the Pod is seen.
    pub observe: Observation,
    /// When it is looked at.
    pub look: LookSettings,
    /// Over how long to come back after trouble with the API server.
    pub retry_spread: Duration,
    /// What is written.
    pub marks: Marks,
    /// Meaning of unset times, and times that replace the probes' own.
    pub timing: TimingSettings,
    /// Where probes go.
    pub probe_host: ProbeHost,
    /// Lowest level that is logged.
    pub log_level: LogLevel,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Port of metrics and health; none is opened where unset.
    pub metrics_port: Option<u16>,
    /// Transitions are told as Events too.
    pub has_events: bool,
    /// Folder of `token` and `ca.crt`.
    pub token_dir: PathBuf,
    /// Folder of the exec agents' sockets.
    pub agent_dir: PathBuf,
    /// The API server.
    pub api: ApiHost,
}

/// Which Pod this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// metadata.namespace.
    pub namespace: String,
    /// metadata.name.
    pub name: String,
    /// metadata.uid.
    pub uid: String,
}

/// Where the API server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiHost {
    /// IPv4, IPv6 without brackets, or a name.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A variable that is missing or malformed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {message}")]
pub struct ConfigError {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Reads variables and collects what is wrong with them.
struct Reader<L> {
    lookup: L,
    errors: Vec<ConfigError>,
}

// === impl Config ===

impl Config {
    /// Reads all settings. Empty variables count as unset.
    ///
    /// # Errors
    /// Every [`ConfigError`] at once.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<ConfigError>> {
        let mut reader = Reader { lookup, errors: Vec::new() };
        let config = Self::read(&mut reader);
        if reader.errors.is_empty() { Ok(config) } else { Err(reader.errors) }
    }

    fn read<L: Fn(&str) -> Option<String>>(reader: &mut Reader<L>) -> Self {
        let plan_text = PlanText { probes: reader.text(env::PLAN), policies: reader.text(env::POLICIES), writes: None };
        let plan = Plan::parse(plan_text.probes.as_deref(), plan_text.policies.as_deref());
        let variable = if matches!(&plan, Err(error) if error.to_string().contains("marker-policies")) {
            env::POLICIES
        } else {
            env::PLAN
        };
        let observe: Observation = reader.parsed(env::OBSERVE);
        let look = reader.with(env::LOOK, |text| parse_duration(text, SHORTEST_LOOK)).unwrap_or(DEFAULT_LOOK);
        Self {
            pod: PodName {
                namespace: reader.required(env::POD_NAMESPACE),
                name: reader.required(env::POD_NAME),
                uid: reader.required(env::POD_UID),
            },
            pod_ips: reader.with(env::POD_IPS, parse_ips).unwrap_or_default(),
            plan_text,
            plan: reader.taken(variable, plan),
            node_kind: reader.text(env::NODE_KIND),
            ports: reader.json(env::PORTS),
            startup_probes: reader.with(env::STARTUP_PROBES, parse_names).unwrap_or_default(),
            agent_keys: reader.json(env::AGENT_KEYS),
            is_native: reader.with(env::NATIVE_SIDECAR, parse_bool).unwrap_or_default(),
            may_end: reader.with(env::MAY_END, parse_bool).unwrap_or_default(),
            observe,
            look: LookSettings {
                period: look,
                has_watch: false,
                has_shield: reader.with(env::SHIELD, parse_bool).unwrap_or_default(),
            },
            retry_spread: reader
                .with(env::RETRY_SPREAD, |text| parse_duration(text, SHORTEST_SPREAD))
                .unwrap_or_default(),
            marks: reader.parsed(env::MARKS),
            timing: TimingSettings {
                defaults: reader.parsed::<Defaults>(env::DEFAULTS),
                periods: reader.parsed::<ByProbe>(env::PERIOD),
                timeouts: reader.parsed::<ByProbe>(env::TIMEOUT),
            },
            probe_host: reader.parsed(env::PROBE_HOST),
            log_level: reader.parsed(env::LOG_LEVEL),
            log_format: reader.parsed(env::LOG_FORMAT),
            metrics_port: reader.with(env::METRICS_PORT, parse_port),
            has_events: reader.with(env::EVENTS, parse_bool).unwrap_or_default(),
            token_dir: reader.text(env::TOKEN_DIR).unwrap_or_else(|| TOKEN_DIR.into()).into(),
            agent_dir: reader.text(env::AGENT_DIR).unwrap_or_else(|| AGENT_DIR.into()).into(),
            api: ApiHost {
                host: reader.required(SERVICE_HOST).trim_matches(['[', ']']).to_owned(),
                port: reader.with(SERVICE_PORT, parse_port).unwrap_or(443),
            },
        }
    }
}

// === impl Reader ===

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    fn text(&self, variable: &str) -> Option<String> {
        (self.lookup)(variable).filter(|text| !text.trim().is_empty())
    }

    fn required(&mut self, variable: &'static str) -> String {
        self.text(variable).unwrap_or_else(|| {
            self.errors.push(ConfigError { variable, message: "must be set".into() });
            String::new()
        })
    }

    fn with<T, E: fmt::Display>(&mut self, variable: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text(variable)?;
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.errors.push(ConfigError { variable, message: error.to_string() });
                None
            }
        }
    }

    fn parsed<T: FromStr<Err: fmt::Display> + Default>(&mut self, variable: &'static str) -> T {
        self.with(variable, str::parse).unwrap_or_default()
    }

    fn json<T: serde::de::DeserializeOwned + Default>(&mut self, variable: &'static str) -> T {
        // The value may hold secrets: the error says where, never what.
        self.with(variable, |text| {
            let place = |error: serde_json::Error| {
                format!("not the JSON expected: line {}, column {}", error.line(), error.column())
            };
            serde_json::from_str(text).map_err(place)
        })
        .unwrap_or_default()
    }

    fn taken<T: Default, E: fmt::Display>(&mut self, variable: &'static str, value: Result<T, E>) -> T {
        value.unwrap_or_else(|error| {
            self.errors.push(ConfigError { variable, message: error.to_string() });
            T::default()
        })
    }
}

fn parse_ips(text: &str) -> Result<Vec<IpAddr>, String> {
    let parse = |item: &str| item.parse().map_err(|_| format!("{item:?} is not an IP address"));
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(parse).collect()
}

fn parse_names(text: &str) -> Result<BTreeSet<String>, std::convert::Infallible> {
    Ok(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("{text:?} is not a port between 1 and 65535"))
}

#[cfg(test)]
mod tests;
