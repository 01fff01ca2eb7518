//! The door through which an application in the Pod says "look now": a datagram to `look.sock` in the agents' folder,
//! holding a probe's name, or nothing for all of the Pod's probes. Anything that can write a datagram can knock;
//! `probelet-agent look [PROBE]` does it where an image has nothing else.
//!
//! A knock is taken at once, the next ones after a pause and together, so that none is lost and no number of them makes
//! more than one run per [`PAUSE`]. While the pause lasts nothing is read: the kernel's queue holds the senders back.

use probelet_protocol::agent::LOOK_SOCKET;
use probelet_protocol::limit;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::time::{Instant, sleep_until};

/// Shortest time between two knocks: that of the shortest period.
pub const PAUSE: Duration = limit::SHORTEST_PERIOD;
/// Most datagrams that are read into one knock.
const BATCH: usize = 256;

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// Every probe of the Pod.
    All,
    /// The probes with these names, in whichever container; names that no probe has mean nothing.
    Probes(BTreeSet<String>),
    /// All probes of this container, whose exec agent has come. Not by the door, as the next one.
    Container(String),
    /// The same, where the container has just been started.
    Started(String),
}

/// The open door.
#[derive(Debug)]
pub struct Door {
    socket: UnixDatagram,
    ready: Instant,
}

impl Door {
    /// Opens it in `dir`, in place of one that an earlier sidecar left. Must be called within the runtime.
    ///
    /// # Errors
    /// Where the socket cannot be opened.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(LOOK_SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        // Containers run as any user; what a knock can do is bounded.
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        Ok(Self { socket, ready: Instant::now() })
    }

    /// Waits for the next knock. May be cancelled without losing one.
    ///
    /// # Errors
    /// Where the socket is of no more use.
    pub async fn next(&mut self) -> io::Result<Knock> {
        loop {
            sleep_until(self.ready).await;
            self.socket.readable().await?;
            let mut names = BTreeSet::new();
            let mut is_all = false;
            let mut is_any = false;
            // One byte more than a name may have, so that a longer one is not taken for its start.
            let mut buffer = [0; limit::NAME + 1];
            for _ in 0..BATCH {
                let length = match self.socket.try_recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                is_any = true;
                match name(&buffer[..length]) {
                    Some("") => is_all = true,
                    Some(name) if names.len() < limit::PROBES => drop(names.insert(name.to_owned())),
                    _ => {}
                }
            }
            if is_any {
                self.ready = Instant::now() + PAUSE;
            }
            if is_all {
                return Ok(Knock::All);
            }
            if !names.is_empty() {
                return Ok(Knock::Probes(names));
            }
        }
    }
}

/// A probe's name, or the empty one for all; `None` where it is neither.
fn name(payload: &[u8]) -> Option<&str> {
    str::from_utf8(payload).ok().filter(|text| text.len() <= limit::NAME).map(str::trim)
}

#[cfg(test)]
mod tests;
