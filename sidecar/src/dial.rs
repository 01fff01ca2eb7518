//! The only place that opens a socket for a probe, and the one that decides where to (threat T5, CVE-2026-24005): to
//! loopback and the Pod's own addresses, after resolution. Nothing here asks DNS; `localhost` is the only name known.

mod lease;

pub use lease::Lease;
use lease::Ports;
use probelet_protocol::setting::ProbeHost;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpStream;

const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// What the message of a probe holds when nobody listens, in Go's words.
pub const REFUSED: &str = "connection refused";

/// The addresses that are the Pod itself, and those of them that one probe is sent to.
#[derive(Debug)]
pub struct Dialer {
    pod_ips: Vec<IpAddr>,
    targets: Vec<IpAddr>,
    ports: Arc<Ports>,
}

/// An open connection, and which of the addresses answered.
#[derive(Debug)]
pub struct Connection {
    /// The connection.
    pub stream: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// To close it with, once it has nothing left to say.
    pub lease: Lease,
}

/// Why there is no connection. Reads as Go's `net.OpError` does, without what changes from run to run.
#[derive(Debug)]
pub struct DialError {
    peer: SocketAddr,
    source: io::Error,
}

/// The setting asks for the Pod's own address, and the sidecar was not told it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("probe host is pod-ip, but the Pod's address is not known; auto or 127.0.0.1 would work")]
pub struct UnknownAddress;

// === impl Dialer ===

impl Dialer {
    /// Probes go to `host`; `pod_ips` may be empty.
    ///
    /// # Errors
    /// [`UnknownAddress`] where the Pod's address is asked for and there is none.
    pub fn try_new(host: ProbeHost, pod_ips: &[IpAddr]) -> Result<Self, UnknownAddress> {
        let pod_ips: Vec<_> = pod_ips.iter().map(IpAddr::to_canonical).collect();
        let targets = match host {
            ProbeHost::Auto => LOCALHOST.into_iter().chain(pod_ips.iter().copied()).collect(),
            ProbeHost::PodIp if pod_ips.is_empty() => return Err(UnknownAddress),
            ProbeHost::PodIp => pod_ips.clone(),
            ProbeHost::Loopback(address) => vec![address],
        };
        Ok(Self { pod_ips, targets, ports: Arc::default() })
    }

    /// Sends to this host instead; `None` where it is not the Pod itself, see [`Dialer::resolve`].
    pub fn to_host(&self, host: &str) -> Option<Self> {
        Some(Self { targets: self.resolve(host)?, pod_ips: self.pod_ips.clone(), ports: Arc::default() })
    }

    /// Where probes are sent to, in the order in which they are tried.
    pub fn targets(&self) -> &[IpAddr] {
        &self.targets
    }

    /// The own addresses that the host part of a URL stands for; `None` for anything else: other addresses, names but
    /// `localhost`, and the many spellings of an address that resolvers take (decimal, octal, with a zone).
    pub fn resolve(&self, host: &str) -> Option<Vec<IpAddr>> {
        if host.eq_ignore_ascii_case("localhost") {
            return Some(LOCALHOST.to_vec());
        }
        let address = host.parse::<IpAddr>().ok()?.to_canonical();
        self.is_own(address).then(|| vec![address])
    }

    /// Whether this address is the Pod itself. `0.0.0.0` and `::` are not: where they lead is the kernel's choice.
    pub fn is_own(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.pod_ips.contains(&address)
    }

    /// Connects to the first of `addresses` that does not refuse.
    ///
    /// # Errors
    /// The first address's [`DialError`] where all refuse; at once for an address that is not the Pod's own.
    pub async fn connect(&self, addresses: &[IpAddr], port: u16) -> Result<Connection, DialError> {
        let mut first = None;
        for address in addresses {
            let peer = SocketAddr::new(address.to_canonical(), port);
            match self.connect_to(peer).await {
                Ok((stream, lease)) => return Ok(Connection { stream, peer, lease }),
                Err(source) if is_refusal(&source) => {
                    first.get_or_insert(DialError { peer, source });
                }
                Err(source) => return Err(first.unwrap_or(DialError { peer, source })),
            }
        }
        Err(first.unwrap_or_else(|| DialError {
            peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
            source: io::Error::other("no address to dial"),
        }))
    }

    async fn connect_to(&self, peer: SocketAddr) -> io::Result<(TcpStream, Lease)> {
        if !self.is_own(peer.ip()) {
            return Err(io::Error::other("not an address of this Pod"));
        }
        let (stream, lease) = self.ports.connect(peer).await?;
        stream.set_nodelay(true)?;
        Ok((stream, lease))
    }
}

/// Whether the next address is worth trying: nobody listens there, or there is no such address family.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, Unsupported};
    // EAFNOSUPPORT has no kind of its own.
    matches!(error.kind(), ConnectionRefused | AddrNotAvailable | HostUnreachable | NetworkUnreachable | Unsupported)
        || error.raw_os_error() == Some(97)
}

/// An I/O error in Go's words, which kubelet's messages have taught people to look for.
pub fn reason(error: &io::Error) -> String {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => REFUSED.into(),
        ErrorKind::ConnectionReset => "connection reset by peer".into(),
        ErrorKind::BrokenPipe => "broken pipe".into(),
        ErrorKind::HostUnreachable => "no route to host".into(),
        ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        ErrorKind::UnexpectedEof => "unexpected EOF".into(),
        ErrorKind::TimedOut => "i/o timeout".into(),
        _ => error.to_string(),
    }
}

// === impl DialError ===

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dial tcp {}: connect: {}", self.peer, reason(&self.source))
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests;
