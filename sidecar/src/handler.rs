//! A probe's handler, prepared once and run at each period: an enum, since there are four kinds and no fifth.

use crate::dial::{Dialer, UnknownAddress};
use crate::exec::{AgentsHandle, ExecError, ExecProbe};
use crate::grpc::{GrpcError, GrpcProbe};
use crate::http::{HttpError, HttpProbe};
use crate::outcome::Outcome;
use crate::tcp::TcpProbe;
use probelet_protocol::plan::PlannedProbe;
use probelet_protocol::port::{NamedPorts, Port, PortError};
use probelet_protocol::probe;
use probelet_protocol::setting::ProbeHost;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What every probe of the Pod shares.
#[derive(Clone)]
pub struct Target {
    /// Where probes are sent to.
    pub host: ProbeHost,
    /// The Pod's own addresses, as far as they are known.
    pub pod_ips: Vec<IpAddr>,
    /// Named ports by container.
    pub ports: Arc<NamedPorts>,
    /// The way to the exec agents; [`AgentsHandle::none`] where there are none.
    pub agents: AgentsHandle,
    /// Ends the user agent: `kube-probe/<version>`.
    pub version: &'static str,
}

/// A prepared handler.
pub enum Handler {
    /// httpGet.
    Http(Box<HttpProbe>),
    /// tcpSocket.
    Tcp(TcpProbe),
    /// grpc.
    Grpc(GrpcProbe),
    /// exec.
    Exec(ExecProbe),
}

/// Why a probe can never run. Names the field and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// None, or several.
    #[error(transparent)]
    Choice(#[from] probe::HandlerError),
    /// The port leads nowhere.
    #[error("{handler}.port: {source}")]
    Port {
        /// `httpGet`, `tcpSocket` or `grpc`.
        handler: &'static str,
        /// Why.
        source: PortError,
    },
    /// Not an address of the Pod (CVE-2026-24005).
    #[error("{handler}.host: {host:?} is not allowed: probes go to the own Pod only, so leave it out")]
    Host {
        /// `httpGet` or `tcpSocket`.
        handler: &'static str,
        /// What was found.
        host: String,
    },
    /// A field of an httpGet probe.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A field of a grpc probe.
    #[error(transparent)]
    Grpc(#[from] GrpcError),
    /// A field of an exec probe.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The Pod's address is asked for, but not known.
    #[error(transparent)]
    Address(#[from] UnknownAddress),
}

/// Why a run said nothing about the container: neither a success nor a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// No exec agent of the container is connected: it has not started yet, or cannot.
    #[error("no exec agent of container {0:?} is connected")]
    AgentMissing(String),
    /// The agent could not start the command; a container runtime says no more either, and kubelet throws such a run
    /// away.
    #[error("cannot start the command: {0}")]
    CannotStart(String),
    /// The agent was lost, or did not answer in time.
    #[error("the exec agent of container {0:?} did not answer")]
    AgentSilent(String),
}

// === impl Handler ===

impl Handler {
    /// Checks a probe's handler and prepares it.
    ///
    /// # Errors
    /// [`HandlerError`].
    pub fn try_new(planned: &PlannedProbe, target: &Target) -> Result<Self, HandlerError> {
        let handler = planned.probe.handler()?;
        let name = handler.name();
        let port = |port: &Port| {
            let resolved = port.resolve(&planned.id.container, &target.ports);
            resolved.map_err(|source| HandlerError::Port { handler: name, source })
        };
        Ok(match handler {
            probe::Handler::HttpGet(action) => {
                let dialer = dialer(name, action.host.as_deref(), target)?;
                Self::Http(Box::new(HttpProbe::try_new(action, port(&action.port)?, dialer, target.version)?))
            }
            probe::Handler::TcpSocket(action) => {
                let dialer = dialer(name, action.host.as_deref(), target)?;
                Self::Tcp(TcpProbe::new(port(&action.port)?, dialer))
            }
            probe::Handler::Grpc(action) => {
                let port = port(&Port::Number(action.port.into()))?;
                let service = action.service.as_deref().unwrap_or_default();
                Self::Grpc(GrpcProbe::try_new(service, port, dialer(name, None, target)?, target.version)?)
            }
            probe::Handler::Exec(action) => {
                Self::Exec(ExecProbe::try_new(&action.command, &planned.id.container, target.agents.clone())?)
            }
        })
    }

    /// Runs it once; ends within `timeout`. Messages are at most [`probelet_protocol::limit::MESSAGE_BYTES`] long.
    ///
    /// # Errors
    /// [`ProbeError`] where the run says nothing about the container.
    pub async fn run(&self, timeout: Duration) -> Result<Outcome, ProbeError> {
        match self {
            Self::Http(probe) => Ok(probe.run(timeout).await),
            Self::Tcp(probe) => Ok(probe.run(timeout).await),
            Self::Grpc(probe) => Ok(probe.run(timeout).await),
            Self::Exec(probe) => probe.run(timeout).await,
        }
    }
}

// === impl ProbeError ===

impl ProbeError {
    /// A condition's reason, CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::AgentMissing(_) => "ExecAgentMissing",
            Self::CannotStart(_) => "ExecCannotStart",
            Self::AgentSilent(_) => "ExecAgentSilent",
        }
    }
}

/// A `host` that is the own Pod is harmless and kept; OpenKruise's own tests use one.
fn dialer(handler: &'static str, host: Option<&str>, target: &Target) -> Result<Dialer, HandlerError> {
    let dialer = Dialer::try_new(target.host, &target.pod_ips)?;
    let host = host.unwrap_or_default();
    if host.is_empty() {
        return Ok(dialer);
    }
    dialer.to_host(host).ok_or_else(|| HandlerError::Host { handler, host: host.to_owned() })
}
