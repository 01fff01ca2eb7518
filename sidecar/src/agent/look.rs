//! Knocks at the sidecar's door, for applications that cannot write a datagram themselves.

use probelet_protocol::agent::LOOK_SOCKET;
use std::io;
use std::os::unix::net::UnixDatagram;

/// Asks for one probe's run, or for every probe's where the name is empty. Never waits: where the queue is full, a look
/// is due anyway.
pub(super) fn look(dir: &str, probe: &str) -> Result<(), String> {
    let path = format!("{dir}/{LOOK_SOCKET}");
    let send = || {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to(probe.as_bytes(), &path)
    };
    match send() {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(format!("look: {path}: {error}")),
        _ => Ok(()),
    }
}
