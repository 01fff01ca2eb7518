//! The request as kubelet writes it: kubernetes/kubernetes:pkg/probe/http/request.go `newProbeRequest`, then
//! golang/go:src/net/http/request.go `Request.write`. Canonical header names in alphabetical order, values in theirs.

use super::url::{Url, split_port};
use probelet_protocol::probe::HttpHeader;
use std::fmt::Write;

/// A probe's headers, checked.
#[derive(Clone)]
pub(crate) struct Headers {
    /// `Host`, in place of the URL's.
    host: Option<String>,
    user_agent: Option<String>,
    /// The rest: name, value.
    lines: Vec<(String, String)>,
    /// The probe names a `Referer` itself, which then stays.
    has_referer: bool,
}

/// A header that cannot be sent. Never holds its value, which may be a secret (threat T11).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The name is no token.
    #[error("httpGet.httpHeaders[{index}].name: {name:?} is not a header name (letters, digits and !#$%&'*+-.^_`|~)")]
    Name {
        /// Which header.
        index: usize,
        /// Its name.
        name: String,
    },
    /// The value has a control character.
    #[error("httpGet.httpHeaders[{index}].value: control characters are not allowed (header {name:?})")]
    Value {
        /// Which header.
        index: usize,
        /// Its name.
        name: String,
    },
}

/// Headers of which the client makes its own, or none
/// (golang/go:src/net/http/request.go `reqWriteExcludeHeader`).
const OWN: [&str; 5] = ["Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer"];
/// Not sent to another host (golang/go:src/net/http/client.go `makeHeadersCopier`).
const SENSITIVE: [&str; 6] =
    ["Authorization", "Www-Authenticate", "Cookie", "Cookie2", "Proxy-Authorization", "Proxy-Authenticate"];

// === impl Headers ===

impl Headers {
    /// Takes a probe's headers, and the `User-Agent` for those that name none.
    ///
    /// # Errors
    /// [`HeaderError`] for the first one that cannot be sent.
    pub(crate) fn try_new(headers: &[HttpHeader], user_agent: &str) -> Result<Self, HeaderError> {
        let mut lines = Vec::with_capacity(headers.len() + 2);
        for (index, header) in headers.iter().enumerate() {
            let name = || header.name.clone();
            if header.name.is_empty() || !header.name.bytes().all(is_token) {
                return Err(HeaderError::Name { index, name: name() });
            }
            if header.value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
                return Err(HeaderError::Value { index, name: name() });
            }
            lines.push((canonical(&header.name), header.value.trim_matches([' ', '\t']).to_owned()));
        }
        let first = |name: &str| lines.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let host = first("Host").filter(|host| !host.is_empty());
        // An empty one removes the default.
        let user_agent =
            first("User-Agent").map_or_else(|| Some(user_agent.to_owned()), |own| Some(own).filter(|o| !o.is_empty()));
        match first("Accept").as_deref() {
            None => lines.push(("Accept".into(), "*/*".into())),
            Some("") => lines.retain(|(name, _)| name != "Accept"),
            Some(_) => {}
        }
        lines.retain(|(name, _)| !OWN.contains(&name.as_str()));
        // By insertion: few headers, and std's sort would be a hundredth of the exec agent.
        let mut sorted: Vec<(String, String)> = Vec::with_capacity(lines.len());
        for line in lines {
            let at = sorted.iter().take_while(|(name, _)| *name <= line.0).count();
            sorted.insert(at, line);
        }
        let has_referer = sorted.iter().any(|(name, _)| name == "Referer");
        Ok(Self { host, user_agent, lines: sorted, has_referer })
    }

    /// The `Host` that the probe names.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// What is sent after a redirect from `from` to `to`. The custom `Host` stays where `keep_host`; secrets stay
    /// among the same host; `Referer` is added.
    pub(crate) fn redirected(&self, from: &Url, to: &Url, keep_host: bool) -> Self {
        let mut headers = self.clone();
        if !keep_host {
            headers.host = None;
        }
        if from.authority != to.authority && !from.host().eq_ignore_ascii_case(to.host()) {
            headers.lines.retain(|(name, _)| !SENSITIVE.contains(&name.as_str()));
        }
        if !self.has_referer {
            headers.lines.retain(|(name, _)| name != "Referer");
            if !(from.scheme == "https" && to.scheme == "http") {
                let at = headers.lines.partition_point(|(name, _)| name.as_str() < "Referer");
                headers.lines.insert(at, ("Referer".into(), from.to_string()));
            }
        }
        headers
    }

    /// The whole request.
    pub(crate) fn request(&self, url: &Url) -> String {
        let mut text = String::with_capacity(256);
        let host = self.host.as_deref().unwrap_or(&url.authority);
        // Writing to a String cannot fail.
        let _ = write!(text, "GET {} HTTP/1.1\r\nHost: {}\r\n", url.request_target(), valid_host(host));
        if let Some(user_agent) = &self.user_agent {
            let _ = write!(text, "User-Agent: {user_agent}\r\n");
        }
        for (name, value) in &self.lines {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if !self.names_close() {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        text
    }

    /// Whether the probe's own `Connection` says it: `close`, or an upgrade of the protocol.
    fn names_close(&self) -> bool {
        let has = |token: &str| {
            let mut values = self.lines.iter().filter(|(name, _)| name == "Connection").map(|(_, value)| value);
            values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
        };
        has("close")
            || (has("upgrade") && self.lines.iter().any(|(name, value)| name == "Upgrade" && !value.is_empty()))
    }
}

/// The name that TLS asks for: the host's, where a probe names one, else the address's (which sends none).
pub(crate) fn server_name<'a>(headers: &'a Headers, url: &'a Url) -> &'a str {
    split_port(headers.host().unwrap_or(&url.authority)).0
}

/// An impossible `Host` is sent empty, so that it smuggles nothing (golang/go#61431); a zone is cut.
fn valid_host(host: &str) -> &str {
    let is_valid = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"!$%&()*+,-.:;=@[']_~".contains(&b));
    if is_valid && !host.contains('%') { host } else { "" }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// golang/go:src/net/textproto/reader.go `CanonicalMIMEHeaderKey`.
fn canonical(name: &str) -> String {
    let mut upper = true;
    name.chars()
        .map(|c| {
            let cased = if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            upper = c == '-';
            cased
        })
        .collect()
}

#[cfg(test)]
mod tests;
