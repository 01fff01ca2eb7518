//! Reads an answer in constant memory, whatever the other end sends (fault F25). Takes what Go's client takes
//! (golang/go:src/net/http/{response,transfer}.go): HTTP/1.x, bare line feeds, answers with no length.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes of a body that are read (kubernetes/kubernetes:pkg/probe/http/http.go `maxRespBodyLength`).
const BODY: usize = 10 * 1024;
/// Most bytes of the body of a redirect that is followed (golang/go:src/net/http/client.go `maxBodySlurpSize`).
const SKIM: usize = 2 * 1024;
/// Most bytes of heads, those of 1xx answers included (golang/go:src/net/http/transport.go
/// `maxHeaderResponseSize`).
const HEAD: usize = 10 << 20;
/// Longest line that is kept; of longer ones only this much.
const LINE: usize = 8 * 1024;
/// Bytes of a body that are kept: more than a message may have, so that it can be cut between characters.
const KEPT: usize = probelet_protocol::limit::MESSAGE_BYTES + 4;

/// What is wrong with an answer, in Go's words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Closed before the first byte.
    #[error("EOF")]
    Closed,
    /// Closed or broken in the middle.
    #[error("{}", crate::dial::reason(.0))]
    Io(#[from] io::Error),
    /// Not HTTP.
    #[error("net/http: HTTP/1.x transport connection broken: {0}")]
    Malformed(String),
    /// Endless.
    #[error("net/http: server response headers exceeded {HEAD} bytes; aborted")]
    Endless,
}

/// An answer's head, as far as a probe cares.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// 3 digits.
    pub(crate) status: u16,
    /// `Location`, the first one.
    location: Option<String>,
    is_http_11: bool,
    length: Option<u64>,
    transfer_encoding: Option<String>,
}

/// Reads one answer.
pub(crate) struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
    start: usize,
    head_bytes: usize,
    is_whole: bool,
}

// === impl Head ===

