//! URLs as kubelet's client sees them: golang/go:src/net/url/url.go `Parse`, `String`, `RequestURI`, as far as a
//! probe's path and a `Location` header need them. Pure text; nothing is resolved.

use std::fmt::{self, Write};

/// An absolute `http` or `https` URL. The fragment is kept for messages only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// In lower case.
    pub(crate) scheme: String,
    /// `host` or `host:port`, IPv6 in brackets.
    pub(crate) authority: String,
    /// Escaped; empty or with a leading slash.
    pub(crate) path: String,
    /// As given, without the `?`; empty and absent differ.
    pub(crate) query: Option<String>,
    fragment: Option<String>,
}

/// A URL reference: what `url.Parse` takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) scheme: Option<String>,
    pub(crate) authority: Option<String>,
    path: String,
    query: Option<String>,
    fragment: Option<String>,
    /// `scheme:rest` with no slash: names no host.
    is_opaque: bool,
}

// === impl Reference ===

impl Reference {
    /// Reads a reference.
    ///
    /// # Errors
    /// What is wrong, in Go's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (text, fragment) = match text.split_once('#') {
            Some((text, fragment)) => (text, Some(fragment)),
            None => (text, None),
        };
        if let Some(fragment) = fragment {
            unescape(fragment)?;
        }
        if text.bytes().any(is_control) {
            return Err("net/url: invalid control character in URL".into());
        }
        let (scheme, rest) = split_scheme(text)?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (rest, None),
        };
        let mut reference = Self {
            scheme,
            query,
            fragment: fragment.filter(|text| !text.is_empty()).map(escaped_fragment),
            ..Self::default()
        };
        if !rest.starts_with('/') {
            if reference.scheme.is_some() {
                reference.path = rest.to_owned();
                reference.is_opaque = true;
                return Ok(reference);
            }
            if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
                return Err("first path segment in URL cannot contain colon".into());
            }
        }
        let mut rest = rest;
        if (reference.scheme.is_some() || !rest.starts_with("///"))
            && let Some(after) = rest.strip_prefix("//")
        {
            let end = after.find('/').unwrap_or(after.len());
            reference.authority = Some(authority(&after[..end])?);
            rest = &after[end..];
        }
        reference.path = escaped_path(rest)?;
        Ok(reference)
    }

    /// A path that `url.Parse` refuses is sent with everything escaped
    /// (kubernetes/kubernetes:pkg/probe/http/request.go `formatURL`).
    pub(crate) fn from_path(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| Self { path: escape(text), ..Self::default() })
    }

    /// Whether it says where to, so that a custom `Host` no longer holds.
    pub(crate) fn is_absolute(&self) -> bool {
        self.scheme.is_some()
    }

    /// Whether it is `scheme:rest`, of which no request can be made.
    pub(crate) fn is_opaque(&self) -> bool {
        self.is_opaque
    }

    /// The same path and query on a host of ours, whatever host it names itself (`formatURL` again).
    pub(crate) fn on(&self, scheme: &str, authority: String) -> Url {
        let path = match self.path.as_str() {
            path if path.is_empty() || path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        };
        Url { scheme: scheme.to_owned(), authority, path, query: self.query.clone(), fragment: self.fragment.clone() }
    }
}

// === impl Url ===

