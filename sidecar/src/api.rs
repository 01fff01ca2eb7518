//! The client of the API server: one connection at a time, HTTP/1.1 over TLS.
//!
//! A connection that was kept may be dead without either side knowing (fault F8), and a busy server may take its time. Only the kernel
//! can tell the one from the other: a server that lives acknowledges what it was sent, however late it answers. So the kernel ends dead
//! connections, what was sent on one is sent again at once, and a slow server is asked once.

use crate::config::{ApiHost, PodName};
use crate::patch::Patch;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use probelet_protocol::name::FIELD_MANAGER;
use rustix::net::sockopt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

mod credential;
pub use credential::CredentialError;
use credential::Credentials;

/// For a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(3);
/// For an answer. The API server may hold a request back for a while when it is busy.
const ANSWER: Duration = Duration::from_secs(10);
/// In milliseconds: a connection ends when the other end's kernel has not acknowledged what was sent for so long, where ours by itself
/// would try for a quarter of an hour (tcp(7), `TCP_USER_TIMEOUT`).
const UNACKNOWLEDGED: u32 = 3000;
/// Silence after which the kernel asks whether the other end is still there, and how long it has to say so: a dead watch ends within
/// eight seconds, at no cost to the API server itself.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3));
/// An idle connection is given back after this.
pub const IDLE: Duration = Duration::from_secs(30);
/// Most bytes of an answer: etcd's limit for an object is 1.5 MiB.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Talks to one API server.
pub struct Api {
    host: ApiHost,
    authority: HeaderValue,
    agent: HeaderValue,
    credentials: Credentials,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// Path with query.
    pub path: String,
    /// Of the body.
    pub content_type: &'static str,
    /// Body.
    pub body: Bytes,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    /// Whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Token or CA.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// No connection in time.
    #[error("connecting to the API server at {0}: no connection within {CONNECT:?}")]
    ConnectTimeout(String),
    /// No connection.
    #[error("connecting to the API server at {0}: {1}")]
    Connect(String, std::io::Error),
    /// The connection broke.
    #[error("calling the API server: {0}")]
    Broken(#[from] hyper::Error),
    /// No answer in time.
    #[error("calling the API server: no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is too large or broke off.
    #[error("reading the API server's answer: {0}")]
    Body(String),
    /// A name or token that does not fit into a request.
    #[error("building a request: {0}")]
    Request(#[from] hyper::http::Error),
}

// === impl Api ===

impl Api {
    /// Nothing is connected yet. `version` goes into the user agent.
    ///
    /// # Errors
    /// The host is none.
    pub fn try_new(host: ApiHost, token_dir: PathBuf, version: &str) -> Result<Self, ApiError> {
        let credentials = Credentials::try_new(&host.host, token_dir)?;
        let authority = if host.host.contains(':') {
            format!("[{}]:{}", host.host, host.port)
        } else {
            format!("{}:{}", host.host, host.port)
        };
        let header = |text: &str| HeaderValue::from_str(text).map_err(hyper::http::Error::from);
        let (authority, agent) = (header(&authority)?, header(&format!("probelet/{version}"))?);
        Ok(Self { host, authority, agent, credentials, connection: None })
    }

    /// Sends a request and reads its answer. A connection that was kept and turns out to be dead is replaced at once,
    /// and a 401 is tried once more, with the token read again. A server that does not answer in time is not asked again.
    ///
    /// # Errors
    /// [`ApiError`]; the connection is closed then.
    pub async fn call(&mut self, call: &Call) -> Result<Answer, ApiError> {
        let was_kept = self.connection.is_some();
        let mut answer = self.call_once(call).await;
        if was_kept && matches!(answer, Err(ApiError::Broken(_))) {
            answer = self.call_once(call).await;
        }
        if matches!(&answer, Ok(answer) if answer.status == 401) {
            answer = self.call_once(call).await;
        }
        answer
    }

    /// Sends a request on a connection of its own, which lives as long as the answer.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn stream(&mut self, call: &Call) -> Result<Response<Incoming>, ApiError> {
        self.close();
        let request = self.request(call)?;
        let mut sender = self.connect().await?;
        let response = timeout(ANSWER, sender.send_request(request)).await.map_err(|_| ApiError::Timeout(ANSWER))??;
        self.connection = Some(sender);
        Ok(response)
    }

    /// Gives the connection back.
    pub fn close(&mut self) {
        self.connection = None;
    }

    /// Whether a connection is kept.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    async fn call_once(&mut self, call: &Call) -> Result<Answer, ApiError> {
        let request = self.request(call)?;
        let kept = self.connection.take().filter(|sender| !sender.is_closed());
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let exchange = async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            read(response).await
        };
        let answer = timeout(ANSWER, exchange).await.map_err(|_| ApiError::Timeout(ANSWER))??;
        self.connection = Some(sender);
        Ok(answer)
    }

    fn request(&mut self, call: &Call) -> Result<Request<Full<Bytes>>, ApiError> {
        if self.credentials.refresh()? {
            self.connection = None;
        }
        let mut token = HeaderValue::from_str(&format!("Bearer {}", self.credentials.token()?))
            .map_err(hyper::http::Error::from)?;
        token.set_sensitive(true);
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(HOST, &self.authority)
            .header(USER_AGENT, &self.agent)
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, token);
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, call.content_type);
        }
        Ok(request.body(Full::new(call.body.clone()))?)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ApiError> {
        let place = || format!("{}:{}", self.host.host, self.host.port);
        let failed = |error| ApiError::Connect(place(), error);
        let connect = async {
            // A name is resolved here and nowhere else; an address needs no resolver.
            let stream = TcpStream::connect((self.host.host.as_str(), self.host.port)).await?;
            stream.set_nodelay(true)?;
            // A sandbox that knows no such options leaves it to the time limits.
            let _ = end_when_dead(&stream);
            self.credentials.connector()?.connect(self.credentials.server().clone(), stream).await
        };
        let stream = timeout(CONNECT, connect).await.map_err(|_| ApiError::ConnectTimeout(place()))?.map_err(failed)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Ends when the sender is dropped or the peer closes; a fault shows at the next request.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// Has the kernel end the connection when the other end is not there any more.
fn end_when_dead(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE.0)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE.1)?;
    sockopt::set_socket_keepalive(stream, true)
}

// === impl Call ===

impl Call {
    /// A patch of this Pod's status.
    pub fn to_status(pod: &PodName, patch: &Patch) -> Self {
        let PodName { namespace, name, .. } = pod;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status?fieldManager={FIELD_MANAGER}");
        let content_type = "application/strategic-merge-patch+json";
        Self { method: Method::PATCH, path, content_type, body: patch.body().into() }
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, ApiError> {
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| ApiError::Body(error.to_string()))?.to_bytes();
    Ok(Answer { status, retry_after, body })
}

/// Retry-After in seconds; the API server sends no dates.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
