//! core/v1 `Probe` as a PodProbeMarker embeds it (kubernetes/kubernetes:staging/src/k8s.io/api/core/v1/types.go).
//! Fields stand in upstream's order, so that the JSON comes out as OpenKruise writes it.

use crate::port::Port;
use serde::{Deserialize, Serialize};

/// A probe's handler and its times. Unset numbers are `None`; what they then mean is the reader's choice of
/// defaults ([`crate::setting::Defaults`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// Run a command in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// Send a GET request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetAction>,
    /// Open a TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocketAction>,
    /// Ask grpc.health.v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAction>,
    /// Seconds after the container's start before the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<i32>,
    /// Seconds until a run is a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
    /// Seconds between runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<i32>,
    /// Successes in a row until the state is Succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<i32>,
    /// Failures in a row until the state is Failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<i32>,
    /// Of liveness probes; carried along, without meaning here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
}

/// Run a command in the container, no shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecAction {
    /// Program and arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub command: Vec<String>,
}

/// Send a GET request; 200 to 399 is success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGetAction {
    /// Path with query; `/` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Port to dial.
    pub port: Port,
    /// Refused at admission, never dialled (CVE-2026-24005).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `HTTP` where left out, or `HTTPS` (not verified).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Extra headers, in order, repeats kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub http_headers: Vec<HttpHeader>,
}

/// One header of a GET request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHeader {
    /// Header name.
    pub name: String,
    /// Header value; may be a secret, never logged.
    #[serde(default)]
    pub value: String,
}

/// Open a TCP connection; success when it is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpSocketAction {
    /// Port to dial.
    pub port: Port,
    /// Refused at admission, never dialled (CVE-2026-24005).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Ask grpc.health.v1 `Health/Check` over plain HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcAction {
    /// Port to dial; a number, as in core/v1.
    pub port: i32,
    /// Service name to ask about; empty where left out.
    #[serde(default)]
    pub service: Option<String>,
}

/// A probe's handler, exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler<'a> {
    /// See [`ExecAction`].
    Exec(&'a ExecAction),
    /// See [`HttpGetAction`].
    HttpGet(&'a HttpGetAction),
    /// See [`TcpSocketAction`].
    TcpSocket(&'a TcpSocketAction),
    /// See [`GrpcAction`].
    Grpc(&'a GrpcAction),
}

/// A probe with no handler, or with several.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// None is set; the API server drops handlers that it does not know.
    #[error("no handler: one of exec, httpGet, tcpSocket, grpc must be set")]
    Missing,
    /// More than one is set.
    #[error("more than one handler: {0}; exactly one of exec, httpGet, tcpSocket, grpc may be set")]
    Several(String),
}

impl Probe {
    /// The one handler that is set.
    ///
    /// # Errors
    /// [`HandlerError`] unless exactly one is.
    pub fn handler(&self) -> Result<Handler<'_>, HandlerError> {
        let mut set = [
            self.exec.as_ref().map(Handler::Exec),
            self.http_get.as_ref().map(Handler::HttpGet),
            self.tcp_socket.as_ref().map(Handler::TcpSocket),
            self.grpc.as_ref().map(Handler::Grpc),
        ]
        .into_iter()
        .flatten();
        let Some(first) = set.next() else { return Err(HandlerError::Missing) };
        let rest: Vec<_> = set.map(Handler::name).collect();
        if rest.is_empty() {
            Ok(first)
        } else {
            Err(HandlerError::Several(format!("{}, {}", first.name(), rest.join(", "))))
        }
    }
}

impl Handler<'_> {
    /// The field's name: `exec`, `httpGet`, `tcpSocket` or `grpc`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::HttpGet(_) => "httpGet",
            Self::TcpSocket(_) => "tcpSocket",
            Self::Grpc(_) => "grpc",
        }
    }
}

/// Go writes an empty slice as `null` here and there.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_handler_is_a_handler() {
        let probe: Probe = serde_json::from_str(r#"{"tcpSocket":{"port":"http"},"periodSeconds":3}"#).expect("json");
        assert_eq!(probe.handler().expect("one").name(), "tcpSocket");
        assert_eq!(Probe::default().handler(), Err(HandlerError::Missing));
        let two: Probe =
            serde_json::from_str(r#"{"exec":{"command":["a"]},"grpc":{"port":1,"service":null}}"#).expect("json");
        assert!(two.handler().expect_err("two").to_string().contains("exec, grpc"));
    }

    #[test]
    fn json_comes_out_as_upstream_writes_it() {
        for text in [
            r#"{"exec":{"command":["bash","/data/probe.sh"]},"initialDelaySeconds":5}"#,
            r#"{"httpGet":{"path":"/h?x=1","port":8080,"scheme":"HTTP","httpHeaders":[{"name":"A","value":"b"}]}}"#,
            r#"{"grpc":{"port":9000,"service":null},"timeoutSeconds":1}"#,
        ] {
            let probe: Probe = serde_json::from_str(text).expect("json");
            assert_eq!(serde_json::to_string(&probe).expect("json"), text);
        }
    }
}
