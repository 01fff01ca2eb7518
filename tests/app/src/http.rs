//! As much of HTTP as a probe needs to see.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Serves each connection on a thread of its own.
pub(crate) fn serve(listener: &TcpListener, healthy: &Arc<AtomicBool>) {
    for stream in listener.incoming().flatten() {
        let healthy = Arc::clone(healthy);
        std::thread::spawn(move || connection(&stream, &healthy));
    }
}

/// Answers the requests of one connection until the peer hangs up or asks for it.
fn connection(stream: &TcpStream, healthy: &AtomicBool) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (path, close) = head(&mut reader)?;
        let (code, text) = route(&path, healthy);
        let connection = if close { "close" } else { "keep-alive" };
        let answer = format!(
            "HTTP/1.1 {code} {text}\r\ncontent-type: text/plain\r\nconnection: {connection}\r\n\
             content-length: {}\r\n\r\n{text}\n",
            text.len() + 1
        );
        let mut writer = stream;
        writer.write_all(answer.as_bytes()).ok()?;
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

fn route(path: &str, healthy: &AtomicBool) -> (u16, &'static str) {
    if let Some(code) = path.strip_prefix("/status/") {
        return (code.parse().unwrap_or(400), "as asked");
    }
    if let Some(milliseconds) = path.strip_prefix("/slow/") {
        std::thread::sleep(Duration::from_millis(milliseconds.parse().unwrap_or(0)));
        return (200, "slow");
    }
    match path {
        "/health" if healthy.load(Ordering::SeqCst) => (200, "healthy"),
        "/health" => (503, "failing"),
        "/" => (200, "test-app"),
        _ => (404, "not found"),
    }
}
