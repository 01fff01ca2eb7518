//! httpGet probes: kubernetes/kubernetes:pkg/probe/http/http.go `DoHTTPProbe`. A fresh connection each run; written by
//! hand rather than with hyper, which refuses paths that kubelet sends and keeps a head of any size in memory.

pub(crate) mod request;
mod response;
mod tls;
pub(crate) mod url;

use crate::dial::{Connection, Dialer, Lease, reason};
use crate::outcome::Outcome;
use probelet_protocol::limit::cut_message;
use probelet_protocol::probe::HttpGetAction;
pub use request::HeaderError;
use request::Headers;
use response::{Head, ReadError, Reader};
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use url::{Reference, Url};

/// Most requests of one run, as of Go's client.
const HOPS: usize = 10;

/// A prepared httpGet probe.
pub struct HttpProbe {
    dialer: Dialer,
    scheme: &'static str,
    port: u16,
    path: Reference,
    headers: Headers,
}

/// Why an httpGet probe can never run. Names the field and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Neither HTTP nor HTTPS.
    #[error("httpGet.scheme: {0:?} is not allowed: must be HTTP or HTTPS")]
    Scheme(String),
    /// A path such as `mailto:x`, which names no place on a server.
    #[error("httpGet.path: {0:?} is not a path")]
    Path(String),
    /// A header that cannot be sent.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// The next request of a run.
struct Hop {
    addresses: Vec<IpAddr>,
    port: u16,
    url: Url,
    location: String,
    keeps_host: bool,
}

// === impl HttpProbe ===

impl HttpProbe {
    /// Prepares a probe of this port; `version` ends the default `User-Agent`. `host` is the caller's to refuse.
    ///
    /// # Errors
    /// [`HttpError`].
    pub fn try_new(action: &HttpGetAction, port: u16, dialer: Dialer, version: &str) -> Result<Self, HttpError> {
        let scheme = match action.scheme.as_deref().unwrap_or_default() {
            "" => "http",
            scheme if scheme.eq_ignore_ascii_case("http") => "http",
            scheme if scheme.eq_ignore_ascii_case("https") => "https",
            other => return Err(HttpError::Scheme(other.to_owned())),
        };
        let text = action.path.as_deref().unwrap_or_default();
        let path = Reference::from_path(text);
        if path.is_opaque() {
            return Err(HttpError::Path(text.to_owned()));
        }
        let headers = Headers::try_new(&action.http_headers, &format!("kube-probe/{version}"))?;
        Ok(Self { dialer, scheme, port, path, headers })
    }

    /// Sends the request, follows redirects within the Pod, and reads the answer, all within `timeout`.
    pub async fn run(&self, timeout: Duration) -> Outcome {
        let deadline = Instant::now() + timeout;
        let mut headers = self.headers.clone();
        let mut addresses = self.dialer.targets().to_vec();
        let mut port = self.port;
        // The first request's host is the address that answers, so its URL is known after the dial.
        let mut url = None;
        let mut last = String::new();
        for _ in 0..HOPS {
            let dialed = timeout_at(deadline, self.dialer.connect(&addresses, port)).await;
            let asked = || url.clone().unwrap_or_else(|| self.url(addresses[0]));
            let connection = match dialed {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => return failure(&asked(), &error.to_string()),
                Err(_) => return failure(&asked(), &format!("dial tcp {}: i/o timeout{AWAITING}", asked().authority)),
            };
            let here = url.take().unwrap_or_else(|| self.url(connection.peer.ip()));
            let hop = match self.exchange(connection, &here, &headers, deadline).await {
                Ok(hop) => hop,
                Err(outcome) => return outcome,
            };
            headers = headers.redirected(&here, &hop.url, hop.keeps_host);
            (addresses, port, url, last) = (hop.addresses, hop.port, Some(hop.url), hop.location);
        }
        Outcome::Failure(cut_message(&format!("Get {last:?}: stopped after {HOPS} redirects")).to_owned())
    }

    /// Where a redirect leads; `None` where that is elsewhere.
    fn follow(&self, here: &Url, location: &str) -> Result<Option<Hop>, Outcome> {
        let reference = Reference::parse(location)
            .map_err(|error| format!("failed to parse Location header {location:?}: parse {location:?}: {error}"))
            .map_err(|error| failure(here, &error))?;
        let url = here.join(&reference);
        let Some(addresses) = self.dialer.resolve(url.host()) else { return Ok(None) };
        if url.scheme != "http" && url.scheme != "https" {
            return Err(failure(&url, &format!("unsupported protocol scheme {:?}", url.scheme)));
        }
        let invalid = || failure(&url, &format!("dial tcp: address {}: invalid port", url.authority));
        let port = url.port().ok_or_else(invalid)?;
        // golang/go#22233
        let (location, keeps_host) = (location.to_owned(), !reference.is_absolute());
        Ok(Some(Hop { addresses, port, url, location, keeps_host }))
    }

