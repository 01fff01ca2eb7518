//! The sidecar's end of all exec agents: one task that owns who is connected and which runs are awaited.

use super::link::{self, Event};
use super::{AgentsHandle, Ask};
use crate::frame::{Ending, Frame};
use crate::handler::ProbeError;
use crate::knock::Knock;
use probelet_protocol::agent::SOCKET;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// Runs that one agent may be asked for at once, and frames that may wait for it: it has as many probes at most.
const FRAMES: usize = probelet_protocol::limit::PROBES;
/// Connections beyond one a container that may be open: agents that come back before their old connection is seen to
/// end, and whatever else tries. Where they are in use, the oldest that has not said who it is makes room: nobody keeps an agent
/// out by holding them (threat T6).
const SPARE: usize = 8;
/// Nobody is let in for so long after a connection has ended, so that whoever comes again and again costs next to nothing.
const PAUSE: Duration = Duration::from_millis(2);
/// Results that nobody asked for, after which an agent is none.
const UNASKED: u32 = 16;
/// Agents that have waited for this sidecar come within this time: they try once a second (agent/serve.rs `LATEST`). One that
/// comes later has been started with its container.
const RETURN: Duration = Duration::from_secs(2);

/// Owns the socket and the connections; [`Listener::run`] is its task.
pub struct Listener {
    socket: UnixListener,
    keys: BTreeMap<String, String>,
    asked: mpsc::Receiver<Ask>,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    links: BTreeMap<u64, Link>,
    refused: Arc<AtomicU64>,
    knocks: Option<broadcast::Sender<Knock>>,
    begin: Instant,
    /// When the next connection may be taken.
    ready: Instant,
    /// Containers whose agents have been here.
    known: BTreeSet<String>,
    last_link: u64,
    last_run: u32,
}

/// One open connection.
struct Link {
    frames: mpsc::Sender<Vec<u8>>,
    /// Who it is, once it has proved that.
    container: Option<String>,
    /// Runs that it was sent and has not answered, whether or not somebody still waits for them.
    runs: BTreeMap<u32, Sent>,
    /// Results without a run.
    unasked: u32,
    /// User of the other end, as the kernel says; for the log.
    uid: Option<u32>,
}

/// A run that an agent was sent.
struct Sent {
    /// The probe's own: what tells it from other probes.
    command: Arc<[String]>,
    answer: oneshot::Sender<Result<Ending, ProbeError>>,
}

