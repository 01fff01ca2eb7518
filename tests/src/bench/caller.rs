//! Calls a webhook as the API server does: HTTP/1.1 over TLS, connections kept
//! (kubernetes/apiserver:pkg/util/webhook/client.go sets `http/1.1` so that calls spread over connections).

use super::figure::Series;
use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whom to call.
#[derive(Clone)]
pub struct Callee {
    port: u16,
    connector: TlsConnector,
}

/// Answers per second, and how long each took.
pub struct Burst {
    /// Answers a second.
    pub rate: f64,
    /// From the request to its answer; where the answer before it was late, from the time at which the request was due.
    pub took: Series,
}

// === impl Callee ===

impl Callee {
    /// The webhook on that port of loopback, whose certificate one of these signed (DER).
    ///
    /// # Errors
    /// Where a certificate is none.
    pub fn new(port: u16, authorities: impl IntoIterator<Item = Vec<u8>>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(CertificateDer::from(authority))?;
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { port, connector: TlsConnector::from(Arc::new(config)) })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(ServerName::try_from("127.0.0.1")?, stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// `count` calls, one after the other on each of `connections`, without a pause.
    ///
    /// # Errors
    /// Where a call is not answered with a patch.
    pub async fn without_pause(&self, body: &Bytes, connections: usize, count: usize) -> Result<Burst> {
        self.run(body, connections, count, None).await
    }

    /// `count` calls at that many a second, whether or not earlier ones were answered in time.
    ///
    /// # Errors
    /// Where a call is not answered with a patch.
    pub async fn at_rate(&self, body: &Bytes, connections: usize, count: usize, a_second: f64) -> Result<Burst> {
        self.run(body, connections, count, Some(Duration::from_secs_f64(connections as f64 / a_second))).await
    }

    async fn run(&self, body: &Bytes, connections: usize, count: usize, every: Option<Duration>) -> Result<Burst> {
        let mut senders = Vec::new();
        for _ in 0..connections {
            senders.push(self.connect().await?);
        }
        let begin = Instant::now();
        let tasks: Vec<_> = senders
            .into_iter()
            .enumerate()
            .map(|(index, sender)| {
                // Connections take turns within the period.
                let offset = every.unwrap_or_default().mul_f64(index as f64 / connections as f64);
                tokio::spawn(calls(sender, body.clone(), count / connections, begin + offset, every))
            })
            .collect();
        let mut durations = Vec::new();
        for task in tasks {
            durations.extend(task.await??);
        }
        let rate = durations.len() as f64 / begin.elapsed().as_secs_f64();
        Ok(Burst { rate, took: Series::new(durations) })
    }
}

async fn calls(
    mut sender: SendRequest<Full<Bytes>>,
    body: Bytes,
    count: usize,
    begin: Instant,
    every: Option<Duration>,
) -> Result<Vec<Duration>> {
    let mut durations = Vec::with_capacity(count);
    let mut due = begin;
    for _ in 0..count {
        match every {
            // A late answer also makes the next one late. That the caller's own core slept a little longer does not.
            Some(every) => {
                let is_late = Instant::now() > due;
                tokio::time::sleep_until(due.into()).await;
                let from = if is_late { due } else { Instant::now() };
                call(&mut sender, &body).await?;
                durations.push(from.elapsed());
                due += every;
            }
            None => {
                let sent = Instant::now();
                call(&mut sender, &body).await?;
                durations.push(sent.elapsed());
            }
        }
    }
    Ok(durations)
}

async fn call(sender: &mut SendRequest<Full<Bytes>>, body: &Bytes) -> Result<()> {
    sender.ready().await?;
    let request = http::Request::post("/mutate-pods?timeout=2s")
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .body(Full::new(body.clone()))?;
    let response = sender.send_request(request).await.context("no answer")?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    // An error would be quick.
    let is_patch = answer.windows(9).any(|window| window == b"JSONPatch");
    ensure!(status.is_success() && is_patch, "no patch, {status}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}
