//! What the webhook writes into a container's `postStart` so that the exec agent starts there, and the agent reads: one
//! grammar of arguments. A container may have only one `postStart`, so an original one is part of it.
//!
//! ```text
//! probelet-agent start --container NAME --key KEY --dir DIR [HOOK]
//! HOOK = --http-get PORT PATH [--host HOST] [--header NAME VALUE]...
//!      | --sleep SECONDS
//!      | --tcp-socket
//!      | -- COMMAND [ARGUMENT]...
//! ```

/// File name of the socket that the sidecar opens in the agent's folder.
pub const SOCKET: &str = "agent.sock";
/// File name of the datagram socket that takes applications' wish for a probe now.
pub const LOOK_SOCKET: &str = "look.sock";
/// Longest original hook of `sleep` that is taken, a day, in seconds.
pub const LONGEST_SLEEP: u64 = 24 * 60 * 60;

/// The arguments of `probelet-agent start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentStart {
    /// The container that the agent is started in.
    pub container: String,
    /// What proves that to the sidecar; the same as in [`crate::environment::AGENT_KEYS`].
    pub key: String,
    /// Where the agent's folder is mounted, [`crate::name::AGENT_DIR`].
    pub dir: String,
    /// The container's own `postStart`, which runs as before and whose result is the result.
    pub hook: Option<Hook>,
}

/// An original `postStart`, as far as it can be run from within the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `exec.command`, run in the agent's place.
    Exec(Vec<String>),
    /// `httpGet` with scheme HTTP; with HTTPS it cannot be chained, the agent speaks no TLS.
    HttpGet {
        /// A named port is resolved by the webhook.
        port: u16,
        /// As given, empty where left out.
        path: String,
        /// An IP address or `localhost`; unset: the Pod itself. Other names cannot be chained, the agent has no resolver.
        host: Option<String>,
        /// Name and value, in order.
        headers: Vec<(String, String)>,
    },
    /// `sleep.seconds`, at most [`LONGEST_SLEEP`].
    Sleep(u64),
    /// `tcpSocket`, which the API takes and kubelet fails at run time
    /// (kubernetes/kubernetes:pkg/kubelet/lifecycle/handlers.go `Run`).
    TcpSocket,
}

/// Arguments that are not of the grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// One that must be there.
    #[error("argument {0} is missing")]
    Missing(&'static str),
    /// An option without its value.
    #[error("argument {0}: its value is missing")]
    NoValue(String),
    /// One that nobody knows.
    #[error(
        "argument {0:?} is not known; allowed are --container, --key, --dir, --http-get, --host, --header, --sleep, --tcp-socket and --"
    )]
    Unknown(String),
    /// A number that is none or out of range.
    #[error("argument {option}: {found:?} is not a number between {least} and {most}")]
    Number {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// Smallest value.
        least: u64,
        /// Largest value.
        most: u64,
    },
    /// More than one hook, or a hook's option without its hook.
    #[error("argument {0}: only one hook is allowed, and --host and --header only after --http-get")]
    Misplaced(String),
}

// === impl AgentStart ===

impl AgentStart {
    /// The arguments after the program's path, `start` first.
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["start", "--container", &self.container, "--key", &self.key, "--dir", &self.dir].map(str::to_owned).into();
        match &self.hook {
            None => {}
            Some(Hook::Exec(command)) => {
                arguments.push("--".into());
                arguments.extend(command.iter().cloned());
            }
            Some(Hook::HttpGet { port, path, host, headers }) => {
                arguments.extend(["--http-get".into(), port.to_string(), path.clone()]);
                if let Some(host) = host {
                    arguments.extend(["--host".into(), host.clone()]);
                }
                for (name, value) in headers {
                    arguments.extend(["--header".into(), name.clone(), value.clone()]);
                }
            }
            Some(Hook::Sleep(seconds)) => arguments.extend(["--sleep".into(), seconds.to_string()]),
            Some(Hook::TcpSocket) => arguments.push("--tcp-socket".into()),
        }
        arguments
    }

    /// Reads what comes after `start`.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, ArgumentError> {
        let mut arguments = arguments.into_iter();
        let (mut container, mut key, mut dir, mut hook) = (None, None, None, None);
        while let Some(option) = arguments.next() {
            if option == "--" {
                let command: Vec<_> = arguments.by_ref().collect();
                if command.is_empty() {
                    return Err(ArgumentError::Missing("COMMAND"));
                }
                only(&mut hook, &option, Hook::Exec(command))?;
                break;
            }
            let mut value = || arguments.next().ok_or_else(|| ArgumentError::NoValue(option.clone()));
            match option.as_str() {
                "--container" => container = Some(value()?),
                "--key" => key = Some(value()?),
                "--dir" => dir = Some(value()?),
                "--http-get" => {
                    let port = number("--http-get", &value()?, 1, u16::MAX.into())?;
                    let path = value()?;
                    let port = u16::try_from(port).unwrap_or_default();
                    only(&mut hook, &option, Hook::HttpGet { port, path, host: None, headers: Vec::new() })?;
                }
                "--host" | "--header" => {
                    let first = value()?;
                    let Some(Hook::HttpGet { host, headers, .. }) = &mut hook else {
                        return Err(ArgumentError::Misplaced(option));
                    };
                    if option == "--host" { *host = Some(first) } else { headers.push((first, value()?)) }
                }
                "--sleep" => {
                    let seconds = number("--sleep", &value()?, 0, LONGEST_SLEEP)?;
                    only(&mut hook, &option, Hook::Sleep(seconds))?;
                }
                "--tcp-socket" => only(&mut hook, &option, Hook::TcpSocket)?,
                _ => return Err(ArgumentError::Unknown(option)),
            }
        }
        Ok(Self {
            container: container.ok_or(ArgumentError::Missing("--container"))?,
            key: key.ok_or(ArgumentError::Missing("--key"))?,
            dir: dir.ok_or(ArgumentError::Missing("--dir"))?,
            hook,
        })
    }
}

fn only(hook: &mut Option<Hook>, option: &str, new: Hook) -> Result<(), ArgumentError> {
    if hook.replace(new).is_some() { Err(ArgumentError::Misplaced(option.to_owned())) } else { Ok(()) }
}

fn number(option: &'static str, text: &str, least: u64, most: u64) -> Result<u64, ArgumentError> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(ArgumentError::Number { option, found: text.to_owned(), least, most }),
    }
}

#[cfg(test)]
mod tests;
