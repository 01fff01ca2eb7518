//! Knocks at the sidecar's door, for applications that cannot write a datagram themselves.

use probelet_protocol::agent::LOOK_SOCKET;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// How long a full queue is waited for. The sidecar empties it every [`crate::knock::PAUSE`].
const WAIT: Duration = Duration::from_millis(100);

/// Asks for one probe's run, or for every probe's where the name is empty. Where the queue stays full, that is an error: what is in
/// it may be about other probes.
pub(super) fn look(dir: &str, probe: &str) -> Result<(), String> {
    let path = format!("{dir}/{LOOK_SOCKET}");
    let send = || {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(WAIT))?;
        socket.send_to(probe.as_bytes(), &path)
    };
    send().map(|_| ()).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => format!("look: {path}: full, and nobody reads it"),
        _ => format!("look: {path}: {error}"),
    })
}
