//! tcpSocket probes: kubernetes/kubernetes:pkg/probe/tcp/tcp.go `DoTCPProbe`.

use crate::dial::Dialer;
use crate::outcome::Outcome;
use probelet_protocol::limit::cut_message;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// A prepared tcpSocket probe.
pub struct TcpProbe {
    dialer: Dialer,
    port: u16,
}

impl TcpProbe {
    /// A probe of this port.
    pub fn new(port: u16, dialer: Dialer) -> Self {
        Self { dialer, port }
    }

    /// Success, with no message, when a connection is accepted within `limit`.
    pub async fn run(&self, limit: Duration) -> Outcome {
        let message = match timeout(limit, self.dialer.connect(self.dialer.targets(), self.port)).await {
            Ok(Ok(connection)) => {
                connection.lease.close(connection.stream);
                return Outcome::Success(String::new());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("dial tcp {}: i/o timeout", SocketAddr::new(self.dialer.targets()[0], self.port)),
        };
        Outcome::Failure(cut_message(&message).to_owned())
    }
}
