//! The lab's audit log: who asked the API server for what. An entry is written when the answer has been
//! given, so a reader that was told of a result can come before it: wait on [`AuditLog::until`].

use crate::lab::Lab;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The log of one lab.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// A place in the log: what comes after it is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// One request, as far as tests ask about it. Requests on Pods are all there; of the others those of the
/// cluster's own parts and of the administrator are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// User name, as in `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// The client's User-Agent.
    pub agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub verb: String,
    /// `pods`, or `pods/status` with a subresource.
    pub resource: String,
    /// Namespace of the object; empty for others.
    pub namespace: String,
    /// Name of the object; empty for lists.
    pub name: String,
    /// Status code of the answer.
    pub code: u16,
    /// When it came, as the API server wrote it (RFC 3339, microseconds).
    pub received: String,
}

impl AuditLog {
    /// The lab's.
    pub fn of(lab: &Lab) -> Self {
        Self { path: lab.layout().audit_log() }
    }

    /// The present end of the log.
    pub fn mark(&self) -> Result<Mark> {
        let data = std::fs::metadata(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(Mark(data.len()))
    }

    /// The requests since a mark that `wanted` picks.
    pub fn since(&self, mark: Mark, wanted: impl Fn(&Request) -> bool) -> Result<Vec<Request>> {
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut found = Vec::new();
        for line in whole.lines() {
            let entry: Entry = serde_json::from_str(line).with_context(|| format!("not an audit entry: {line}"))?;
            found.extend(entry.request().filter(&wanted));
        }
        Ok(found)
    }

    /// Waits until at least `count` such requests are in the log since the mark; all there are then.
    pub async fn until(
        &self,
        mark: Mark,
        count: usize,
        limit: Duration,
        wanted: impl Fn(&Request) -> bool,
    ) -> Result<Vec<Request>> {
        let begin = Instant::now();
        loop {
            let found = self.since(mark, &wanted)?;
            if found.len() >= count {
                return Ok(found);
            }
            if begin.elapsed() > limit {
                bail!("waited {:.1} s for {count} requests in the audit log; found {found:#?}", limit.as_secs_f64());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

// === impl Request ===

impl Request {
    /// True for a request on one Pod, by namespace and name; any subresource.
    pub fn is_on_pod(&self, namespace: &str, name: &str) -> bool {
        self.resource.split('/').next() == Some("pods") && self.namespace == namespace && self.name == name
    }

    /// True for a request by that ServiceAccount.
    pub fn is_by(&self, namespace: &str, account: &str) -> bool {
        self.user == format!("system:serviceaccount:{namespace}:{account}")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    verb: String,
    #[serde(default)]
    stage: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<Object>,
    response_status: Option<Answer>,
    #[serde(default)]
    request_received_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    code: u16,
}

impl Entry {
    /// A long request has two entries: when its answer begins and when it ends. Only a watch is counted by
    /// the first, because it may never end. Of a request by nobody known there is the first alone.
    fn request(self) -> impl Iterator<Item = Request> {
        let counted = if self.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        let code = self.response_status.map_or(0, |answer| answer.code);
        let keep = self.stage == counted || self.stage == "Panic" || code == 401;
        let object = self.object_ref.unwrap_or_default();
        let resource = match object.subresource.as_str() {
            "" => object.resource,
            subresource => format!("{}/{subresource}", object.resource),
        };
        let request = Request {
            user: self.user.username,
            agent: self.user_agent,
            verb: self.verb,
            resource,
            namespace: object.namespace,
            name: object.name,
            code,
            received: self.request_received_timestamp,
        };
        keep.then_some(request).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Entry;

    fn requests(stage: &str, verb: &str) -> Vec<super::Request> {
        let text = format!(
            r#"{{"kind":"Event","stage":"{stage}","verb":"{verb}","user":{{"username":"u"}},"userAgent":"a",
                "objectRef":{{"resource":"pods","subresource":"status","namespace":"n","name":"p"}},
                "responseStatus":{{"metadata":{{}},"code":200}},"requestReceivedTimestamp":"t"}}"#
        );
        serde_json::from_str::<Entry>(&text).expect("an entry").request().collect()
    }

    #[test]
    fn answered_request_counts_once() {
        let found = requests("ResponseComplete", "patch");
        assert_eq!(found.len(), 1);
        assert!(found[0].is_on_pod("n", "p"));
        assert_eq!((found[0].resource.as_str(), found[0].code), ("pods/status", 200));
        assert_eq!(requests("ResponseStarted", "patch"), []);
    }

    #[test]
    fn request_by_nobody_known_counts_once() {
        let text = r#"{"kind":"Event","stage":"ResponseStarted","verb":"patch","user":{},"userAgent":"a",
            "objectRef":{"resource":"pods","subresource":"status","namespace":"n","name":"p"},
            "responseStatus":{"metadata":{},"code":401},"requestReceivedTimestamp":"t"}"#;
        let found: Vec<_> = serde_json::from_str::<Entry>(text).expect("an entry").request().collect();
        assert_eq!((found.len(), found[0].code, found[0].user.as_str()), (1, 401, ""));
    }

    #[test]
    fn watch_counts_when_it_begins() {
        assert_eq!(requests("ResponseStarted", "watch").len(), 1);
        assert_eq!(requests("ResponseComplete", "watch"), []);
    }
}