impl Url {
    /// What stands in the request line.
    pub(crate) fn request_target(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    /// The host without port and brackets.
    pub(crate) fn host(&self) -> &str {
        split_port(&self.authority).0
    }

    /// The port, or the scheme's own; `None` where it is no number or there is none for the scheme.
    pub(crate) fn port(&self) -> Option<u16> {
        match split_port(&self.authority).1 {
            "" if self.scheme == "http" => Some(80),
            "" if self.scheme == "https" => Some(443),
            text => text.parse().ok(),
        }
    }

    /// Where a reference leads from here (RFC 3986, 5.2.2).
    pub(crate) fn join(&self, reference: &Reference) -> Self {
        let reference = reference.clone();
        let mut url = Self { fragment: reference.fragment, query: reference.query, ..self.clone() };
        if let Some(scheme) = reference.scheme {
            url.scheme = scheme;
            url.authority = reference.authority.unwrap_or_default();
            url.path = if reference.is_opaque { reference.path } else { remove_dots("", &reference.path) };
        } else if let Some(authority) = reference.authority {
            url.authority = authority;
            url.path = remove_dots("", &reference.path);
        } else if !reference.path.is_empty() {
            url.path = remove_dots(&self.path, &reference.path);
        } else if url.query.is_none() {
            url.query.clone_from(&self.query);
        }
        url
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)?;
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        if let Some(fragment) = &self.fragment {
            write!(f, "#{fragment}")?;
        }
        Ok(())
    }
}

/// Splits `host:port`; the host without brackets.
pub(crate) fn split_port(authority: &str) -> (&str, &str) {
    if let Some(bracketed) = authority.strip_prefix('[')
        && let Some((host, rest)) = bracketed.split_once(']')
    {
        return (host, rest.strip_prefix(':').unwrap_or_default());
    }
    authority.rsplit_once(':').unwrap_or((authority, ""))
}

fn split_scheme(text: &str) -> Result<(Option<String>, &str), String> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return Err("missing protocol scheme".into()),
            b':' => return Ok((Some(text[..index].to_ascii_lowercase()), &text[index + 1..])),
            _ => break,
        }
    }
    Ok((None, text))
}

/// User information is dropped: a probe names no user, and a redirect's is not ours to send.
fn authority(text: &str) -> Result<String, String> {
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    if let Some(bad) = host.chars().find(|c| c.is_ascii() && !is_host(*c)) {
        return Err(format!("invalid character {:?} in host name", bad.to_string()));
    }
    let port = match host.rsplit_once(']') {
        Some((_, rest)) => rest,
        None if host.starts_with('[') => return Err("missing ']' in host".into()),
        None => host.find(':').map_or("", |colon| &host[colon..]),
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    if is_port { Ok(host.to_owned()) } else { Err(format!("invalid port {port:?} after host")) }
}

fn is_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c)
}

fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
}

/// The path as given where every character of it may stand in one, else as `escape(unescape(path))`: what Go's
/// `EscapedPath` makes of it.
fn escaped_path(path: &str) -> Result<String, String> {
    let bytes = unescape(path)?;
    let is_valid = path.bytes().all(|b| is_unreserved(b) || b"!$&'()*+,;=:@[]%/".contains(&b));
    Ok(if is_valid || path == "*" { path.to_owned() } else { escape_bytes(&bytes) })
}

/// For messages only; unlike a path it may have a question mark.
fn escaped_fragment(text: &str) -> String {
    text.split('?').map(|part| escaped_path(part).unwrap_or_default()).collect::<Vec<_>>().join("?")
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |index: usize| after.get(index).and_then(|b| char::from(*b).to_digit(16));
        match (digit(0), digit(1)) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => {
                let escape: String = String::from_utf8_lossy(after).chars().take(2).collect();
                return Err(format!("invalid URL escape {:?}", format!("%{escape}")));
            }
        }
        rest = &after[2..];
    }
    Ok(bytes)
}

fn escape(text: &str) -> String {
    escape_bytes(text.as_bytes())
}

fn escape_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if is_unreserved(*byte) || b"$&+,/:;=@".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

/// golang/go:src/net/url/url.go `resolvePath`.
fn remove_dots(base: &str, reference: &str) -> String {
    let full = if reference.starts_with('/') || reference.is_empty() {
        reference.to_owned()
    } else {
        format!("{}{reference}", &base[..base.rfind('/').map_or(0, |slash| slash + 1)])
    };
    if full.is_empty() {
        return full;
    }
    let mut segments: Vec<&str> = Vec::new();
    let mut last = "";
    for segment in full.split('/') {
        last = segment;
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    if matches!(last, "." | "..") {
        segments.push("");
    }
    format!("/{}", segments.join("/").trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
