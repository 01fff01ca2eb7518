//! HTTPS for the API server, and plain HTTP for people and Prometheus. Everything a caller may take of us is bounded:
//! connections, handshake, headers, body, time (threat T8).

use axum::Router;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

mod activity;
mod connection;
mod request;

/// What a caller may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; one more is closed unheard.
    pub connections: usize,
    /// From accepting to the end of the TLS handshake.
    pub handshake: Duration,
    /// From there, or from the answer before, to the end of a request's header.
    pub header: Duration,
    /// For the whole of a request: body, decision, answer.
    pub request: Duration,
    /// A connection without a request is closed after this.
    pub idle: Duration,
    /// Bytes of one body.
    pub body: usize,
    /// Bytes of all bodies that are held at once, beyond the first 64 KiB of each.
    pub bodies: usize,
}

/// A server that listens, but does not serve yet.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    refused: Arc<AtomicUsize>,
}

/// How far a server is on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    #[default]
    Open,
    /// Serving, and every answer asks its caller to leave (`Connection: close`), so that calls go elsewhere by the caller's
    /// own hand. Closing a kept connection from this end would lose the call that is just being written to it: Go's client
    /// repeats no POST of which a byte was sent (golang/go:src/net/http/transport.go, `shouldRetryRequest`).
    Draining,
    /// No new connection; those that are open end after the request in hand.
    Closing,
}

/// The address cannot be listened on.
#[derive(Debug, Error)]
#[error("--{flag}: listening on {address}: {source}")]
pub struct BindError {
    /// Name of the flag that gave it.
    pub flag: &'static str,
    /// Which address.
    pub address: SocketAddr,
    /// Why.
    pub source: std::io::Error,
}

/// What every connection shares.
struct Shared {
    router: Router,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    phase: watch::Receiver<Phase>,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            request: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            // The API server takes objects of 3 MiB at most, and a review holds two.
            body: 7 * 1024 * 1024,
            bodies: 64 * 1024 * 1024,
        }
    }
}

// === impl Server ===

impl Server {
    /// Listens; with `tls` only TLS is spoken. `flag` is named in errors.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(
        flag: &'static str,
        address: SocketAddr,
        tls: Option<rustls::ServerConfig>,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await.map_err(|source| BindError { flag, address, source })?;
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        Ok(Self { listener, tls, limits, refused: Arc::default() })
    }

    /// Where it listens; tells the port that the system chose for port 0.
    ///
    /// # Errors
    /// Where the system does not know.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Connections that were closed because there were too many.
    pub fn refused(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.refused)
    }

    /// Serves until `phase` is closing and the last request has been answered, which takes [`Limits::request`] at most.
    pub async fn serve(self, router: Router, mut phase: watch::Receiver<Phase>) {
        let limits = self.limits;
        let router = request::limited(router, limits);
        let shared = Arc::new(Shared { router, tls: self.tls, limits, phase: phase.clone() });
        let slots = Arc::new(Semaphore::new(limits.connections));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                _ = phase.wait_for(|phase| *phase == Phase::Closing) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most often: they come back as connections end.
                    warn!(%error, "accepting a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                debug!(%peer, "too many connections");
                continue;
            };
            let shared = Arc::clone(&shared);
            connections.spawn(async move {
                let _slot = slot;
                serve_one(stream, peer, &shared).await;
            });
        }
        drop(self.listener);
        let end = tokio::time::timeout(limits.request, async { while connections.join_next().await.is_some() {} });
        if end.await.is_err() {
            warn!(connections = connections.len(), "connections cut off at the end of the drain");
        }
    }
}

async fn serve_one(stream: TcpStream, peer: SocketAddr, shared: &Shared) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "connection lost before it was used");
        return;
    }
    let Some(tls) = &shared.tls else {
        return connection::serve(stream, shared).await;
    };
    let handshake = tokio::time::timeout(shared.limits.handshake, tls.accept(stream));
    match handshake.await {
        Ok(Ok(stream)) => connection::serve(stream, shared).await,
        Ok(Err(error)) => debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => debug!(%peer, "TLS handshake took too long"),
    }
}
