//! The unix socket on which the server takes orders from `kubectl exec` in its own container.

use crate::health::Health;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Set(Health),
    Tell,
    Exit(u8),
}

impl Request {
    fn line(self) -> String {
        match self {
            Request::Set(health) => health.name().to_owned(),
            Request::Tell => "state".to_owned(),
            Request::Exit(code) => format!("exit {code}"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        Some(match line.trim() {
            "healthy" => Request::Set(Health::Healthy),
            "failing" => Request::Set(Health::Failing),
            "state" => Request::Tell,
            other => Request::Exit(other.strip_prefix("exit ")?.parse().ok()?),
        })
    }
}

/// Opens the socket in `dir`.
pub(crate) fn listen(dir: &Path) -> Result<UnixListener, String> {
    let path = dir.join("control");
    // A container that restarts finds the socket of the one before it.
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path).map_err(|error| format!("cannot listen on {}: {error}", path.display()))
}

/// Answers orders, one after the other, for as long as the program runs.
pub(crate) fn answer(listener: &UnixListener, mut decide: impl FnMut(Request) -> String) {
    for stream in listener.incoming().flatten() {
        let mut line = String::new();
        let read = BufReader::new(&stream).read_line(&mut line);
        if let (Ok(_), Some(request)) = (read, Request::parse(&line)) {
            let answer = decide(request);
            let _ = writeln!(&stream, "{answer}");
        }
    }
}

/// Gives an order to the server whose socket is in `dir`; its answer.
pub(crate) fn ask(dir: &Path, request: Request) -> Result<String, String> {
    let path = dir.join("control");
    let failed = |error| format!("no server answers on {}: {error}", path.display());
    let mut stream = UnixStream::connect(&path).map_err(failed)?;
    writeln!(stream, "{}", request.line()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim_end().to_owned())
}
