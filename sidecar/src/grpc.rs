//! grpc probes: kubernetes/kubernetes:pkg/probe/grpc/grpc.go, with its results and messages.

mod h2;
mod health;
mod hpack;
mod huffman;
mod status;

use crate::dial::{Dialer, Lease};
use crate::outcome::Outcome;
use crate::timing::GoDuration;
use h2::Connection;
use health::ServingStatus;
use probelet_protocol::limit::cut_message;
use status::{Code, Status};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Longest service name that is asked for.
const SERVICE: usize = 1024;
/// Time between the starts of two attempts to connect, grpc-go's first back-off.
const AGAIN: Duration = Duration::from_secs(1);

/// A prepared grpc probe.
pub struct GrpcProbe {
    dialer: Dialer,
    port: u16,
    request: Vec<u8>,
    user_agent: String,
}

/// Why a grpc probe can never run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrpcError {
    /// Too long a name.
    #[error("grpc.service: {0} bytes, at most {SERVICE} are allowed")]
    Service(usize),
}

impl GrpcProbe {
    /// A probe that asks for this service, empty for the whole server; `version` ends the user agent.
    ///
    /// # Errors
    /// [`GrpcError`].
    pub fn try_new(service: &str, port: u16, dialer: Dialer, version: &str) -> Result<Self, GrpcError> {
        if service.len() > SERVICE {
            return Err(GrpcError::Service(service.len()));
        }
        Ok(Self { dialer, port, request: health::request(service), user_agent: format!("kube-probe/{version}") })
    }

    /// Connects, trying again as grpc-go does while there is time, and asks once.
    pub async fn run(&self, timeout: Duration) -> Outcome {
        let deadline = Instant::now() + timeout;
        let Ok((mut connection, peer, lease)) = timeout_at(deadline, self.connect()).await else {
            let address = SocketAddr::new(self.dialer.targets()[0], self.port).to_string();
            return Outcome::Failure(format!(
                "timeout: failed to connect service {address:?} within {}: context deadline exceeded",
                GoDuration(timeout)
            ));
        };
        let rest = deadline.saturating_duration_since(Instant::now()).as_millis().max(1).to_string() + "m";
        let authority = peer.to_string();
        let fields = [
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", &authority),
            ("content-type", "application/grpc"),
            ("user-agent", &self.user_agent),
            ("te", "trailers"),
            ("grpc-timeout", &rest),
        ];
        let answer = timeout_at(deadline, connection.call(&fields, &self.request)).await;
        if answer.is_ok() {
            lease.close(connection.into_stream());
        }
        let status = match answer {
            Ok(Ok(message)) => match health::response(&message) {
                Some(ServingStatus::SERVING) => return Outcome::Success("service healthy".into()),
                Some(other) => {
                    return Outcome::Failure(format!("service unhealthy (responded with {:?})", other.to_string()));
                }
                None => Status::new(Code::INTERNAL, "grpc: failed to unmarshal the received message"),
            },
            Ok(Err(status)) => status,
            Err(_) => Status::new(Code::DEADLINE_EXCEEDED, ""),
        };
        Outcome::Failure(cut_message(&told(&status, timeout)).to_owned())
    }

    /// Ends with a connection or not at all.
    async fn connect(&self) -> (Connection<TcpStream>, SocketAddr, Lease) {
        loop {
            let next = Instant::now() + AGAIN;
            match self.attempt().await {
                Ok(connection) => return connection,
                Err(_) => sleep_until(next).await,
            }
        }
    }

    async fn attempt(&self) -> io::Result<(Connection<TcpStream>, SocketAddr, Lease)> {
        let connected = self.dialer.connect(self.dialer.targets(), self.port).await.map_err(io::Error::other)?;
        Ok((Connection::open(connected.stream).await?, connected.peer, connected.lease))
    }
}

fn told(status: &Status, timeout: Duration) -> String {
    match status.code {
        Code::UNIMPLEMENTED => format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            status.message
        ),
        Code::DEADLINE_EXCEEDED => format!("timeout: health rpc did not complete within {}", GoDuration(timeout)),
        _ => format!("error: health rpc probe failed: {status}"),
    }
}
