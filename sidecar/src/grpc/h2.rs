//! One unary call over HTTP/2 with prior knowledge (RFC 9113), by hand: the one stream that a health check needs, in
//! memory that no server can make grow (fault F25). The h2 crate would add more to the binary than all probe handlers together.

use super::hpack::{self, Fields, Table};
use super::status::{Code, Status};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// No dynamic table (1), no push (2), a small limit on headers (6).
const SETTINGS: [u8; 18] = [0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 6, 0, 0, 0x20, 0];
/// Most bytes of a frame: what RFC 9113 starts with, and we never raise.
const FRAME: usize = 16 * 1024;
/// Most bytes of a header block, and of a message.
const LIMIT: usize = 16 * 1024;
const STREAM: u32 = 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS_FRAME: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// A connection whose server has said that it speaks HTTP/2.
pub(crate) struct Connection<S> {
    stream: S,
    frame: Vec<u8>,
}

#[derive(Debug)]
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// What has come of the answer so far.
#[derive(Default)]
struct Answer {
    fields: Option<Fields>,
    table: Table,
    block: Vec<u8>,
    /// A header block goes on; whether it ends the stream.
    open_block: Option<bool>,
    message: Vec<u8>,
}

// === impl Connection ===

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends our preface and waits for the server's.
    ///
    /// # Errors
    /// Where the connection breaks or what comes is not HTTP/2.
    pub(crate) async fn open(stream: S) -> io::Result<Self> {
        let mut connection = Self { stream, frame: Vec::new() };
        let mut hello = PREFACE.to_vec();
        put(&mut hello, SETTINGS_FRAME, 0, 0, &SETTINGS);
        connection.stream.write_all(&hello).await?;
        let head = connection.read().await?;
        if head.kind != SETTINGS_FRAME || head.flags & ACK != 0 {
            return Err(io::Error::other("not HTTP/2"));
        }
        connection.send(SETTINGS_FRAME, ACK, 0, &[]).await?;
        Ok(connection)
    }

    /// Calls with this message and returns the answer's.
    ///
    /// # Errors
    /// The call's [`Status`], or the one that grpc-go makes of what went wrong.
    pub(crate) async fn call(&mut self, fields: &[(&str, &str)], message: &[u8]) -> Result<Vec<u8>, Status> {
        let mut request = Vec::with_capacity(256);
        put(&mut request, HEADERS, END_HEADERS, STREAM, &hpack::encode(fields));
        let mut body = vec![0];
        body.extend((message.len() as u32).to_be_bytes());
        body.extend(message);
        put(&mut request, DATA, END_STREAM, STREAM, &body);
        self.stream.write_all(&request).await.map_err(|error| broken(&error))?;
        let mut answer = Answer::default();
        loop {
            let head = self.read().await.map_err(|error| broken(&error))?;
            if answer.open_block.is_some() && head.kind != CONTINUATION {
                return Err(Status::new(Code::UNAVAILABLE, "header block is interrupted"));
            }
            match (head.kind, head.stream) {
                (SETTINGS_FRAME, _) if head.flags & ACK == 0 => self.reply(SETTINGS_FRAME, false).await?,
                (PING, _) if head.flags & ACK == 0 => self.reply(PING, true).await?,
                (GOAWAY, _) => goaway(&self.frame)?,
                (RST_STREAM, STREAM) => return Err(reset(&self.frame)),
                (PUSH_PROMISE, _) => return Err(Status::new(Code::UNAVAILABLE, "server pushes, although forbidden")),
                (DATA, STREAM) => {
                    answer.data(content(head.flags & PADDED, &self.frame)?)?;
                    if head.flags & END_STREAM != 0 {
                        let message = "server closed the stream without sending trailers";
                        return Err(Status::new(Code::INTERNAL, message));
                    }
                }
                (HEADERS, STREAM) => {
                    let part = content(head.flags, &self.frame)?;
                    if let Some(result) = answer.headers(part, head.flags, head.flags & END_STREAM != 0) {
                        return result;
                    }
                }
                (CONTINUATION, STREAM) => {
                    let Some(ends) = answer.open_block else {
                        return Err(Status::new(Code::UNAVAILABLE, "header block without a start"));
                    };
                    if let Some(result) = answer.headers(&self.frame, head.flags, ends) {
                        return result;
                    }
                }
                _ => {}
            }
        }
    }

    /// The connection, to be closed.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    async fn reply(&mut self, kind: u8, echo: bool) -> Result<(), Status> {
        let payload = if echo { std::mem::take(&mut self.frame) } else { Vec::new() };
        self.send(kind, ACK, 0, &payload).await.map_err(|error| broken(&error))
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(9 + payload.len());
        put(&mut frame, kind, flags, stream, payload);
        self.stream.write_all(&frame).await
    }

    /// Reads a frame's head, and its payload into `self.frame`.
    async fn read(&mut self) -> io::Result<Head> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if length > FRAME {
            return Err(io::Error::other(format!("frame of {length} bytes")));
        }
        self.frame.resize(length, 0);
        self.stream.read_exact(&mut self.frame).await?;
        Ok(Head { kind, flags, stream: u32::from_be_bytes([s0 & 127, s1, s2, s3]) })
    }
}

