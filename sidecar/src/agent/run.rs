//! One command of an exec probe, from its start to the end of its process group.

use super::expand::expand;
use crate::frame::{Ending, OUTPUT};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, WaitStatus, kill_process_group, pidfd_open};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command that was started.
pub(super) struct Run {
    pub(super) id: u32,
    pub(super) pid: Pid,
    /// When its group is killed; `None` once that was done and told.
    pub(super) deadline: Option<Instant>,
    /// Readable once it has ended; none where the kernel or its filters lack pidfds.
    pidfd: Option<OwnedFd>,
    stdout: Pipe,
    stderr: Pipe,
}

/// One of a command's outputs: its start is kept, the rest is read and dropped, so that no command blocks.
struct Pipe {
    file: Option<File>,
    kept: Vec<u8>,
}

// === impl Run ===

impl Run {
    /// Starts a command as the container's own user, in the agent's own environment and working directory, in a process
    /// group of its own. (A session of its own would take code between fork and exec; the group is what is killed.)
    pub(super) fn start(id: u32, timeout: Duration, command: &[String]) -> Result<Self, String> {
        let mut words = command.iter().map(|word| expand(word, |name| std::env::var_os(name)));
        let program = words.next().ok_or("empty command")?;
        let failed = |error: io::Error| format!("{}: {error}", program.display());
        let mut child = Command::new(&program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        // The child is never waited for through std: everything that ends is reaped in one place.
        Ok(Self {
            id,
            pid,
            deadline: Instant::now().checked_add(timeout),
            pidfd: pidfd_open(pid, PidfdFlags::empty()).ok(),
            stdout: Pipe::new(stdout),
            stderr: Pipe::new(stderr),
        })
    }

    /// What to poll for input; their number changes as outputs end.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pipes = [&self.stdout, &self.stderr].into_iter().filter_map(|pipe| pipe.file.as_ref().map(File::as_fd));
        self.pidfd.iter().map(OwnedFd::as_fd).chain(pipes)
    }

    /// Whether its end is only seen by looking.
    pub(super) fn is_blind(&self) -> bool {
        self.pidfd.is_none()
    }

    /// Reads what there is, at most one buffer of each output.
    pub(super) fn read(&mut self) {
        self.stdout.read();
        self.stderr.read();
    }

    /// The process is known to have ended: what it came to. Its children may live on, as with a container runtime.
    pub(super) fn end(mut self, status: WaitStatus) -> Ending {
        // What it wrote is in the pipes, which hold this much; what its children write later is nobody's.
        for _ in 0..16 {
            self.read();
        }
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ending::Exited { code: code as u8, stdout: self.stdout.kept, stderr: self.stderr.kept },
            (_, signal) => Ending::Killed { signal: signal.unwrap_or_default() as u8, stderr: self.stderr.kept },
        }
    }

    /// Kills the whole group.
    pub(super) fn kill(&self) {
        // It may have ended just now.
        let _ = kill_process_group(self.pid, Signal::KILL);
    }
}

// === impl Pipe ===

impl Pipe {
    fn new(fd: Option<OwnedFd>) -> Self {
        let file = fd.filter(|fd| fcntl_setfl(fd, OFlags::NONBLOCK).is_ok()).map(File::from);
        Self { file, kept: Vec::new() }
    }

    /// Reads one buffer; false when there is nothing more for now.
    fn read(&mut self) -> bool {
        let Some(file) = &mut self.file else { return false };
        let mut buffer = [0; 4096];
        match file.read(&mut buffer) {
            Ok(0) => {
                self.file = None;
                false
            }
            Ok(count) => {
                self.kept.extend(buffer[..count].iter().take(OUTPUT - self.kept.len()));
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                self.file = None;
                false
            }
        }
    }
}
