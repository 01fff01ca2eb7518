//! kubernetes/kubernetes:pkg/kubelet/prober/prober_test.go `TestGetURLParts`, `TestGetTCPAddrParts`, pkg/probe/util_test.go
//! `TestFindPortByName`, `TestResolveContainerPort`, and openkruise/kruise:pkg/daemon/podprobe/prober_test.go's ports.

use super::{LONG, handler};
use probelet_sidecar::outcome::Outcome::Failure;

#[tokio::test]
async fn ports_lead_where_upstream_is_led() {
    for (port, expected) in [
        ("-1", None),
        ("\"\"", None),
        ("\"-1\"", None),
        ("\"not-found\"", None),
        ("\"http\"", None),
        ("66666", None),
        ("65536", None),
        ("\"found\"", Some(93)),
        ("\"foo\"", Some(8080)),
        ("\"bar\"", Some(9000)),
        ("76", Some(76)),
        ("443", Some(443)),
        ("\"118\"", Some(118)),
    ] {
        // Upstream fails a run whose port leads nowhere; kruise-daemon's tcpSocket makes it Failed. Here the plan is at fault, not
        // the container: the state is Unknown, with the reason InvalidProbe, and admission refuses it before.
        for kind in ["httpGet", "tcpSocket"] {
            let handler = handler(&format!(r#"{{"{kind}":{{"port":{port},"host":"127.0.0.1"}}}}"#));
            let Some(number) = expected else {
                assert!(handler.is_err(), "{kind} {port}");
                continue;
            };
            // Nobody listens there, or somebody does: only the address of a refusal is told.
            if let Ok(Failure(message)) = handler.expect(port).run(LONG).await {
                assert!(message.contains(&format!("127.0.0.1:{number}")), "{kind} {port}: {message}");
            }
        }
    }
}

/// `TestGetURLParts` takes a host's name. Here a host that is not the own Pod is refused (CVE-2026-24005).
#[test]
fn a_foreign_host_is_refused() {
    for kind in ["httpGet", "tcpSocket"] {
        let error = handler(&format!(r#"{{"{kind}":{{"port":76,"host":"hostname"}}}}"#)).err().expect("refused");
        assert!(error.to_string().contains("\"hostname\" is not allowed"), "{error}");
    }
}
