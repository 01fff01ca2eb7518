//! Requests to the API server: who we say we are, and how long one may take.

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;
use kube::{Client, Config};
use std::future::Future;
use std::time::Duration;
use thiserror::Error;
use tower::{BoxError, ServiceBuilder};

/// Longest time for one request of a controller. kube has no read timeout of its own.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Watches are opened anew this often, in seconds, so that a silently dead one is noticed soon after.
pub const WATCH_SECONDS: u32 = 60;

/// Idle time before the kernel asks whether the API server is still there, how often it asks again, and how many times: a peer that
/// is gone is found within 9 s, at no cost to the API server itself.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 2);

/// The same for a peer that owes us the acknowledgement of a request: without this the kernel tries for a quarter of an hour, and a list
/// or the opening of a watch, which have no deadline, would wait so long.
const UNACKNOWLEDGED: Duration = Duration::from_secs(9);

/// Longest time until an answer begins, a list's and a watch's too: connection, TLS and headers. A peer that takes everything and says
/// nothing would else hold a watch up for ever, where nothing else bounds it. A list of 10,000 Pods begins within a second.
const BEGIN: Duration = Duration::from_secs(30);

/// A connection that has been idle for longer is not used again. It may be dead and not know it yet, and each that is tried costs a
/// deadline: with three of them in a row a leader loses its Lease. Longer than the time between two renewals.
const REUSE: Duration = Duration::from_secs(3);

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
/// It is put together here because kube's own leaves the sockets as they are: without TCP_NODELAY the first request of each connection
/// waits 40 ms for the acknowledgement of the handshake's end, and without keep-alive a watch whose peer is gone stays open.
///
/// # Errors
/// [`ClientError`] where there is no configuration to use.
pub async fn connect() -> Result<Client, ClientError> {
    with(Config::infer().await?)
}

fn with(mut config: Config) -> Result<Client, ClientError> {
    let agent = concat!("probelet-webhook/", env!("CARGO_PKG_VERSION"));
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(agent)));
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(DEADLINE));
    connector.set_keepalive(Some(KEEPALIVE.0));
    connector.set_keepalive_interval(Some(KEEPALIVE.1));
    connector.set_keepalive_retries(Some(KEEPALIVE.2));
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let client =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).pool_idle_timeout(REUSE).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .timeout(BEGIN)
        .map_err(BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace))
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

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;
    use kube::api::ListParams;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    /// The clock is paused: it moves on when there is nothing to do but to wait.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_everything_and_says_nothing_holds_no_list_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let client = with(Config::new(format!("http://{address}").parse().expect("URL"))).expect("client");
        let begin = Instant::now();
        Api::<Pod>::all(client).list(&ListParams::default()).await.expect_err("nobody answers");
        assert!(begin.elapsed() >= BEGIN && begin.elapsed() < BEGIN * 2, "{:?}", begin.elapsed());
        drop(listener);
    }
}