    /// One request and its answer: the run's outcome, or where it goes on.
    async fn exchange(
        &self,
        connection: Connection,
        url: &Url,
        headers: &Headers,
        deadline: Instant,
    ) -> Result<Hop, Outcome> {
        let request = headers.request(url);
        if url.scheme == "http" {
            return self.converse(connection.stream, connection.lease, &request, url, deadline).await;
        }
        let name = ServerName::try_from(request::server_name(headers, url).to_owned())
            .unwrap_or_else(|_| ServerName::IpAddress(connection.peer.ip().into()));
        match timeout_at(deadline, tls::connector().connect(name, connection.stream)).await {
            Ok(Ok(stream)) => self.converse(stream, connection.lease, &request, url, deadline).await,
            Ok(Err(error)) => Err(failure(url, &tls_reason(&error))),
            Err(_) => Err(failure(url, &format!("net/http: TLS handshake timeout{AWAITING}"))),
        }
    }

    /// Whether it is followed is decided by the head, as Go's client does (golang/go:src/net/http/client.go `do`): nothing that is
    /// wrong with the body of a redirect that is followed counts.
    async fn converse<S>(
        &self,
        mut stream: S,
        lease: Lease,
        request: &str,
        url: &Url,
        deadline: Instant,
    ) -> Result<Hop, Outcome>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let head_and_reader = async {
            // A server may answer and close without reading; its answer counts, as for Go's client.
            let written = async {
                stream.write_all(request.as_bytes()).await?;
                stream.flush().await
            }
            .await;
            let mut reader = Reader::new(stream);
            match reader.head().await {
                Ok(head) => Ok((head, reader)),
                Err(ReadError::Closed) if written.is_err() => {
                    Err(written.map_or_else(ReadError::Io, |()| ReadError::Closed))
                }
                Err(error) => Err(error),
            }
        };
        let (head, mut reader) = match timeout_at(deadline, head_and_reader).await {
            Ok(Ok(both)) => both,
            Ok(Err(error)) => return Err(failure(url, &error.to_string())),
            Err(_) => return Err(failure(url, &format!("context deadline exceeded{AWAITING}"))),
        };
        let hop = head.redirect().and_then(|location| self.follow(url, location).transpose());
        let result = match hop {
            Some(hop) => match timeout_at(deadline, reader.skim(&head)).await {
                Ok(()) => hop,
                Err(_) => hop.and_then(|hop| Err(failure(&hop.url, &format!("context deadline exceeded{AWAITING}")))),
            },
            None => Err(outcome(&mut reader, &head, url, deadline).await),
        };
        if let Some(stream) = reader.into_stream() {
            lease.close(stream);
        }
        result
    }

    fn url(&self, address: IpAddr) -> Url {
        self.path.on(self.scheme, SocketAddr::new(address, self.port).to_string())
    }
}

const AWAITING: &str = " (Client.Timeout exceeded while awaiting headers)";

fn failure(url: &Url, error: &str) -> Outcome {
    Outcome::Failure(cut_message(&format!("Get {:?}: {error}", url.to_string())).to_owned())
}

fn tls_reason(error: &std::io::Error) -> String {
    let tls = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "http: server gave HTTP response to HTTPS client".into()
        }
        Some(error) => format!("tls: {error}"),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => "EOF".into(),
        None => reason(error),
    }
}

/// What an answer counts as that is not followed.
async fn outcome<S: AsyncRead + Unpin>(reader: &mut Reader<S>, head: &Head, url: &Url, deadline: Instant) -> Outcome {
    match timeout_at(deadline, reader.body(head)).await {
        Ok(Ok(body)) => verdict(head, &body),
        // kubelet throws such a run away as an error; here it is a failure, like every other broken answer.
        Ok(Err(error)) => failure(url, &error.to_string()),
        Err(_) => {
            let error = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
            failure(url, error)
        }
    }
}

/// kubernetes/kubernetes:pkg/probe/http/http.go: 200 to 399 is success, a redirect that was not followed a warning,
/// which counts as success; the body of a failure is not told (kubernetes/kubernetes#99425).
fn verdict(head: &Head, body: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(body);
    match head.status {
        200..=299 => Outcome::Success(cut_message(&text).to_owned()),
        300..=399 => {
            Outcome::Success(cut_message(&format!("Probe terminated redirects, Response body: {text}")).to_owned())
        }
        status => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
    }
}
