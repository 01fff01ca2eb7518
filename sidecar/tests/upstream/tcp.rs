//! kubernetes/kubernetes:pkg/probe/tcp/tcp_test.go `TestTcpHealthChecker`, and
//! openkruise/kruise:pkg/daemon/podprobe/prober_test.go `TestRunProbe`, tcpSocket.

use super::server::Server;
use super::{LONG, closed_port, handler};
use probelet_sidecar::outcome::Outcome::{Failure, Success};

#[tokio::test]
async fn a_connection_is_success_and_none_is_failure() {
    let server = Server::answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let run = async |port: u16| {
        let handler = handler(&format!(r#"{{"tcpSocket":{{"port":{port}}}}}"#)).expect("handler");
        handler.run(LONG).await
    };
    assert_eq!(run(server.port()).await, Ok(Success(String::new())));
    assert!(matches!(run(closed_port().await).await, Ok(Failure(_))));
    // The port -1: see `port`.
    assert!(handler(r#"{"tcpSocket":{"port":-1}}"#).is_err());
}
