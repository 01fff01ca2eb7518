//! The optional port: `/metrics`, `/healthz`, and `POST /probe` from inside the Pod. Small on purpose: one request a
//! connection, a short head, no body.

use crate::knock::Knock;
use crate::stats::Stats;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, broadcast};
use tokio::time::timeout;

mod metrics;

/// For one whole request.
const LIMIT: Duration = Duration::from_secs(2);
/// Longest head.
const HEAD_BYTES: usize = 4096;
/// Connections at a time; more wait in the kernel.
const CONNECTIONS: usize = 8;

/// Serves one port.
pub struct Server {
    listener: TcpListener,
    stats: Arc<Stats>,
    knocks: broadcast::Sender<Knock>,
}

// === impl Server ===

impl Server {
    /// Binds on every address, IPv6 with IPv4 where there is IPv6.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(port: u16, stats: Arc<Stats>, knocks: broadcast::Sender<Knock>) -> io::Result<Self> {
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?,
            Ok(listener) => listener,
        };
        Ok(Self { listener, stats, knocks })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for ever.
    pub async fn run(self) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of file descriptors, most likely: let others finish.
                tokio::time::sleep(LIMIT).await;
                continue;
            };
            let (stats, knocks) = (self.stats.clone(), self.knocks.clone());
            tokio::spawn(async move {
                let _ = timeout(LIMIT, answer(stream, &stats, &knocks)).await;
                drop(permit);
            });
        }
    }
}

async fn answer(mut stream: TcpStream, stats: &Stats, knocks: &broadcast::Sender<Knock>) -> io::Result<()> {
    let (own, peer) = (stream.local_addr()?.ip(), stream.peer_addr()?.ip());
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (status, body) = route(&String::from_utf8_lossy(line), is_own(own, peer), stats, knocks);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn route(line: &str, is_own: bool, stats: &Stats, knocks: &broadcast::Sender<Knock>) -> (&'static str, String) {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match (method, path) {
        ("GET", "/metrics") => ("200 OK", metrics::text(stats)),
        ("GET", "/healthz") => ("200 OK", "ok\n".to_owned()),
        ("POST", "/probe") if !is_own => ("403 Forbidden", "only from inside the Pod\n".to_owned()),
        ("POST", "/probe") => {
            let name = query.split('&').find_map(|pair| pair.strip_prefix("name=")).unwrap_or_default();
            let knock = if name.is_empty() { Knock::All } else { Knock::Probes(BTreeSet::from([name.to_owned()])) };
            // Nobody listens: there are no probes.
            let _ = knocks.send(knock);
            ("202 Accepted", "probing\n".to_owned())
        }
        (_, "/metrics" | "/healthz" | "/probe") => ("405 Method Not Allowed", String::new()),
        _ => ("404 Not Found", "there are /metrics, /healthz and POST /probe\n".to_owned()),
    }
}

/// Whether the peer is in the own Pod: loopback, or the same address on both sides.
fn is_own(own: IpAddr, peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback() || peer == own
}

#[cfg(test)]
mod tests;
