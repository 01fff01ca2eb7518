//! Requests to the API server: who we say we are, and how long one may take.

use kube::{Client, Config};
use std::future::Future;
use std::time::Duration;
use thiserror::Error;

/// Longest time for one request of a controller. kube has no read timeout of its own.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Watches are opened anew this often, in seconds, so that a silently dead one is noticed soon after.
pub const WATCH_SECONDS: u32 = 60;

/// Why the API server gave no answer that can be used.
#[derive(Debug, Error)]
pub enum CallError {
    /// No answer in time; the request may have been carried out.
    #[error("no answer from the API server within {}", humantime::format_duration(DEADLINE))]
    Deadline,
    /// An answer that says no, or no connection.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// There is no way to the API server.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No kubeconfig and no ServiceAccount.
    #[error("finding the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The client cannot be built from it.
    #[error("building the API client: {0}")]
    Build(#[from] kube::Error),
}

/// A client from the kubeconfig or the ServiceAccount. It never retries by itself: our queues do, with the newest state.
///
/// # Errors
/// [`ClientError`] where there is no configuration to use.
pub async fn connect() -> Result<Client, ClientError> {
    let mut config = Config::infer().await?;
    config.default_retry = false;
    config.connect_timeout = Some(DEADLINE);
    let agent = concat!("probelet-webhook/", env!("CARGO_PKG_VERSION"));
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(agent)));
    Ok(Client::try_from(config)?)
}

/// Waits for one answer, for [`DEADLINE`] at most.
///
/// # Errors
/// [`CallError`].
pub async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CallError::Deadline),
    }
}

// === impl CallError ===

impl CallError {
    /// The status code, where the API server answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// The object is not there.
    pub fn is_missing(&self) -> bool {
        self.code() == Some(404)
    }

    /// Somebody else was faster: the object exists already, or has changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }
}
