//! A probe target inside the bench's own process, so that the moment at which an outcome becomes known is known here too.

use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// An HTTP server that answers every request with 200 or 503.
pub struct ProbeTarget {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    healthy: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    answered: watch::Receiver<(bool, Instant)>,
}

impl ProbeTarget {
    /// Binds a free port and serves until the runtime ends.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let healthy = Arc::new(AtomicBool::new(true));
        let requests = Arc::new(AtomicU64::new(0));
        let (sender, answered) = watch::channel((true, Instant::now()));
        let sender = Arc::new(sender);
        let (state, count) = (healthy.clone(), requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(answer(stream, state.clone(), sender.clone()));
            }
        });
        Ok(Self { port, healthy, requests, answered })
    }

    /// Connections taken so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Switches the health; when the first answer of the new kind was on its way.
    pub async fn switch(&mut self, healthy: bool) -> Result<Instant> {
        self.healthy.store(healthy, Ordering::SeqCst);
        Ok(self.answered.wait_for(|(answered, _)| *answered == healthy).await?.1)
    }
}

async fn answer(mut stream: TcpStream, healthy: Arc<AtomicBool>, answered: Arc<watch::Sender<(bool, Instant)>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let healthy = healthy.load(Ordering::SeqCst);
    let status = if healthy { "200 OK" } else { "503 Service Unavailable" };
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    if stream.write_all(text.as_bytes()).await.is_ok() {
        answered.send_if_modified(|last| {
            let changed = last.0 != healthy;
            if changed {
                *last = (healthy, Instant::now());
            }
            changed
        });
    }
}
