//! What an answer of the API server to a patch means.

use crate::backoff::Trouble;
use crate::observed::Observed;
use serde::Deserialize;
use std::borrow::Cow;
use std::time::Duration;

/// An answer, read.
#[derive(Debug)]
pub enum Verdict {
    /// Accepted; the Pod after it.
    Pod(Box<Observed>),
    /// The Pod is not there any more, or another one has its name.
    Gone,
    /// What the patch holds is refused; the server's words.
    Refused(String),
    /// Try again later.
    Retry(Trouble, Option<Duration>, String),
}

/// The parts of a metav1 `Status` that are used.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

/// Reads an answer.
///
/// - 404, 410 with a Status, and 409 or 422 because of the UID: the Pod is gone.
/// - 400, 413, 422, and 403 by an admission policy, with a Status: refused. 403 by RBAC says that a verb is missing: try again.
/// - 401: the token; 429, 5xx and everything else, such as a proxy's own page on the way: try again.
pub fn judge(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Verdict {
    if (200..300).contains(&status) {
        return match Observed::parse(body) {
            Ok(pod) => Verdict::Pod(Box::new(pod)),
            Err(error) => Verdict::Retry(Trouble::Unwell, None, format!("answer {status} is no Pod: {error}")),
        };
    }
    let read: Status<'_> = serde_json::from_slice(body).unwrap_or_default();
    let message = if read.message.is_empty() { format!("answer {status}") } else { read.message.to_string() };
    // An API server whose caches are not filled yet (kubernetes/kubernetes:staging/src/k8s.io/apiserver/pkg/admission/plugin/
    // webhook/generic/webhook.go, policy/generic/plugin.go).
    let is_starting = message.contains("not yet ready to handle request");
    let is_about_uid = message.contains("metadata.uid") || message.contains("UID in precondition");
    match status {
        404 | 410 if matches!(&*read.reason, "NotFound" | "Gone" | "Expired") => Verdict::Gone,
        409 | 422 if is_about_uid => Verdict::Gone,
        400 | 403 | 413 | 422 if read.reason.is_empty() || is_starting => {
            Verdict::Retry(if status == 403 { Trouble::Forbidden } else { Trouble::Unwell }, retry_after, message)
        }
        400 | 413 | 422 => Verdict::Refused(message),
        // kubernetes/kubernetes:staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go
        403 if !message.contains(" cannot patch resource ") => Verdict::Refused(message),
        401 | 403 => Verdict::Retry(Trouble::Forbidden, retry_after, message),
        429 => Verdict::Retry(Trouble::Throttled, retry_after, message),
        _ => Verdict::Retry(Trouble::Unwell, retry_after, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(status: u16, reason: &str, message: &str) -> String {
        let body = format!(r#"{{"kind":"Status","reason":"{reason}","message":"{message}","code":{status}}}"#);
        match judge(status, None, body.as_bytes()) {
            Verdict::Pod(_) => "pod".into(),
            Verdict::Gone => "gone".into(),
            Verdict::Refused(_) => "refused".into(),
            Verdict::Retry(trouble, ..) => format!("{trouble:?}"),
        }
    }

    #[test]
    fn every_answer_means_what_it_should() {
        let rbac = r#"pods \"a\" is forbidden: User \"u\" cannot patch resource \"pods/status\" in API group \"\""#;
        let policy =
            r#"pods \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: label x"#;
        let uid = r#"Pod \"a\" is invalid: metadata.uid: Invalid value: \"u\": field is immutable"#;
        let label = r#"Pod \"a\" is invalid: metadata.labels: Invalid value: \"-\": a valid label must"#;
        for (status, reason, message, expected) in [
            (404, "NotFound", r#"pods \"a\" not found"#, "gone"),
            (404, "", "404 page not found", "Unwell"),
            (410, "Gone", "gone", "gone"),
            (422, "Invalid", uid, "gone"),
            (409, "Conflict", "Precondition failed: UID in precondition: u", "gone"),
            (409, "Conflict", "the object has been modified", "Unwell"),
            (422, "Invalid", label, "refused"),
            (403, "Forbidden", policy, "refused"),
            (403, "", "RBAC: access denied", "Forbidden"),
            (403, "Forbidden", r#"pods \"a\" is forbidden: not yet ready to handle request"#, "Forbidden"),
            (400, "BadRequest", "cannot decode", "refused"),
            (400, "", "<html>", "Unwell"),
            (413, "", "too large", "Unwell"),
            (403, "Forbidden", rbac, "Forbidden"),
            (401, "Unauthorized", "Unauthorized", "Forbidden"),
            (429, "TooManyRequests", "later", "Throttled"),
            (500, "InternalError", "oops", "Unwell"),
            (503, "ServiceUnavailable", "oops", "Unwell"),
            (301, "", "", "Unwell"),
        ] {
            assert_eq!(word(status, reason, message), expected, "{status} {message}");
        }
        assert!(matches!(judge(200, None, br#"{"metadata":{"uid":"u"}}"#), Verdict::Pod(_)));
        assert!(matches!(judge(200, None, b"<html>"), Verdict::Retry(Trouble::Unwell, ..)));
        assert!(matches!(judge(502, None, b"<html>"), Verdict::Retry(Trouble::Unwell, ..)));
    }
}
