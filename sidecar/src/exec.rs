//! exec probes: the command runs in its container, by the agent there; the sidecar only asks.
//!
//! What counts is what OpenKruise makes of it (openkruise/kruise:pkg/daemon/podprobe/prober.go, through
//! kubernetes/kubernetes:pkg/probe/exec/exec.go): exit code 0 is success and its message standard output; any other is
//! failure and its message standard error; a timeout is failure. A command that cannot be started is no result at all:
//! container runtimes answer with an error then, and kubelet and kruise-daemon throw such a run away.

mod link;
mod listener;

use crate::frame::Ending;
use crate::handler::ProbeError;
use crate::outcome::Outcome;
use crate::timing::GoDuration;
use probelet_protocol::limit::{self, cut_message};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use listener::{Listener, listen};

/// How much later than its timeout a run's answer may come: the agent kills and reaps first.
const GRACE: Duration = Duration::from_millis(500);

/// A prepared exec probe.
pub struct ExecProbe {
    container: String,
    command: Arc<[String]>,
    agents: AgentsHandle,
}

/// Why an exec probe can never run. Names the field and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// No program.
    #[error("exec.command: must not be empty")]
    Empty,
    /// Too much of it.
    #[error(
        "exec.command: {arguments} arguments of {bytes} bytes, at most {} of {} are allowed",
        limit::COMMAND_ARGUMENTS,
        limit::COMMAND_BYTES
    )]
    TooLong {
        /// Number of arguments.
        arguments: usize,
        /// All their bytes.
        bytes: usize,
    },
    /// The kernel ends arguments at a NUL.
    #[error("exec.command[{0}]: NUL characters are not allowed")]
    Nul(usize),
}

/// The way to the exec agents: a clone of it is in every exec probe.
#[derive(Clone, Debug, Default)]
pub struct AgentsHandle {
    asks: Option<mpsc::Sender<Ask>>,
    refused: Arc<AtomicU64>,
}

/// One run that is asked for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) container: String,
    pub(crate) command: Arc<[String]>,
    pub(crate) timeout: Duration,
    /// Takes the run's end; dropped where no agent could be asked.
    pub(crate) answer: oneshot::Sender<Result<Ending, ProbeError>>,
}

// === impl ExecProbe ===

impl ExecProbe {
    /// Prepares a command for this container.
    ///
    /// # Errors
    /// [`ExecError`].
    pub fn try_new(command: &[String], container: &str, agents: AgentsHandle) -> Result<Self, ExecError> {
        let (arguments, bytes) = (command.len(), command.iter().map(String::len).sum());
        if command.first().is_none_or(String::is_empty) {
            return Err(ExecError::Empty);
        }
        if arguments > limit::COMMAND_ARGUMENTS || bytes > limit::COMMAND_BYTES {
            return Err(ExecError::TooLong { arguments, bytes });
        }
        if let Some(index) = command.iter().position(|argument| argument.contains('\0')) {
            return Err(ExecError::Nul(index));
        }
        Ok(Self { container: container.to_owned(), command: command.into(), agents })
    }

    /// Runs the command; ends at `limit`, or shortly after where the agent is slow.
    ///
    /// # Errors
    /// [`ProbeError`] where no agent is connected or it could not start the command.
    pub async fn run(&self, limit: Duration) -> Result<Outcome, ProbeError> {
        let missing = || ProbeError::AgentMissing(self.container.clone());
        let silent = || ProbeError::AgentSilent(self.container.clone());
        let asks = self.agents.asks.as_ref().ok_or_else(missing)?;
        let (answer, answered) = oneshot::channel();
        let (container, command) = (self.container.clone(), self.command.clone());
        asks.send(Ask { container, command, timeout: limit, answer }).await.map_err(|_| missing())?;
        match timeout(limit + GRACE, answered).await {
            Ok(Ok(ending)) => self.verdict(ending?, limit),
            Ok(Err(_)) | Err(_) => Err(silent()),
        }
    }

    fn verdict(&self, ending: Ending, limit: Duration) -> Result<Outcome, ProbeError> {
        let text = |bytes: &[u8]| cut_message(&String::from_utf8_lossy(bytes)).to_owned();
        Ok(match ending {
            Ending::Exited { code: 0, stdout, .. } => Outcome::Success(text(&stdout)),
            Ending::Exited { stderr, .. } => Outcome::Failure(text(&stderr)),
            Ending::Killed { signal, stderr } if stderr.is_empty() => {
                Outcome::Failure(format!("command was killed by signal {signal}"))
            }
            Ending::Killed { stderr, .. } => Outcome::Failure(text(&stderr)),
            Ending::TimedOut => {
                let command = self.command.join(" ");
                let message = format!("command timed out: {command:?} timed out after {}", GoDuration(limit));
                Outcome::Failure(cut_message(&message).to_owned())
            }
            Ending::CannotStart(why) => return Err(ProbeError::CannotStart(cut_message(&why).to_owned())),
        })
    }
}

// === impl AgentsHandle ===

impl AgentsHandle {
    /// For Pods without exec probes: every run says that the agent is missing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Connections that were refused since the start: a wrong key, a second agent of a container, garbage (threat T6).
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn new(asks: mpsc::Sender<Ask>, refused: Arc<AtomicU64>) -> Self {
        Self { asks: Some(asks), refused }
    }
}

#[cfg(test)]
mod tests;
