//! AdmissionReview `admission.k8s.io/v1`, read and written
//! (kubernetes/kubernetes:staging/src/k8s.io/api/admission/v1/types.go).

use crate::warning::Warnings;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// Most values of an object that is read whole. A Pod of a megabyte has as many; 7 MiB of nothing but small objects are a
/// million, which take a hundred times their text's size in memory.
pub(crate) const VALUES: usize = 50_000;

/// What the API server asks. Objects stay text until it is known what they are.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// To be repeated in the answer.
    pub uid: String,
    /// The resource that the request is for.
    #[serde(default)]
    pub resource: Resource,
    /// `binding`, `status` and so on; empty: the resource itself.
    #[serde(default)]
    pub sub_resource: String,
    /// Namespace; empty for cluster-wide objects.
    #[serde(default)]
    pub namespace: String,
    /// Name; empty where the API server generates it.
    #[serde(default)]
    pub name: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(default)]
    pub operation: String,
    /// The new object.
    #[serde(borrow, default)]
    pub object: Option<&'a RawValue>,
    /// The object before an update.
    #[serde(borrow, default)]
    pub old_object: Option<&'a RawValue>,
}

/// `metav1.GroupVersionResource`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resource {
    /// API group; empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name.
    pub resource: String,
}

/// A body that is no AdmissionReview. Names the field and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Nothing was sent.
    #[error("the body is empty, an AdmissionReview is expected")]
    Empty,
    /// Not JSON, or not of the right shape.
    #[error("the body is no AdmissionReview: {path}: {message}")]
    Malformed {
        /// Path of the field; `.` for the whole.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// Something else, or another version.
    #[error("{field}: {found:?} is not supported, must be {allowed}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        allowed: &'static str,
    },
    /// An answer, or nothing.
    #[error("request: missing")]
    NoRequest,
    /// A field of the request that this operation needs.
    #[error("{0}: missing")]
    Missing(&'static str),
    /// More than memory is there for.
    #[error("{0}: has more than {VALUES} JSON values")]
    TooManyValues(&'static str),
    /// The answer would belong to nobody.
    #[error("request.uid: must not be empty")]
    NoUid,
}

/// What is answered.
#[derive(Debug, Default)]
pub struct Answer {
    /// Code and message of a refusal.
    pub denied: Option<(u16, String)>,
    /// Changes to the object.
    pub patch: Patch,
    /// For whoever sent the request.
    pub warnings: Warnings,
    /// For the API server's audit log.
    pub outcome: String,
}

impl ReviewError {
    /// The same, for a text that stands in a field of the review.
    #[must_use]
    pub fn within(self, field: &str) -> Self {
        match self {
            Self::Malformed { path, message } if path == "." => Self::Malformed { path: field.to_owned(), message },
            Self::Malformed { path, message } => Self::Malformed { path: format!("{field}.{path}"), message },
            other => other,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(borrow, default)]
    request: Option<Request<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'static str,
    message: &'a str,
}

/// Reads a request's body.
///
/// # Errors
/// [`ReviewError`]; to be answered with status 400.
pub fn read(body: &[u8]) -> Result<Request<'_>, ReviewError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ReviewError::Empty);
    }
    let review: Review<'_> = parse(body)?;
    if review.kind != KIND {
        return Err(ReviewError::Unsupported { field: "kind", found: review.kind, allowed: KIND });
    }
    if review.api_version != API_VERSION {
        return Err(ReviewError::Unsupported { field: "apiVersion", found: review.api_version, allowed: API_VERSION });
    }
    let request = review.request.ok_or(ReviewError::NoRequest)?;
    if request.uid.is_empty() { Err(ReviewError::NoUid) } else { Ok(request) }
}

/// Reads an object that stands in a field of the review.
pub(crate) fn object<'a, T: Deserialize<'a>>(object: &'a RawValue, field: &'static str) -> Result<T, ReviewError> {
    let text = object.get().as_bytes();
    // Each value but the first takes a byte before it, so that most objects need not be counted.
    if text.len() > VALUES && values(text) > VALUES {
        return Err(ReviewError::TooManyValues(field));
    }
    parse(text).map_err(|error| error.within(field))
}

/// How many values a sound JSON text has at most: each but the first comes after a bracket or a comma.
fn values(text: &[u8]) -> usize {
    let mut count = 1;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' | b',' => count += 1,
            b'"' => {
                // To the string's end.
                while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
                    if *byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
    }
    count
}

/// Reads a JSON text; where that fails once more, slower, to learn the field's path.
fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ReviewError> {
    serde_json::from_slice(text).or_else(|_| {
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(text)).map_err(|error| {
            // `?`: the text ended before a field could be told.
            let path = error.path().to_string();
            let path = if path == "?" { ".".to_owned() } else { path };
            ReviewError::Malformed { path, message: error.inner().to_string() }
        })
    })
}

/// Writes the body of an answer.
///
/// # Errors
/// Where the patch cannot be written as JSON.
pub fn write(uid: &str, answer: Answer) -> Result<Vec<u8>, serde_json::Error> {
    let patch =
        if answer.patch.0.is_empty() { None } else { Some(STANDARD.encode(serde_json::to_vec(&answer.patch)?)) };
    let status = answer.denied.as_ref().map(|(code, message)| Status { code: *code, reason: "Invalid", message });
    let outcome = (!answer.outcome.is_empty()).then_some(("outcome", answer.outcome.as_str()));
    let response = Response {
        uid,
        allowed: status.is_none(),
        status,
        patch_type: patch.is_some().then_some("JSONPatch"),
        patch,
        warnings: answer.warnings.into_answer(),
        audit_annotations: outcome.into_iter().collect(),
    };
    serde_json::to_vec(&Answered { api_version: API_VERSION, kind: KIND, response })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (text, count) in
            [("7", 1), ("[1, 2]", 3), (r#"{"a": [], "b": {}}"#, 5), (r#"["[,{", "\"[,{", "\\", 1]"#, 5), (r#""\\""#, 1)]
        {
            assert_eq!(values(text.as_bytes()), count, "{text}");
        }
    }
}
