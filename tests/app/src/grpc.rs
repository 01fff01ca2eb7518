//! As much of HTTP/2 as the health protocol of gRPC needs (grpc.health.v1.Health/Check): one call after the other, told apart by
//! their service alone. Header fields of requests are not read, so every method is Check.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Flags.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// Largest frame that a peer may send us unasked.
const LARGEST: usize = 16 * 1024;

/// What the server knows of.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    /// The health that is told for the server as a whole, the empty service, and for `test-app`.
    pub(crate) healthy: Arc<AtomicBool>,
    /// Whether there is a health service at all.
    pub(crate) has_health: bool,
}

/// Serves each connection on a thread of its own.
pub(crate) fn serve(listener: &TcpListener, services: &Services) {
    for stream in listener.incoming().flatten() {
        let services = services.clone();
        std::thread::spawn(move || connection(stream, &services));
    }
}

/// Answers calls until the peer goes away.
fn connection(mut stream: TcpStream, services: &Services) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).ok()?;
    if preface != *PREFACE {
        return None;
    }
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).ok()?;
    let mut message = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; Some(length).filter(|length| *length <= LARGEST)?];
        stream.read_exact(&mut payload).ok()?;
        match kind {
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).ok()?,
            PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload)).ok()?,
            DATA => {
                message.extend(payload);
                if flags & END_STREAM != 0 {
                    stream.write_all(&answer(id, &message, services)).ok()?;
                    message.clear();
                }
            }
            GOAWAY => return Some(()),
            _ => {}
        }
    }
}

/// The whole answer to one call.
fn answer(id: u32, message: &[u8], services: &Services) -> Vec<u8> {
    let refused = |code: &str, text: &str| {
        let fields = [head().as_slice(), &field("grpc-status", code), &field("grpc-message", text)].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, id, &fields)
    };
    if !services.has_health {
        return refused("12", "unknown service grpc.health.v1.Health");
    }
    match service(message).as_deref() {
        Some("" | "test-app") => {
            // HealthCheckResponse.status: SERVING is 1, NOT_SERVING 2.
            let status = if services.healthy.load(Ordering::SeqCst) { 1 } else { 2 };
            [
                frame(HEADERS, END_HEADERS, id, &head()),
                frame(DATA, 0, id, &[0, 0, 0, 0, 2, 8, status]),
                frame(HEADERS, END_HEADERS | END_STREAM, id, &field("grpc-status", "0")),
            ]
            .concat()
        }
        Some(_) => refused("5", "unknown service"),
        None => refused("13", "malformed request"),
    }
}

/// HealthCheckRequest.service, field 1; empty where it is left out.
fn service(message: &[u8]) -> Option<String> {
    match message.get(5..)? {
        [] => Some(String::new()),
        [0x0a, length, text @ ..] if usize::from(*length) == text.len() => String::from_utf8(text.to_vec()).ok(),
        _ => None,
    }
}

/// `:status: 200` from the static table, and the content type.
fn head() -> Vec<u8> {
    [[0x88].as_slice(), &field("content-type", "application/grpc")].concat()
}

/// A literal field without indexing, with a new name (RFC 7541, 6.2.2). Both texts are short.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [[text.len() as u8].as_slice(), text.as_bytes()].concat();
    [[0].as_slice(), &text(name), &text(value)].concat()
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(has_health: bool) -> Services {
        Services { healthy: Arc::new(AtomicBool::new(true)), has_health }
    }

    #[test]
    fn a_service_is_told_from_others() {
        let ask = |message: &[u8], has_health| {
            String::from_utf8_lossy(&answer(1, message, &services(has_health))).into_owned()
        };
        assert!(ask(&[0, 0, 0, 0, 0], true).contains("\u{8}\u{1}"));
        assert!(ask(b"\0\0\0\0\x0a\x0a\x08test-app", true).contains("\u{8}\u{1}"));
        assert!(ask(b"\0\0\0\0\x03\x0a\x01x", true).contains("unknown service"));
        assert!(ask(b"\0\0\0\0\x03\x0a\x09x", true).contains("malformed"));
        assert!(ask(&[0, 0, 0, 0, 0], false).contains("unknown service grpc.health.v1.Health"));
    }
}
