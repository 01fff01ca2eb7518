//! The exec agent's command line, as the webhook writes it into Pods and the agent reads it. Words by position, no
//! options: the agent is a few hundred kilobytes and its words come from a program.
//!
//! ```text
//! probelet-agent install <file>
//! probelet-agent start <container> <key> <folder>
//! probelet-agent start <container> <key> <folder> exec <program> <argument>...
//! probelet-agent start <container> <key> <folder> http <host> <port> <scheme> <path> (<header> <value>)...
//! probelet-agent start <container> <key> <folder> tcp <host> <port>
//! probelet-agent start <container> <key> <folder> sleep <seconds>
//! ```
//!
//! `install` copies the agent's own binary, mode 0555. `start` runs in a target container as its `postStart`: it leaves
//! the agent behind, then runs the `postStart` that the container had, and ends with its result. An empty host is the
//! Pod's own address (kubernetes/kubernetes:pkg/kubelet/lifecycle/handlers.go).

use std::fmt;

/// What the agent is asked to do.
#[derive(Clone, PartialEq, Eq)]
pub enum AgentCommand {
    /// Copy the own binary to this file.
    Install(String),
    /// Leave the agent behind.
    Start(AgentStart),
}

/// How the agent is started in a target container.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentStart {
    /// The container that it is in.
    pub container: String,
    /// What it proves that with.
    pub key: String,
    /// Folder with the sidecar's socket.
    pub dir: String,
    /// The container's own `postStart`.
    pub hook: Option<Hook>,
}

/// A `postStart` that is chained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Program and arguments, as they are: kubelet expands no variables there.
    Exec(Vec<String>),
    /// A GET request; 200 to 399 is success.
    Http {
        /// Empty: the Pod's own address.
        host: String,
        /// Port number; names were resolved by the webhook.
        port: u16,
        /// `HTTP` or `HTTPS`.
        scheme: String,
        /// Path with query.
        path: String,
        /// Headers in order.
        headers: Vec<(String, String)>,
    },
    /// Open a TCP connection. Kubelet refuses such hooks at run time; they are kept for what the API allows.
    Tcp {
        /// Empty: the Pod's own address.
        host: String,
        /// Port number.
        port: u16,
    },
    /// Wait.
    Sleep(u64),
}

/// A command line that is none of the above.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// Too few words.
    #[error("{0}: missing")]
    Missing(&'static str),
    /// A word that is not known at its place.
    #[error("{what}: {found:?} must be {allowed}")]
    Unknown {
        /// Which word.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        allowed: &'static str,
    },
}

// === impl AgentCommand ===

impl AgentCommand {
    /// The words after the program's name.
    pub fn to_arguments(&self) -> Vec<String> {
        match self {
            Self::Install(file) => vec!["install".to_owned(), file.clone()],
            Self::Start(start) => {
                let mut words = vec!["start".to_owned(), start.container.clone(), start.key.clone(), start.dir.clone()];
                words.extend(start.hook.iter().flat_map(Hook::to_arguments));
                words
            }
        }
    }

    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// [`AgentError`] naming the word and what is allowed.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, AgentError> {
        let mut words = words.into_iter();
        let mut next = |what| words.next().ok_or(AgentError::Missing(what));
        match next("command")?.as_str() {
            "install" => Ok(Self::Install(next("file")?)),
            "start" => {
                let (container, key, dir) = (next("container")?, next("key")?, next("folder")?);
                Ok(Self::Start(AgentStart { container, key, dir, hook: Hook::parse(words)? }))
            }
            other => Err(unknown("command", other, "install or start")),
        }
    }
}

impl fmt::Debug for AgentCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install(file) => f.debug_tuple("Install").field(file).finish(),
            Self::Start(start) => start.fmt(f),
        }
    }
}

// The key is a secret (threat T11).
impl fmt::Debug for AgentStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { container, dir, hook, .. } = self;
        f.debug_struct("AgentStart").field("container", container).field("dir", dir).field("hook", hook).finish()
    }
}

// === impl Hook ===

