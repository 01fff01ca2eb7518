//! A way to the API server that can be blocked: as by a server that is stopped, or by a network that drops everything.

use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// What happens to what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Everything passes.
    Free,
    /// Connections are made, and nothing is ever read: SIGSTOP.
    Stopped,
    /// No connection is made either: packets are dropped.
    Dropped,
}

/// A TCP proxy on a port of loopback.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    way: watch::Sender<Way>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        // A short queue is soon full, and then the kernel drops what knocks.
        let listener = socket.listen(1)?;
        let port = listener.local_addr()?.port();
        let (way, ways) = watch::channel(Way::Free);
        tokio::spawn(accept(listener, server, ways));
        Ok(Self { port, way })
    }

    /// Blocks the way, or frees it.
    pub(crate) async fn set(&self, way: Way) {
        self.way.send_replace(way);
        if way == Way::Dropped {
            let port = self.port;
            // Fills the queue for as long as the way is blocked.
            let mut ways = self.way.subscribe();
            tokio::spawn(async move {
                let mut filling = tokio::task::JoinSet::new();
                for _ in 0..8 {
                    filling.spawn(TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
                }
                let _ = ways.wait_for(|way| *way == Way::Free).await;
            });
            tokio::time::sleep(std::time::Duration::from_millis(200)).await; // until the queue is full
        }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, mut ways: watch::Receiver<Way>) {
    loop {
        if ways.wait_for(|way| *way != Way::Dropped).await.is_err() {
            return;
        }
        let Ok((client, _)) = listener.accept().await else { return };
        let ways = ways.clone();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::join!(pass(from_client, to_server, ways.clone()), pass(from_server, to_client, ways));
        });
    }
}

/// Passes bytes on while the way is free.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut ways: watch::Receiver<Way>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if ways.wait_for(|way| *way == Way::Free).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
