//! What a container's `postStart` runs: leaves the agent behind and goes on as the original hook. Whatever happens to
//! the agent, the container is not held up (fault F16).

use super::hook;
use probelet_protocol::agent::AgentStart;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

/// Starts the agent, then runs the hook; its result is the result. Without one it is always success.
pub(super) fn start(start: &AgentStart) -> ExitCode {
    if let Err(error) = detach(start) {
        // Exec probes of this container will be Unknown, with a reason; the container lives.
        eprintln!("probelet-agent: cannot start the agent: {error}");
    }
    match &start.hook {
        Some(original) => hook::run(original),
        None => ExitCode::SUCCESS,
    }
}

/// One fork, no wait: once this process ends, the agent is a child of the container's PID 1, and it never ends before it. It
/// learns its key over a pipe, since everybody may read a process's arguments.
fn detach(start: &AgentStart) -> std::io::Result<()> {
    let mut child = Command::new("/proc/self/exe")
        .arg("serve")
        .stdin(Stdio::piped())
        // The runtime waits for the hook until nobody holds its output.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all([&start.container, &start.key, &start.dir].map(String::as_str).join("\0").as_bytes())?;
    }
    Ok(())
}
