use super::*;

fn probe(command: &[&str], agents: AgentsHandle) -> Result<ExecProbe, ExecError> {
    let command: Vec<_> = command.iter().map(|argument| (*argument).to_owned()).collect();
    ExecProbe::try_new(&command, "main", agents)
}

fn verdict(ending: Ending) -> Result<Outcome, ProbeError> {
    let probe = probe(&["sleep", "99"], AgentsHandle::none()).expect("probe");
    probe.verdict(ending, Duration::from_secs(1))
}

/// kubernetes/kubernetes:pkg/probe/exec/exec_test.go, with OpenKruise's choice of output.
#[test]
fn endings_count_as_kruise_daemon_counts_them() {
    let exited =
        |code, stdout: &str, stderr: &str| Ending::Exited { code, stdout: stdout.into(), stderr: stderr.into() };
    assert_eq!(verdict(exited(0, "OK", "noise")), Ok(Outcome::Success("OK".into())));
    assert_eq!(verdict(exited(1, "noise", "Fail")), Ok(Outcome::Failure("Fail".into())));
    assert_eq!(verdict(exited(127, "", "")), Ok(Outcome::Failure(String::new())));
    let long = verdict(exited(0, &"é".repeat(600), ""));
    assert_eq!(long, Ok(Outcome::Success("é".repeat(512))));
    let timed_out = "command timed out: \"sleep 99\" timed out after 1s";
    assert_eq!(verdict(Ending::TimedOut), Ok(Outcome::Failure(timed_out.into())));
    let killed = verdict(Ending::Killed { signal: 9, stderr: Vec::new() });
    assert_eq!(killed, Ok(Outcome::Failure("command was killed by signal 9".into())));
    let error = verdict(Ending::CannotStart("x: No such file or directory".into())).expect_err("no result");
    assert_eq!(error.reason(), "ExecCannotStart");
    assert_eq!(error.to_string(), "cannot start the command: x: No such file or directory");
}

#[tokio::test]
async fn a_missing_agent_is_an_error_and_never_a_result() {
    let error = probe(&["true"], AgentsHandle::none()).expect("probe").run(Duration::from_secs(1)).await;
    assert_eq!(error, Err(ProbeError::AgentMissing("main".into())));
    assert_eq!(error.expect_err("missing").reason(), "ExecAgentMissing");
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_is_an_error_shortly_after_the_timeout() {
    let (asks, mut asked) = mpsc::channel(1);
    let probe = probe(&["true"], AgentsHandle::new(asks, Arc::default())).expect("probe");
    let start = tokio::time::Instant::now();
    let (outcome, _ask) = tokio::join!(probe.run(Duration::from_secs(1)), asked.recv());
    assert_eq!(outcome.expect_err("silent").reason(), "ExecAgentSilent");
    assert_eq!(start.elapsed(), Duration::from_secs(1) + GRACE);
}

#[test]
fn a_command_that_can_never_run_is_refused() {
    for (command, expected) in [
        (&[][..], "exec.command: must not be empty"),
        (&["", "x"], "exec.command: must not be empty"),
        (&["x", "a\0b"], "exec.command[1]: NUL characters are not allowed"),
        (&["x"; 129], "exec.command: 129 arguments of 129 bytes, at most 128 of 8192 are allowed"),
    ] {
        let error = probe(command, AgentsHandle::none()).err().expect("refused");
        assert_eq!(error.to_string(), expected);
    }
}