impl Hook {
    fn to_arguments(&self) -> Vec<String> {
        match self {
            Self::Exec(command) => std::iter::once("exec".to_owned()).chain(command.iter().cloned()).collect(),
            Self::Http { host, port, scheme, path, headers } => {
                let fixed = ["http".to_owned(), host.clone(), port.to_string(), scheme.clone(), path.clone()];
                let headers = headers.iter().flat_map(|(name, value)| [name.clone(), value.clone()]);
                fixed.into_iter().chain(headers).collect()
            }
            Self::Tcp { host, port } => vec!["tcp".to_owned(), host.clone(), port.to_string()],
            Self::Sleep(seconds) => vec!["sleep".to_owned(), seconds.to_string()],
        }
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, AgentError> {
        let Some(kind) = words.next() else { return Ok(None) };
        if kind == "exec" {
            let command: Vec<_> = words.collect();
            return if command.is_empty() {
                Err(AgentError::Missing("program"))
            } else {
                Ok(Some(Self::Exec(command)))
            };
        }
        let mut next = |what| words.next().ok_or(AgentError::Missing(what));
        let hook = match kind.as_str() {
            "http" => {
                let (host, port, scheme, path) = (next("host")?, port(&next("port")?)?, next("scheme")?, next("path")?);
                if !["HTTP", "HTTPS"].contains(&scheme.as_str()) {
                    return Err(unknown("scheme", &scheme, "HTTP or HTTPS"));
                }
                let mut headers = Vec::new();
                while let Some(name) = words.next() {
                    headers.push((name, words.next().ok_or(AgentError::Missing("value of the last header"))?));
                }
                Self::Http { host, port, scheme, path, headers }
            }
            "tcp" => Self::Tcp { host: next("host")?, port: port(&next("port")?)? },
            "sleep" => {
                let text = next("seconds")?;
                Self::Sleep(text.parse().map_err(|_| unknown("seconds", &text, "a number"))?)
            }
            other => return Err(unknown("hook", other, "exec, http, tcp or sleep")),
        };
        match words.next() {
            None => Ok(Some(hook)),
            Some(more) => Err(unknown("word after the last", &more, "left out")),
        }
    }
}

fn port(text: &str) -> Result<u16, AgentError> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(unknown("port", text, "a number between 1 and 65535")),
    }
}

fn unknown(what: &'static str, found: &str, allowed: &'static str) -> AgentError {
    AgentError::Unknown { what, found: found.to_owned(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(hook: Option<Hook>) -> AgentCommand {
        AgentCommand::Start(AgentStart { container: "game".into(), key: "k".into(), dir: "/d".into(), hook })
    }

    #[test]
    fn what_is_written_is_read_back() {
        let http = |headers: &[(&str, &str)]| Hook::Http {
            host: String::new(),
            port: 80,
            scheme: "HTTPS".into(),
            path: "/a b?c".into(),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        };
        for command in [
            AgentCommand::Install("/d/agent".into()),
            start(None),
            start(Some(Hook::Exec(vec!["sh".into(), "-c".into(), "exec $(X) http".into(), String::new()]))),
            start(Some(http(&[]))),
            start(Some(http(&[("A", "b"), ("A", "")]))),
            start(Some(Hook::Tcp { host: "h".into(), port: 1 })),
            start(Some(Hook::Sleep(0))),
        ] {
            assert_eq!(AgentCommand::parse(command.to_arguments()), Ok(command));
        }
    }

    #[test]
    fn other_words_are_refused_by_place_with_what_is_allowed() {
        for (line, message) in [
            ("", "command: missing"),
            ("run", r#"command: "run" must be install or start"#),
            ("install", "file: missing"),
            ("start c k", "folder: missing"),
            ("start c k d exec", "program: missing"),
            ("start c k d http h 0 HTTP /", r#"port: "0" must be a number between 1 and 65535"#),
            ("start c k d http h 1 ftp /", r#"scheme: "ftp" must be HTTP or HTTPS"#),
            ("start c k d http h 1 HTTP / A", "value of the last header: missing"),
            ("start c k d tcp h 1 2", r#"word after the last: "2" must be left out"#),
            ("start c k d sleep x", r#"seconds: "x" must be a number"#),
            ("start c k d udp", r#"hook: "udp" must be exec, http, tcp or sleep"#),
        ] {
            let words = line.split_whitespace().map(str::to_owned);
            assert_eq!(AgentCommand::parse(words).expect_err(line).to_string(), message);
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        let mut command = start(None);
        if let AgentCommand::Start(start) = &mut command {
            start.key = "hush".into();
        }
        assert!(!format!("{command:?}").contains("hush"));
    }
}