/// Opens the agents' socket in `dir`, in place of one that an earlier sidecar left. `keys` has the secret of each
/// container with exec probes. Must be called within the runtime.
///
/// # Errors
/// Where the socket cannot be opened.
pub fn listen(dir: &Path, keys: BTreeMap<String, String>) -> io::Result<(AgentsHandle, Listener)> {
    let path = dir.join(SOCKET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(&path)?;
    // Containers run as any user; the key is what counts.
    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    let (asks, asked) = mpsc::channel(FRAMES);
    let (sender, events) = mpsc::channel(FRAMES);
    let refused = Arc::<AtomicU64>::default();
    let handle = AgentsHandle::new(asks, refused.clone());
    let listener = Listener {
        socket,
        keys,
        asked,
        events,
        sender,
        links: BTreeMap::new(),
        refused,
        knocks: None,
        begin: Instant::now(),
        ready: Instant::now(),
        known: BTreeSet::new(),
        last_link: 0,
        last_run: 0,
    };
    Ok((handle, listener))
}

// === impl Listener ===

impl Listener {
    /// An agent that comes means that its container has started: its probes are run at once, rather than a period later. One
    /// that goes means nothing yet: where the whole Pod ends, its containers end within moments of each other, and a probe
    /// run then would be written as a failure (fault F28).
    pub fn telling(self, knocks: broadcast::Sender<Knock>) -> Self {
        Self { knocks: Some(knocks), ..self }
    }

    /// Serves until the last [`AgentsHandle`] is dropped.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                accepted = accept(&self.socket, self.ready) => match accepted {
                    Ok(stream) => self.take(stream),
                    // Out of descriptors, perhaps: the next one may go better, but not at once.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an exec agent");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(event) = self.events.recv() => self.hear(event),
                ask = self.asked.recv() => match ask {
                    Some(ask) => self.ask(ask),
                    None => return,
                },
            }
        }
    }

    fn take(&mut self, stream: UnixStream) {
        let uid = stream.peer_cred().ok().map(|peer| peer.uid());
        if self.links.len() >= self.keys.len() + SPARE {
            let oldest = self.links.iter().find(|(_, link)| link.container.is_none()).map(|(number, _)| *number);
            if let Some(oldest) = oldest {
                self.close(oldest, "too many connections");
            }
        }
        let (frames, receiver) = mpsc::channel(FRAMES);
        self.last_link += 1;
        self.links.insert(self.last_link, Link { frames, container: None, runs: BTreeMap::new(), unasked: 0, uid });
        tokio::spawn(link::serve(stream, self.last_link, self.sender.clone(), receiver));
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Hello { link, container, key } => {
                let is_taken = self.agent(&container).is_some();
                let is_key = self.keys.get(&container).is_some_and(|own| is_equal(own, &key));
                match self.links.get_mut(&link) {
                    Some(entry) if is_key && !is_taken => {
                        tracing::info!(container, uid = entry.uid, "exec agent connected");
                        entry.container = Some(container.clone());
                        let is_start = !self.known.insert(container.clone()) || self.begin.elapsed() > RETURN;
                        if let Some(knocks) = &self.knocks {
                            let knock = if is_start { Knock::Started } else { Knock::Container };
                            // Nobody listens: there are no probes.
                            let _ = knocks.send(knock(container));
                        }
                    }
                    _ => self.close(link, if is_key { "the container has an agent" } else { "wrong container or key" }),
                }
            }
            Event::Result { link, id, ending } => {
                let Some(entry) = self.links.get_mut(&link) else { return };
                // Only among its own runs: no agent answers for another's. One that nobody waits for any more is late.
                if let Some(sent) = entry.runs.remove(&id) {
                    let _ = sent.answer.send(match ending {
                        Ending::CannotStart(why) => Err(ProbeError::CannotStart(why)),
                        ending => Ok(ending),
                    });
                    return;
                }
                entry.unasked += 1;
                if entry.unasked > UNASKED {
                    self.close(link, "more results than runs");
                }
            }
            Event::Closed { link, fault } => {
                // Whoever waits for a run of it learns by the dropped sender.
                if let Some(fault) = fault {
                    self.close(link, &fault);
                } else if let Some(link) = self.links.remove(&link) {
                    self.ready = Instant::now() + PAUSE;
                    tracing::info!(container = link.container, "exec agent gone");
                }
            }
        }
    }

    /// Passes a run on to its agent, unless that has one of the same probe in hand, or as many as a Pod has probes: one that stood
    /// still for minutes would else run them all at once as soon as it goes on. An agent answers every run or its connection ends,
    /// so no probe waits for ever.
    fn ask(&mut self, ask: Ask) {
        self.last_run = self.last_run.wrapping_add(1);
        let id = self.last_run;
        let Some(agent) = self.agent(&ask.container) else {
            let _ = ask.answer.send(Err(ProbeError::AgentMissing(ask.container)));
            return;
        };
        let has_own = agent.runs.values().any(|sent| Arc::ptr_eq(&sent.command, &ask.command));
        if has_own || agent.runs.len() >= FRAMES {
            // The dropped answer tells that it is silent.
            return;
        }
        let timeout = u32::try_from(ask.timeout.as_millis()).unwrap_or(u32::MAX);
        let frame = Frame::Run { id, timeout, command: ask.command.to_vec() };
        if agent.frames.try_send(frame.encode()).is_ok() {
            agent.runs.insert(id, Sent { command: ask.command, answer: ask.answer });
        }
    }

    fn agent(&mut self, container: &str) -> Option<&mut Link> {
        self.links.values_mut().find(|link| link.container.as_deref() == Some(container))
    }

    /// Dropping its sender closes the connection. Counts it, and says so each time that the count has doubled.
    fn close(&mut self, link: u64, why: &str) {
        let Some(link) = self.links.remove(&link) else { return };
        self.ready = Instant::now() + PAUSE;
        let count = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(uid = link.uid, why, count, "exec agent refused");
        }
    }
}

/// May be cancelled without losing a connection.
async fn accept(socket: &UnixListener, ready: Instant) -> io::Result<UnixStream> {
    sleep_until(ready).await;
    socket.accept().await.map(|(stream, _)| stream)
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
fn is_equal(own: &str, other: &str) -> bool {
    let differing = own.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    own.len() == other.len() && std::hint::black_box(differing) == 0
}
