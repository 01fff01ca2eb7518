//! kubernetes/kubernetes:pkg/probe/grpc/grpc_test.go `TestGrpcProber_Probe`, `TestGrpcProber_Probe_TLS`, and
//! openkruise/kruise:pkg/daemon/podprobe/prober_test.go `TestRunProbe`, grpc.

#[expect(dead_code, reason = "written for the tests of grpc")]
#[path = "../handler_grpc/server.rs"]
mod server;

use super::{closed_port, handler};
use probelet_sidecar::outcome::Outcome::{self, Failure, Success};
use server::{Script, serve};
use std::time::Duration;

async fn check(port: u16, service: &str, seconds: u64) -> Outcome {
    let handler = handler(&format!(r#"{{"grpc":{{"port":{port},"service":"{service}"}}}}"#)).expect("handler");
    handler.run(Duration::from_secs(seconds)).await.expect("run")
}

#[tokio::test]
async fn a_server_that_is_not_there_times_out() {
    let port = closed_port().await;
    let message =
        format!("timeout: failed to connect service \"127.0.0.1:{port}\" within 1s: context deadline exceeded");
    assert_eq!(check(port, "", 1).await, Failure(message));
}

#[tokio::test]
async fn a_server_of_another_protocol_is_a_failure() {
    let plain = super::server::Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nres").await;
    assert!(matches!(check(plain.port(), "", 1).await, Failure(_)));
    // Upstream's newer useTLS is no field of core/v1 in 1.34, so the plaintext row of its TLS table is the one there is.
    let tls = super::server::Tls::new().await;
    assert!(matches!(check(tls.port, "", 1).await, Failure(_)));
}

#[tokio::test]
async fn answers_count_as_in_kubelet_and_in_kruise_daemon() {
    let (serving, _requests) = serve(Script::message(&[8, 1])).await;
    assert_eq!(check(serving, "", 2).await, Success("service healthy".into()));
    assert_eq!(check(serving, "healthy", 2).await, Success("service healthy".into()));
    let (not_serving, _requests) = serve(Script::message(&[8, 2])).await;
    let unhealthy = || Failure("service unhealthy (responded with \"NOT_SERVING\")".into());
    assert_eq!(check(not_serving, "", 2).await, unhealthy());
    assert_eq!(check(not_serving, "unhealthy", 2).await, unhealthy());
    let (silent, _requests) = serve(Script { is_silent: true, ..Script::default() }).await;
    let late = "timeout: health rpc did not complete within 2s";
    assert_eq!(check(silent, "", 2).await, Failure(late.into()));
}
