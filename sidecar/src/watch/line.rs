//! The lines of a watch: one JSON object each (kubernetes/kubernetes:staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/watch.go).

use super::Seen;
use crate::observed::Observed;
use serde::Deserialize;

/// Longest line: etcd's limit for an object is 1.5 MiB.
const LINE_BYTES: usize = 4 * 1024 * 1024;
/// A buffer larger than this is given back after its line.
const KEPT_BYTES: usize = 64 * 1024;

/// Cuts a stream into lines.
#[derive(Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Pod(Seen),
    /// UID of the deleted Pod.
    Deleted(String),
    Bookmark,
    /// HTTP code of a Status.
    Error(u16),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("a line of more than {LINE_BYTES} bytes")]
    TooLong,
    #[error("a line that is no watch event: {0}")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

#[derive(Deserialize)]
struct PodEvent {
    object: Observed,
}

#[derive(Deserialize)]
struct ErrorEvent {
    object: Code,
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: u16,
}

// === impl Lines ===

impl Lines {
    /// Takes what arrived; the lines that are whole now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Line>, LineError> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.buffer.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            if !self.buffer.trim_ascii().is_empty() {
                lines.push(parse(&self.buffer)?);
            }
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES);
        }
        if self.buffer.len() + rest.len() > LINE_BYTES {
            return Err(LineError::TooLong);
        }
        self.buffer.extend_from_slice(rest);
        Ok(lines)
    }
}

fn parse(line: &[u8]) -> Result<Line, LineError> {
    let kind: Kind = serde_json::from_slice(line)?;
    Ok(match kind.r#type.as_str() {
        "ADDED" | "MODIFIED" => Line::Pod(Box::new(serde_json::from_slice::<PodEvent>(line)?.object)),
        "DELETED" => Line::Deleted(serde_json::from_slice::<PodEvent>(line)?.object.uid),
        "ERROR" => Line::Error(serde_json::from_slice::<ErrorEvent>(line)?.object.code),
        _ => Line::Bookmark,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let stream = concat!(
            r#"{"type":"ADDED","object":{"metadata":{"uid":"u","resourceVersion":"1"}}}"#,
            "\n",
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"2"}}}"#,
            "\n\n",
            r#"{"type":"DELETED","object":{"metadata":{"uid":"u"}}}"#,
            "\n",
            r#"{"type":"ERROR","object":{"kind":"Status","code":410}}"#,
            "\n",
        );
        for size in [1, 7, 1000] {
            let mut lines = Lines::default();
            let chunks = stream.as_bytes().chunks(size);
            let found: Vec<Line> = chunks.flat_map(|chunk| lines.push(chunk).expect("lines")).collect();
            assert!(matches!(&found[0], Line::Pod(pod) if pod.uid == "u"), "{found:?}");
            assert_eq!(found[1..], [Line::Bookmark, Line::Deleted("u".into()), Line::Error(410)]);
        }
    }

    #[test]
    fn endless_and_malformed_lines_are_errors() {
        let mut lines = Lines::default();
        assert!(lines.push(b"<html>\n").is_err());
        let mut lines = Lines::default();
        let chunk = vec![b'x'; 1024 * 1024];
        assert!((0..6).any(|_| lines.push(&chunk).is_err()));
    }
}
