//! What a call came to, as grpc-go tells it: google.golang.org/grpc:status, internal/transport/http2_client.go
//! `operateHeaders`.

use super::hpack::Fields;
use std::fmt;

/// A gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(u32);

/// A call's status other than OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) message: String,
}

const NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

// === impl Code ===

impl Code {
    pub(crate) const CANCELED: Self = Self(1);
    pub(crate) const UNKNOWN: Self = Self(2);
    pub(crate) const DEADLINE_EXCEEDED: Self = Self(4);
    pub(crate) const PERMISSION_DENIED: Self = Self(7);
    pub(crate) const RESOURCE_EXHAUSTED: Self = Self(8);
    pub(crate) const UNIMPLEMENTED: Self = Self(12);
    pub(crate) const INTERNAL: Self = Self(13);
    pub(crate) const UNAVAILABLE: Self = Self(14);
    pub(crate) const UNAUTHENTICATED: Self = Self(16);

    /// The code of an answer that only an HTTP server gave.
    fn of_http(status: u16) -> Self {
        match status {
            400 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Self::UNAVAILABLE,
            _ => Self::UNKNOWN,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "Code({})", self.0),
        }
    }
}

// === impl Status ===

impl Status {
    pub(crate) fn new(code: Code, message: &str) -> Self {
        Self { code, message: message.to_owned() }
    }

    /// What first headers refuse: not gRPC, or no success in HTTP's terms.
    pub(crate) fn of_headers(fields: &Fields) -> Option<Self> {
        let mut wrong = Vec::new();
        let status = fields.status.as_deref();
        let http: Option<u16> = status.and_then(|status| status.parse().ok());
        match (status, http) {
            (Some("200"), _) => {}
            (Some(_), Some(http)) => {
                wrong.push(format!("unexpected HTTP status code received from server: {http} ({})", http_text(http)));
            }
            (Some(status), None) => wrong.push(format!("transport: malformed http-status: {status:?}")),
            (None, _) => wrong.push("malformed header: missing HTTP status".into()),
        }
        match fields.content_type.as_deref() {
            Some(kind) if is_grpc(kind) => {}
            Some(kind) => wrong.push(format!("transport: received unexpected content-type {kind:?}")),
            None => wrong.push("malformed header: missing HTTP content-type".into()),
        }
        (!wrong.is_empty())
            .then(|| Self { code: http.map_or(Code::INTERNAL, Code::of_http), message: wrong.join("; ") })
    }

    /// What trailers say; `None` is OK.
    pub(crate) fn of_trailers(fields: &Fields) -> Option<Self> {
        let message = || percent_decoded(fields.grpc_message.as_deref().unwrap_or_default());
        match fields.grpc_status.as_deref().map(str::parse) {
            Some(Ok(0)) => None,
            Some(Ok(code)) => Some(Self { code: Code(code), message: message() }),
            Some(Err(error)) => Some(Self::new(Code::INTERNAL, &format!("transport: malformed grpc-status: {error}"))),
            None => Some(Self { code: Code::UNKNOWN, message: message() }),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc error: code = {} desc = {}", self.code, self.message)
    }
}

/// google.golang.org/grpc:internal/grpcutil/method.go `ContentSubtype`.
fn is_grpc(content_type: &str) -> bool {
    let rest = content_type.get(..16).filter(|start| start.eq_ignore_ascii_case("application/grpc"));
    rest.is_some() && matches!(content_type.as_bytes().get(16), None | Some(b'+' | b';'))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Names of the statuses that such servers answer with.
fn http_text(status: u16) -> &'static str {
    match status {
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}