impl Head {
    fn status_line(line: &[u8]) -> Result<Self, ReadError> {
        let text = String::from_utf8_lossy(line);
        let malformed = |what: &str, value: &str| ReadError::Malformed(format!("malformed HTTP {what} {value:?}"));
        let shown = || text.chars().take(64).collect::<String>();
        let Some((version, status)) = text.split_once(' ') else { return Err(malformed("response", &shown())) };
        let code = status.trim_start_matches(' ').split(' ').next().unwrap_or_default();
        let status = match code.parse() {
            Ok(number) if code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()) => number,
            _ => return Err(malformed("status code", &code.chars().take(64).collect::<String>())),
        };
        let digits: Option<[u8; 3]> = version.strip_prefix("HTTP/").and_then(|v| v.as_bytes().try_into().ok());
        let is_http_11 = match digits {
            Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
                (major, minor) >= (b'1', b'1')
            }
            _ => return Err(malformed("version", &version.chars().take(64).collect::<String>())),
        };
        Ok(Self { status, is_http_11, ..Self::default() })
    }

    fn header(&mut self, line: &[u8]) -> Result<(), ReadError> {
        let malformed = |what: &str| {
            let line: String = String::from_utf8_lossy(line).chars().take(64).collect();
            ReadError::Malformed(format!("malformed MIME header{what}: {line:?}"))
        };
        let colon = line.iter().position(|b| *b == b':').ok_or_else(|| malformed(": missing colon"))?;
        let name = &line[..colon];
        let is_name =
            !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~ ".contains(b));
        if !is_name {
            return Err(malformed(" line"));
        }
        let value = || String::from_utf8_lossy(&line[colon + 1..]).trim_matches([' ', '\t']).to_owned();
        if name.eq_ignore_ascii_case(b"location") {
            self.location.get_or_insert_with(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") && self.is_http_11 {
            match &self.transfer_encoding {
                Some(first) => {
                    return Err(ReadError::Malformed(format!(
                        "too many transfer encodings: [{first:?} {:?}]",
                        value()
                    )));
                }
                None => self.transfer_encoding = Some(value()),
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let text = value();
            let number = match text.parse::<u64>() {
                Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => number,
                _ => return Err(ReadError::Malformed(format!("bad Content-Length {text:?}"))),
            };
            if let Some(first) = self.length.replace(number).filter(|first| *first != number) {
                let message = "http: message cannot contain multiple Content-Length headers; got";
                return Err(ReadError::Malformed(format!("{message} [\"{first}\" \"{number}\"]")));
            }
        }
        Ok(())
    }

    /// Where it redirects to (golang/go:src/net/http/client.go `redirectBehavior`).
    pub(crate) fn redirect(&self) -> Option<&str> {
        let is_redirect = matches!(self.status, 301 | 302 | 303 | 307 | 308);
        self.location.as_deref().filter(|location| is_redirect && !location.is_empty())
    }

    fn is_chunked(&self) -> Result<bool, ReadError> {
        match &self.transfer_encoding {
            None => Ok(false),
            Some(coding) if coding.eq_ignore_ascii_case("chunked") => Ok(true),
            Some(coding) => Err(ReadError::Malformed(format!("unsupported transfer encoding: {coding:?}"))),
        }
    }
}

// === impl Reader ===

impl<S: AsyncRead + Unpin> Reader<S> {
    /// Reads from this connection.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::with_capacity(2048), start: 0, head_bytes: 0, is_whole: false }
    }

    /// The connection, to be closed; `None` where more of the answer is to come, so that it can only be dropped.
    pub(crate) fn into_stream(self) -> Option<S> {
        self.is_whole.then_some(self.stream)
    }

    /// The head of the final answer: 1xx ones are passed over, but for 101, which ends the exchange.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) async fn head(&mut self) -> Result<Head, ReadError> {
        loop {
            if !self.fill().await? {
                return Err(ReadError::Closed);
            }
            let line = self.head_line().await?;
            let mut head = Head::status_line(&line)?;
            let mut header = self.head_line().await?;
            while !header.is_empty() {
                let next = self.head_line().await?;
                // A line that starts with a space goes on with the one before.
                if matches!(next.first(), Some(b' ' | b'\t')) {
                    let room = LINE.saturating_sub(header.len());
                    header.extend(b" ".iter().chain(next.trim_ascii()).take(room));
                    continue;
                }
                head.header(&header)?;
                header = next;
            }
            head.is_chunked()?;
            if !(100..200).contains(&head.status) || head.status == 101 {
                return Ok(head);
            }
        }
    }

    /// The start of the body, after its limit or end is reached.
    ///
    /// # Errors
    /// [`ReadError`] where it breaks before.
    pub(crate) async fn body(&mut self, head: &Head) -> Result<Vec<u8>, ReadError> {
        self.start_of_body(head, BODY).await
    }

    /// Reads what Go's client does before it follows a redirect: a short body, so that the connection ends in good order. Whether
    /// that succeeds is of no matter.
    pub(crate) async fn skim(&mut self, head: &Head) {
        let is_chunked = head.is_chunked().unwrap_or_default();
        if is_chunked || head.length.is_none_or(|length| length <= SKIM as u64) {
            let _ = self.start_of_body(head, SKIM).await;
        }
    }

    async fn start_of_body(&mut self, head: &Head, limit: usize) -> Result<Vec<u8>, ReadError> {
        let mut body = Body { kept: Vec::new(), left: limit };
        if matches!(head.status, 101 | 204 | 304) {
            self.is_whole = head.status != 101;
            return Ok(body.kept);
        }
        if head.is_chunked()? {
            self.chunks(&mut body).await?;
        } else if let Some(length) = head.length {
            self.bytes(length, &mut body).await?;
        } else {
            while body.left > 0 && self.fill().await? {
                self.start += body.take(&self.buffer[self.start..]);
            }
        }
        self.is_whole = body.left > 0;
        Ok(body.kept)
    }

    async fn chunks(&mut self, body: &mut Body) -> Result<(), ReadError> {
        while body.left > 0 {
            let line = self.line().await?;
            let size = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii_end();
            let size = std::str::from_utf8(size).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
            let Some(size) = size.and_then(|text| u64::from_str_radix(text, 16).ok()) else {
                return Err(ReadError::Io(io::Error::other("invalid byte in chunk length")));
            };
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            self.bytes(size, body).await?;
            if body.left > 0 && !self.line().await?.is_empty() {
                return Err(ReadError::Io(io::Error::other("malformed chunked encoding")));
            }
        }
        Ok(())
    }

    async fn bytes(&mut self, mut count: u64, body: &mut Body) -> Result<(), ReadError> {
        while count > 0 && body.left > 0 {
            if !self.fill().await? {
                return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            let there = &self.buffer[self.start..];
            let taken = body.take(&there[..there.len().min(usize::try_from(count).unwrap_or(usize::MAX))]);
            self.start += taken;
            count -= taken as u64;
        }
        Ok(())
    }

    async fn head_line(&mut self) -> Result<Vec<u8>, ReadError> {
        match self.line().await {
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ReadError::Malformed("unexpected EOF".into()))
            }
            result => result,
        }
    }

    /// One line without its end; what goes beyond [`LINE`] is dropped.
    async fn line(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut line = Vec::new();
        loop {
            if !self.fill().await? {
                // What came before the end counts as a line, so that a message can show it.
                return if line.is_empty() {
                    Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()))
                } else {
                    Ok(line)
                };
            }
            let there = &self.buffer[self.start..];
            let end = there.iter().position(|b| *b == b'\n');
            let part = &there[..end.unwrap_or(there.len())];
            line.extend(part.iter().take(LINE - line.len().min(LINE)));
            let read = part.len() + usize::from(end.is_some());
            self.start += read;
            self.head_bytes += read;
            if self.head_bytes > HEAD {
                return Err(ReadError::Endless);
            }
            if end.is_some() {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
        }
    }

    /// Makes sure that something is there to be read; false at the end. A TLS server that closes without saying so in TLS has
    /// ended too, as for Go (golang/go:src/crypto/tls/conn.go `readRecordOrCCS`); where more was announced the caller knows.
    async fn fill(&mut self) -> io::Result<bool> {
        if self.start < self.buffer.len() {
            return Ok(true);
        }
        self.buffer.clear();
        self.start = 0;
        match self.stream.read_buf(&mut self.buffer).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => Ok(read? > 0),
        }
    }
}

struct Body {
    kept: Vec<u8>,
    left: usize,
}

impl Body {
    /// Takes as much as the limit leaves; the number of bytes.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        self.kept.extend(bytes[..taken].iter().take(KEPT - self.kept.len()));
        taken
    }
}

#[cfg(test)]
mod tests;
