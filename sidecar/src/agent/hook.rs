//! A container's own `postStart`, run as before: kubernetes/kubernetes:pkg/kubelet/lifecycle/handlers.go.

use crate::http::request::Headers;
use crate::http::url::{Reference, Url};
use probelet_protocol::agent::Hook;
use probelet_protocol::probe::HttpHeader;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// As of Go's default transport, which kubelet's hooks use; the answer itself has no limit there either.
const DIAL: Duration = Duration::from_secs(30);

/// Most bytes of an answer that are read.
const HEAD: usize = 16 * 1024;

/// Runs the hook; its exit code is the hook's result.
pub(super) fn run(hook: &Hook) -> ExitCode {
    let result = match hook {
        Hook::Exec(command) => return exec(command),
        Hook::Sleep(seconds) => {
            std::thread::sleep(Duration::from_secs(*seconds));
            Ok(())
        }
        Hook::HttpGet { port, path, host, headers } => get(*port, path, host.as_deref(), headers),
        Hook::TcpSocket => Err("cannot run handler: tcpSocket is no handler of a lifecycle hook".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probelet-agent: the container's own postStart failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes the command, so that exit code, signals and output are its own. Arguments as given: kubelet expands none of a
/// hook's. Returns only where it cannot be started, with a shell's codes.
fn exec(command: &[String]) -> ExitCode {
    let [program, arguments @ ..] = command else { return ExitCode::FAILURE };
    let error = Command::new(program).args(arguments).exec();
    eprintln!("probelet-agent: {program}: {error}");
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// Any answer is success, whatever its status. Redirects are not followed, their answer is one.
fn get(port: u16, path: &str, host: Option<&str>, headers: &[(String, String)]) -> Result<(), String> {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| HttpHeader { name: name.clone(), value: value.clone() }).collect();
    let agent = concat!("kube-lifecycle/", env!("CARGO_PKG_VERSION"));
    let headers = Headers::try_new(&headers, agent).map_err(|error| error.to_string())?;
    let path = Reference::from_path(path);
    let mut failed = String::from("no address");
    for address in addresses(host, port)? {
        let authority = host.map_or_else(|| address.to_string(), |host| authority(host, port));
        match ask(address, &headers, &path.on("http", authority)) {
            Ok(()) => return Ok(()),
            Err(error) => failed = format!("Get \"http://{address}\": {error}"),
        }
    }
    Err(failed)
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn ask(address: SocketAddr, headers: &Headers, url: &Url) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, DIAL)?;
    stream.write_all(headers.request(url).as_bytes())?;
    let head = head(&mut stream)?;
    if head.starts_with(b"HTTP/") { Ok(()) } else { Err(io::Error::other("malformed HTTP response")) }
}

/// An answer up to its body, which nobody needs: a server may keep the connection open after it.
fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    loop {
        let count = stream.read(&mut part)?;
        head.extend_from_slice(&part[..count]);
        let is_whole = head.windows(2).any(|end| end == b"\n\n") || head.windows(4).any(|end| end == b"\r\n\r\n");
        if count == 0 || is_whole || head.len() >= HEAD {
            return Ok(head);
        }
    }
}

/// Where the request goes: the Pod's own address as with kubelet, then loopback, for servers that listen there only. A
/// host that is a name is not looked up: a resolver would be a tenth of this program, for hooks that Pod Security forbids.
fn addresses(host: Option<&str>, port: u16) -> Result<Vec<SocketAddr>, String> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let addresses: Vec<IpAddr> = match host {
        Some("localhost") => loopback.into(),
        Some(host) => vec![host.parse().map_err(|_| format!("host {host:?} is no IP address"))?],
        None => [own_address(SOMEWHERE_V4), own_address(SOMEWHERE_V6)].into_iter().flatten().chain(loopback).collect(),
    };
    Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// Documentation's own addresses (RFC 5737, RFC 3849): nobody's, but routed like any other.
const SOMEWHERE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const SOMEWHERE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// The address that would be sent from; a datagram socket's `connect` sends nothing.
fn own_address(somewhere: IpAddr) -> Option<IpAddr> {
    let any = if somewhere.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(somewhere, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
