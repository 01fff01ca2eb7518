//! The one door through which controllers write: only within the term, each request within its deadline.

use super::Context;
use super::rate::Bucket;
use crate::client::{CallError, DEADLINE, within};
use crate::lease::Term;
use kube::Client;
use kube::api::{DeleteParams, PatchParams, PostParams};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use thiserror::Error;

/// Events at once, and then each second: an outage of an hour can leave thousands of Pods to tell of.
const EVENTS: (u32, u32) = (50, 5);

/// Writes for controllers.
pub struct Writer {
    /// For requests that are handed to [`Writer::write`].
    pub client: Client,
    term: Term,
    pods: Option<Mutex<Bucket>>,
    events: Mutex<Bucket>,
}

/// Why something was not written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The term has ended, or might end before the request does.
    #[error("not written: this replica does not lead any more")]
    NotLeading,
    /// The API server said no, or nothing.
    #[error(transparent)]
    Call(#[from] CallError),
}

// === impl Writer ===

impl Writer {
    /// Writes within a term.
    pub fn new(context: &Context, term: Term) -> Self {
        let bound = context.settings.pod_writes_per_second;
        Self {
            client: context.client.clone(),
            term,
            pods: bound.map(|bound| Mutex::new(Bucket::new(bound, bound))),
            events: Mutex::new(Bucket::new(EVENTS.0, EVENTS.1)),
        }
    }

    /// Sends one request, if there is time for it.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
        if !self.term.allows(Instant::now(), DEADLINE) {
            return Err(WriteError::NotLeading);
        }
        Ok(within(request).await?)
    }

    /// Waits until one more Pod may be written.
    pub async fn pace_pod(&self) {
        let Some(bucket) = &self.pods else { return };
        loop {
            let taken = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Whether one more Event may be written now.
    ///
    /// # Errors
    /// How long to wait.
    pub fn may_tell(&self) -> Result<(), std::time::Duration> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

/// Parameters of a create or replace by us.
pub fn post() -> PostParams {
    PostParams { field_manager: Some(probelet_protocol::name::FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// Parameters of a patch by us.
pub fn patch() -> PatchParams {
    PatchParams { field_manager: Some(probelet_protocol::name::FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Parameters of a deletion of exactly this object, not of one that took its name.
pub fn delete(uid: Option<String>) -> DeleteParams {
    let mut params = DeleteParams::default();
    if let Some(uid) = uid {
        params = params.preconditions(kube::api::Preconditions { uid: Some(uid), resource_version: None });
    }
    params
}
