//! A way to the API server that can be blocked: as by a server that is stopped, or by a network that drops everything.

use anyhow::Result;
use probelet_tests::command;
use probelet_tests::namespace::Namespace;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Everything passes.
    Free,
    /// Connections are made, and what is sent is acknowledged, but nothing is ever read: SIGSTOP.
    Stopped,
    /// The kernel drops what this side sends: nothing is acknowledged, no connection is made and none ends.
    Dropped,
}

/// A TCP proxy on a port of loopback, in a network of its own.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    network: Arc<Namespace>,
    way: watch::Sender<Way>,
}

impl Proxy {
    /// What comes in there goes on to the server from this network.
    pub(crate) fn start(network: Arc<Namespace>, server: SocketAddr) -> Result<Self> {
        let listener = network.within(|| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))??;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let port = listener.local_addr()?.port();
        let (way, ways) = watch::channel(Way::Free);
        tokio::spawn(accept(listener, server, ways));
        Ok(Self { port, network, way })
    }

    /// Blocks the way, or frees it.
    pub(crate) fn set(&self, way: Way) -> Result<()> {
        if way == Way::Dropped {
            self.rule("add")?;
        }
        let before = self.way.send_replace(way);
        if before == Way::Dropped {
            self.rule("del")?;
        }
        Ok(())
    }

    fn rule(&self, act: &str) -> Result<()> {
        let rule = ["rule", act, "pref", "1", "ipproto", "tcp", "sport", &self.port.to_string(), "blackhole"];
        command::run(self.network.command("ip").args(rule)).map(drop)
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, ways: watch::Receiver<Way>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut ways = ways.clone();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let there = pass(from_client, to_server, ways.clone());
            let back = pass(from_server, to_client, ways.clone());
            tokio::select! {
                _ = async { tokio::join!(there, back) } => {}
                // What is lost does not arrive later.
                _ = ways.wait_for(|way| *way == Way::Dropped) => {}
            }
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
