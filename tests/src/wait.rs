//! Waiting on conditions: by watch, with a deadline, and a message of what was last seen.

use anyhow::{Result, bail};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;

/// Waits until `met` holds for the object of that name (None while it does not exist); the object as it
/// was then. `what` completes "waited 10 s for", as in "Pod web to be marked".
pub async fn until<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    limit: Duration,
    met: impl Fn(Option<&K>) -> bool,
) -> Result<Option<K>>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    let mut last = None;
    let mut trouble = None;
    let search = async {
        let mut stream = Box::pin(watch_object(api.clone(), name));
        while let Some(event) = stream.next().await {
            match event {
                Ok(object) if met(object.as_ref()) => return Some(object),
                Ok(object) => last = object,
                Err(error) => trouble = Some(tell(&error)),
            }
        }
        None
    };
    if let Ok(Some(object)) = tokio::time::timeout(limit, search).await {
        return Ok(object);
    }
    let seen = match last {
        Some(object) => serde_json::to_string_pretty(&object)?,
        None => "no such object".to_owned(),
    };
    let trouble = trouble.map(|text| format!("\nthe watch failed: {text}")).unwrap_or_default();
    bail!("waited {:.1} s for {what}; last seen:\n{seen}{trouble}", limit.as_secs_f64())
}

/// Waits until a Pod satisfies `met`; the Pod as it was then.
pub async fn until_pod(
    pods: &Api<Pod>,
    name: &str,
    what: &str,
    limit: Duration,
    met: impl Fn(&Pod) -> bool,
) -> Result<Pod> {
    let what = format!("Pod {name} {what}");
    let found = until(pods, name, &what, limit, |pod: Option<&Pod>| pod.is_some_and(&met)).await?;
    match found {
        Some(pod) => Ok(pod),
        None => bail!("{what}: the Pod is gone"),
    }
}

/// Waits until the object is gone.
pub async fn until_gone<K>(api: &Api<K>, name: &str, limit: Duration) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    until(api, name, &format!("{name} to be gone"), limit, |object| object.is_none()).await.map(drop)
}

fn tell(error: &watcher::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
