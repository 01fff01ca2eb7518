//! Local ports that are used again, so that probes leave no heap of TIME_WAIT behind (fault F26).
//!
//! kubelet sets SO_LINGER to a second for that (kubernetes/kubernetes#89898), which on Linux changes nothing: each
//! closed connection stays for a minute. Resetting connections would help, but shows in the application as an error. What
//! works: a connection from the port of an earlier one that both ends have closed takes that one's place, on loopback
//! after a second (`net.ipv4.tcp_tw_reuse`), whichever end it waits at.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

/// How long a port rests. The kernel counts whole seconds.
const REST: Duration = Duration::from_millis(1001);
/// Most ports that are remembered: enough for the shortest period, with some room.
const PORTS: usize = 32;
/// How long the other end may close first. One that closes at once, as a server does that was told `Connection: close`, would
/// else do so in the same moment as we, and both ends would wait for a minute. Short, since a server that serves one
/// connection after the other waits for our end.
const FIRST: Duration = Duration::from_millis(2);
/// How long the other end has to close, and how much it may still say.
const CLOSING: Duration = Duration::from_secs(1);
const LAST_WORDS: u64 = 64 * 1024;

/// The ports of one probe, in the order in which they were closed.
#[derive(Debug, Default)]
pub(super) struct Ports(Mutex<VecDeque<Closed>>);

#[derive(Debug)]
struct Closed {
    at: Instant,
    local: SocketAddr,
    peer: SocketAddr,
}

/// The way back for an open connection's port. Dropped, the port is forgotten, as after a connection that broke.
#[derive(Debug)]
pub struct Lease {
    ports: Arc<Ports>,
    local: SocketAddr,
    peer: SocketAddr,
}

// === impl Ports ===

impl Ports {
    /// Connects, from a port that has rested where there is one.
    pub(super) async fn connect(self: &Arc<Self>, peer: SocketAddr) -> io::Result<(TcpStream, Lease)> {
        let stream = match self.rested(peer) {
            // Somebody else may have it now, or the kernel may not give it again.
            Some(local) => match connect_from(Some(local), peer).await {
                Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) => {
                    connect_from(None, peer).await?
                }
                result => result?,
            },
            None => connect_from(None, peer).await?,
        };
        let local = stream.local_addr()?;
        if local == peer {
            // Nobody listens, and the kernel gave us that very port: a connection with ourselves
            // (golang/go:src/net/tcpsock_posix.go `selfConnect`). It ends without a trace, the port is somebody else's.
            let _ = stream.set_zero_linger();
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok((stream, Lease { ports: self.clone(), local, peer }))
    }

    fn rested(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let mut ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The one that was closed last: what a busy moment needed more of is then left to end its minute.
        let index = ports.iter().rposition(|closed| closed.peer == peer && closed.at.elapsed() >= REST)?;
        ports.remove(index).map(|closed| closed.local)
    }

    fn give_back(&self, local: SocketAddr, peer: SocketAddr) {
        let mut ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ports.len() == PORTS {
            ports.pop_front();
        }
        ports.push_back(Closed { at: Instant::now(), local, peer });
    }
}

async fn connect_from(local: Option<SocketAddr>, peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = if peer.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Without it here too, the port of a connection that waits could not be bound again.
    socket.set_reuseaddr(true)?;
    if let Some(local) = local {
        socket.bind(local)?;
    }
    socket.connect(peer).await
}

// === impl Lease ===

impl Lease {
    /// Closes a connection that has nothing left to say, beside the probe: the other end may do so first, for a moment, then
    /// ours does and the other's is awaited. Only then is the port used again: an end that stays open would meet a stranger.
    pub(crate) fn close<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        tokio::spawn(async move {
            let ended = timeout(CLOSING, async {
                let mut rest = stream.take(LAST_WORDS);
                let has_closed = timeout(FIRST, hear_out(&mut rest)).await;
                rest.get_mut().shutdown().await?;
                match has_closed {
                    Ok(heard) => heard?,
                    Err(_) => hear_out(&mut rest).await?,
                }
                io::Result::Ok(rest.limit() > 0)
            });
            if let Ok(Ok(true)) = ended.await {
                self.ports.give_back(self.local, self.peer);
            }
        });
    }
}

async fn hear_out(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut buffer = [0; 512];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_with_itself_is_nobody_s() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("port");
        let ports = Arc::new(Ports::default());
        let rested = Instant::now().checked_sub(REST).expect("time");
        ports.0.lock().expect("lock").push_back(Closed { at: rested, local: free, peer: free });
        let error = ports.connect(free).await.expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        std::net::TcpListener::bind(free).expect("the port is free again at once");
    }

    #[tokio::test(start_paused = true)]
    async fn the_port_that_was_closed_last_is_used_first_once_it_has_rested() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (ports, peer) = (Ports::default(), address(80));
        assert_eq!(ports.rested(peer), None);
        for port in 1..=3 {
            ports.give_back(address(port), peer);
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        // Closed 1.5, 1 and 0.5 s ago.
        assert_eq!(ports.rested(peer), Some(address(1)));
        tokio::time::advance(REST).await;
        assert_eq!(ports.rested(address(81)), None);
        assert_eq!(ports.rested(peer), Some(address(3)));
        assert_eq!(ports.rested(peer), Some(address(2)));
        assert_eq!(ports.rested(peer), None);
    }
}
