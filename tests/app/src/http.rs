//! As much of HTTP as a probe needs to see.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What answers depend on.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) healthy: Arc<AtomicBool>,
    /// Whether `/mark` was asked for.
    pub(crate) is_marked: AtomicBool,
}

/// Serves each connection on a thread of its own.
pub(crate) fn serve(listener: &TcpListener, state: &Arc<State>) {
    for mut stream in listener.incoming().flatten() {
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            stream.set_nodelay(true).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
            connection(&mut stream, &state)
        });
    }
}

/// Answers the requests of one connection until the peer hangs up or asks for it.
pub(crate) fn connection<S: Read + Write>(stream: &mut S, state: &State) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (path, close) = head(&mut reader)?;
        let (code, text) = route(&path, state);
        let connection = if close { "close" } else { "keep-alive" };
        let answer = format!(
            "HTTP/1.1 {code} {text}\r\ncontent-type: text/plain\r\nconnection: {connection}\r\n\
             content-length: {}\r\n\r\n{text}\n",
            text.len() + 1
        );
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
        reader.get_mut().flush().ok()?;
        if close {
            return Some(());
        }
    }
}

/// The path of the next request, and whether the peer wants the connection closed after it.
fn head(reader: &mut impl BufRead) -> Option<(String, bool)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut close = line.contains("HTTP/1.0");
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            return Some((path, close));
        }
        close |= header == "connection: close";
    }
}

fn route(path: &str, state: &State) -> (u16, &'static str) {
    if let Some(code) = path.strip_prefix("/status/") {
        return (code.parse().unwrap_or(400), "as asked");
    }
    if let Some(milliseconds) = path.strip_prefix("/slow/") {
        std::thread::sleep(Duration::from_millis(milliseconds.parse().unwrap_or(0)));
        return (200, "slow");
    }
    let by = |is_so: &AtomicBool, yes, no| if is_so.load(Ordering::SeqCst) { (200, yes) } else { (503, no) };
    match path {
        "/health" => by(&state.healthy, "healthy", "failing"),
        "/mark" => {
            state.is_marked.store(true, Ordering::SeqCst);
            (200, "marked")
        }
        "/marked" => by(&state.is_marked, "marked", "not marked"),
        "/" => (200, "test-app"),
        _ => (404, "not found"),
    }
}
