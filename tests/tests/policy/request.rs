//! One request as a caller sends it, byte for byte, and the API server's answer.

use anyhow::{Context, Result};
use http::Method;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// The body of a change, and by it the verb and the content type.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Strategic merge patch.
    Strategic(Value),
    /// JSON merge patch.
    Merge(Value),
    /// JSON patch.
    Json(Value),
    /// Server-side apply.
    Apply(Value),
    /// The whole object.
    Put(Value),
}

/// Status code and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The API server's message, where it refused.
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

/// Sends a change to a path such as `/api/v1/namespaces/a/pods/b/status`.
pub(crate) async fn send(client: &Client, path: &str, change: &Change) -> Result<Answer> {
    let (method, content, body) = match change {
        Change::Strategic(body) => (Method::PATCH, "application/strategic-merge-patch+json", body),
        Change::Merge(body) => (Method::PATCH, "application/merge-patch+json", body),
        Change::Json(body) => (Method::PATCH, "application/json-patch+json", body),
        Change::Apply(body) => (Method::PATCH, "application/apply-patch+yaml", body),
        Change::Put(body) => (Method::PUT, "application/json", body),
    };
    let force = if matches!(change, Change::Apply(_)) { "&force=true" } else { "" };
    call(client, method, &format!("{path}?fieldManager=probelet{force}"), content, Some(body)).await
}

/// Creates an object in the collection at a path.
pub(crate) async fn create(client: &Client, path: &str, body: &Value) -> Result<Answer> {
    call(client, Method::POST, path, "application/json", Some(body)).await
}

/// Reads what is at a path.
pub(crate) async fn read(client: &Client, path: &str) -> Result<Answer> {
    call(client, Method::GET, path, "application/json", None).await
}

/// Deletes what is at a path.
pub(crate) async fn delete(client: &Client, path: &str) -> Result<Answer> {
    call(client, Method::DELETE, path, "application/json", Some(&json!({}))).await
}

async fn call(client: &Client, method: Method, path: &str, content: &str, body: Option<&Value>) -> Result<Answer> {
    let bytes = body.map(Value::to_string).unwrap_or_default().into_bytes();
    let request = http::Request::builder()
        .method(method.clone())
        .uri(path)
        .header("content-type", content)
        .header("accept", "application/json")
        .body(Body::from(bytes))?;
    answer(client, request).await.with_context(|| format!("{method} {path}"))
}

/// Applies a document of a rendered file as it stands; with `dry` only to see it as JSON.
pub(crate) async fn apply(client: &Client, path: &str, yaml: &str, dry: bool) -> Result<Answer> {
    let dry = if dry { "&dryRun=All" } else { "" };
    let request = http::Request::patch(format!("{path}?fieldManager=probelet-tests&force=true{dry}"))
        .header("content-type", "application/apply-patch+yaml")
        .header("accept", "application/json")
        .body(Body::from(yaml.as_bytes().to_vec()))?;
    answer(client, request).await.with_context(|| format!("apply {path}"))
}

async fn answer(client: &Client, request: http::Request<Body>) -> Result<Answer> {
    let response = client.send(request).await?;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await?;
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({"message": String::from_utf8_lossy(&bytes)}));
    Ok(Answer { code, body })
}