// === impl Answer ===

impl Answer {
    fn data(&mut self, part: &[u8]) -> Result<(), Status> {
        if self.fields.is_none() {
            return Err(Status::new(Code::INTERNAL, "data before headers"));
        }
        if self.message.len() + part.len() > LIMIT {
            let message = format!("grpc: received message larger than max ({LIMIT})");
            return Err(Status::new(Code::RESOURCE_EXHAUSTED, &message));
        }
        self.message.extend(part);
        Ok(())
    }

    /// A part of a header block; the call's result where it was the last of the trailers.
    fn headers(&mut self, part: &[u8], flags: u8, ends_stream: bool) -> Option<Result<Vec<u8>, Status>> {
        if self.block.len() + part.len() > LIMIT {
            return Some(Err(Status::new(Code::INTERNAL, "peer header list size exceeded limit")));
        }
        self.block.extend(part);
        self.open_block = (flags & END_HEADERS == 0).then_some(ends_stream);
        if self.open_block.is_some() {
            return None;
        }
        let Ok(fields) = self.table.decode(&std::mem::take(&mut self.block)) else {
            return Some(Err(Status::new(Code::INTERNAL, "headers cannot be decoded")));
        };
        let is_first = self.fields.is_none();
        // An answer may have its trailers only, in which case they are its headers too.
        if is_first && let Some(refusal) = Status::of_headers(&fields) {
            return Some(Err(refusal));
        }
        if !ends_stream {
            self.fields = Some(fields);
            return None;
        }
        Some(match Status::of_trailers(&fields) {
            None => self.take_message(),
            Some(status) => Err(status),
        })
    }

    fn take_message(&mut self) -> Result<Vec<u8>, Status> {
        let message = std::mem::take(&mut self.message);
        match message.split_first_chunk::<5>() {
            Some(([0, length @ ..], rest)) if u32::from_be_bytes(*length) as usize == rest.len() => Ok(rest.to_vec()),
            Some(([1, ..], _)) => {
                Err(Status::new(Code::INTERNAL, "grpc: compressed flag set with identity or empty encoding"))
            }
            None if message.is_empty() => Err(Status::new(Code::INTERNAL, "no message")),
            _ => Err(Status::new(Code::INTERNAL, "unexpected EOF")),
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// A payload without padding and priority.
fn content(flags: u8, payload: &[u8]) -> Result<&[u8], Status> {
    let malformed = || Status::new(Code::UNAVAILABLE, "malformed frame");
    let mut rest = payload;
    let mut padding = 0;
    if flags & PADDED != 0 {
        let (first, after) = rest.split_first().ok_or_else(malformed)?;
        (padding, rest) = (usize::from(*first), after);
    }
    if flags & PRIORITY != 0 {
        rest = rest.get(5..).ok_or_else(malformed)?;
    }
    rest.len().checked_sub(padding).map(|length| &rest[..length]).ok_or_else(malformed)
}

fn broken(error: &io::Error) -> Status {
    let reason = if error.kind() == io::ErrorKind::UnexpectedEof { "EOF".into() } else { crate::dial::reason(error) };
    Status::new(Code::UNAVAILABLE, &format!("error reading from server: {reason}"))
}

/// Goes on where our stream is still to be answered.
fn goaway(payload: &[u8]) -> Result<(), Status> {
    match payload.first_chunk() {
        Some(last) if u32::from_be_bytes(*last) & 0x7fff_ffff >= STREAM => Ok(()),
        _ => Err(Status::new(Code::UNAVAILABLE, "the connection is draining")),
    }
}

/// google.golang.org/grpc:internal/transport/http_util.go `http2ErrConvTab`.
fn reset(payload: &[u8]) -> Status {
    let code = payload.first_chunk().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes));
    let (grpc, name) = match code {
        0 => (Code::INTERNAL, "NO_ERROR"),
        1 => (Code::INTERNAL, "PROTOCOL_ERROR"),
        2 => (Code::INTERNAL, "INTERNAL_ERROR"),
        3 => (Code::RESOURCE_EXHAUSTED, "FLOW_CONTROL_ERROR"),
        5 => (Code::INTERNAL, "STREAM_CLOSED"),
        7 => (Code::UNAVAILABLE, "REFUSED_STREAM"),
        8 => (Code::CANCELED, "CANCEL"),
        11 => (Code::RESOURCE_EXHAUSTED, "ENHANCE_YOUR_CALM"),
        12 => (Code::PERMISSION_DENIED, "INADEQUATE_SECURITY"),
        13 => (Code::INTERNAL, "HTTP_1_1_REQUIRED"),
        _ => (Code::INTERNAL, ""),
    };
    let name = if name.is_empty() { format!("unknown error code 0x{code:x}") } else { name.to_owned() };
    Status::new(grpc, &format!("stream terminated by RST_STREAM with error code: {name}"))
}
