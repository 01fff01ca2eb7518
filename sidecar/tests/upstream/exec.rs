//! kubernetes/kubernetes:pkg/probe/exec/exec_test.go `TestExec`, pkg/kubelet/prober/prober_test.go `TestProbe` and
//! `TestNewExecInContainer`, with real commands through the real agent.

#[expect(dead_code, reason = "written for the tests of exec")]
#[path = "../agent_exec/pod.rs"]
mod pod;

use super::LONG;
use pod::Pod;
use probelet_sidecar::outcome::Outcome::{Failure, Success};
use std::time::Duration;

/// What upstream's fake commands and runners do, done by a shell.
#[tokio::test]
async fn commands_count_as_in_kubelet() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    pod.start("main", None);
    sidecar.connected("main").await;
    for (command, expected) in [
        // TestExec
        (&["echo", "-n", "OK"][..], Success("OK".into())),
        // kubelet keeps 10 KiB of 11 KiB; OpenKruise's limit of a message is less, so that is what is kept.
        (&["sh", "-c", "yes logs-123 | tr -d '\\n' | head -c 11264"], Success("logs-123".repeat(128))),
        // kubelet's message is both outputs; OpenKruise's, and ours, standard error.
        (&["sh", "-c", "echo Fail; exit 1"], Failure(String::new())),
        (&["sh", "-c", "echo Fail >&2; exit 1"], Failure("Fail\n".into())),
        // TestProbe: arguments are passed through, and variables of the container's environment expanded.
        (&["printf", "%s|", "-c", "some script"], Success("-c|some script|".into())),
        (&["printf", "%s|", "some $(GREETING) $(B)"], Success("some hello $(B)|".into())),
        // TestNewExecInContainer: the command gets its own arguments, and its output is told.
        (&["echo", "foo", "bar"], Success("foo bar\n".into())),
    ] {
        assert_eq!(sidecar.exec(command, LONG).await, Ok(expected), "{command:?}");
    }
}

/// `TestExec`: a run that cannot be made is an error, which `TestProbe` throws away; a timeout is a failure, as where kubelet's
/// ExecProbeTimeout is on.
#[tokio::test]
async fn errors_and_timeouts_count_as_in_kubelet() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    pod.start("main", None);
    sidecar.connected("main").await;
    let error = sidecar.exec(&["/no/such"], LONG).await.expect_err("no result");
    assert_eq!(error.reason(), "ExecCannotStart");
    let outcome = sidecar.exec(&["sleep", "9"], Duration::from_millis(200)).await;
    let Ok(Failure(message)) = outcome else { panic!("{outcome:?}") };
    assert!(message.starts_with("command timed out: ") && message.ends_with(" timed out after 200ms"), "{message}");
}
