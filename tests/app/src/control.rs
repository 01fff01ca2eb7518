//! The socket on which the server takes orders from `kubectl exec` in its own container. It is an
//! abstract one: it needs no file, so it is there for any user and with a read-only root.

use crate::health::Health;
use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

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

/// Opens the socket of that name.
pub(crate) fn listen(name: &str) -> Result<UnixListener, String> {
    SocketAddr::from_abstract_name(name).and_then(|address| UnixListener::bind_addr(&address)).map_err(|error| {
        format!(
            "cannot listen on the socket @{name}: {error}; a second server in this Pod needs a \
                 --name of its own"
        )
    })
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

/// Gives an order to the server of that name; its answer. Waits at most so long until there is one.
pub(crate) fn ask(name: &str, request: Request, wait: Duration) -> Result<String, String> {
    let failed = |error| format!("no server answers on the socket @{name}: {error}");
    let address = SocketAddr::from_abstract_name(name).map_err(failed)?;
    let begin = Instant::now();
    let mut stream = loop {
        match UnixStream::connect_addr(&address) {
            Err(_) if begin.elapsed() < wait => std::thread::sleep(Duration::from_millis(10)),
            connected => break connected.map_err(failed)?,
        }
    };
    writeln!(stream, "{}", request.line()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim_end().to_owned())
}
