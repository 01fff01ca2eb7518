//! What is left running in a target container: one thread in one poll, asleep between probes. It keeps a connection to
//! the sidecar, runs what it is told, and reaps whatever that leaves behind, so that the application's PID 1 never sees
//! any of it (fault F17).

use super::run::Run;
use crate::frame::{Ending, Frame, VERSION};
use probelet_protocol::agent::SOCKET;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, setsid, wait};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Waits between attempts to reach the sidecar.
const SOONEST: Duration = Duration::from_millis(20);
const LATEST: Duration = Duration::from_secs(1);
/// Most runs at once; the sidecar has as many probes at most.
const RUNS: usize = 128;
/// How often the end of a process is looked for without a pidfd.
const BLIND: Duration = Duration::from_millis(5);

/// Reads its start from standard input, leaves the session of whoever started it, and serves to the container's end.
pub(super) fn serve() -> Result<(), String> {
    let start = read_start().map_err(|error| format!("serve: {error}"))?;
    let mut parts = start.split('\0');
    let (Some(container), Some(key), Some(dir), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("serve: is for the agent itself; use start".into());
    };
    // Both can fail only where they are needless: a leader has its session, and old kernels reap at PID 1.
    let _ = setsid();
    let _ = set_child_subreaper(Some(getpid()));
    let hello = Frame::Hello { version: VERSION, container: container.to_owned(), key: key.to_owned() };
    let mut agent = Agent {
        socket: PathBuf::from(dir).join(SOCKET),
        hello: hello.encode(),
        link: None,
        runs: Vec::new(),
        wait: SOONEST,
        again: Instant::now(),
        reap: None,
    };
    loop {
        agent.turn();
    }
}

/// A pipe that [`super::start`] writes once and closes.
fn read_start() -> io::Result<String> {
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes[length..])? {
            0 => break,
            count => length += count,
        }
    }
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(io::Error::other)
}

struct Agent {
    socket: PathBuf,
    hello: Vec<u8>,
    link: Option<Link>,
    runs: Vec<Run>,
    /// Wait before the next attempt to connect, and when that is.
    wait: Duration,
    again: Instant,
    /// Somebody's children are left: how long to wait before looking whether they have ended.
    reap: Option<Duration>,
}

/// The connection to the sidecar.
struct Link {
    stream: UnixStream,
    read: Vec<u8>,
    unsent: Vec<u8>,
}

// === impl Agent ===

impl Agent {
    fn turn(&mut self) {
        if self.link.is_none() && Instant::now() >= self.again {
            self.link = Link::open(&self.socket, &self.hello).ok();
            if self.link.is_none() {
                self.later();
            }
        }
        self.sleep();
        for run in &mut self.runs {
            run.read();
        }
        self.reap();
        self.kill_late();
        self.talk();
    }

    /// Sleeps until there is something to do.
    fn sleep(&mut self) {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(1 + 3 * self.runs.len());
        if let Some(link) = &self.link {
            let flags = if link.unsent.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            fds.push(PollFd::from_borrowed_fd(link.stream.as_fd(), flags));
        }
        for fd in self.runs.iter().flat_map(Run::fds) {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        let now = Instant::now();
        let deadlines = self.runs.iter().filter_map(|run| run.deadline);
        let until = deadlines.chain(self.link.is_none().then_some(self.again)).min();
        let blind = self.runs.iter().any(Run::is_blind).then_some(BLIND);
        let spans = [until.map(|at| at.saturating_duration_since(now)), self.reap, blind];
        let span = spans.into_iter().flatten().min();
        // Rounded up, so that it is not early by less than a tick again and again.
        let span = span.map(|span| span + Duration::from_micros(100));
        let timeout = span.and_then(|span| Timespec::try_from(span).ok());
        // Interrupted or not, the next turn looks at everything.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// Takes whatever has ended: commands, and what they left behind.
    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let Some(index) = self.runs.iter().position(|run| run.pid == pid) else { continue };
                    let run = self.runs.swap_remove(index);
                    // Its children may follow soon.
                    self.reap = Some(SOONEST);
                    let (id, is_told) = (run.id, run.deadline.is_none());
                    let ending = run.end(status);
                    if !is_told {
                        self.tell(id, ending);
                    }
                }
                Ok(None) => {
                    self.reap = self.reap.map(|span| LATEST.min(span * 2));
                    return;
                }
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.reap = None;
                    return;
                }
            }
        }
    }

    /// A command that is late is killed with its group, and told at once: one that cannot be killed holds up nothing.
    fn kill_late(&mut self) {
        let now = Instant::now();
        let mut late = Vec::new();
        for run in &mut self.runs {
            if run.deadline.is_some_and(|deadline| deadline <= now) {
                run.kill();
                run.deadline = None;
                late.push(run.id);
            }
        }
        if !late.is_empty() {
            self.reap = Some(SOONEST);
        }
        for id in late {
            self.tell(id, Ending::TimedOut);
        }
    }

    fn talk(&mut self) {
        let Some(link) = &mut self.link else { return };
        let mut commands = Vec::new();
        if link.receive(&mut commands).is_err() {
            return self.lose();
        }
        for (id, timeout, command) in commands {
            // The sidecar took the hello.
            self.wait = SOONEST;
            let started = if self.runs.len() < RUNS {
                Run::start(id, timeout, &command)
            } else {
                Err(format!("{RUNS} commands are running already"))
            };
            match started {
                Ok(run) => self.runs.push(run),
                Err(error) => self.tell(id, Ending::CannotStart(error)),
            }
        }
        if let Some(link) = &mut self.link
            && link.send().is_err()
        {
            self.lose();
        }
    }

    fn tell(&mut self, id: u32, ending: Ending) {
        if let Some(link) = &mut self.link {
            link.unsent.extend(Frame::Result { id, ending }.encode());
        }
    }

    /// The sidecar is gone, or does not want this agent. Nobody waits for what runs.
    fn lose(&mut self) {
        self.link = None;
        for run in &mut self.runs {
            run.kill();
            run.deadline = None;
        }
        if !self.runs.is_empty() {
            self.reap = Some(SOONEST);
        }
        self.later();
    }

    fn later(&mut self) {
        self.again = Instant::now() + self.wait;
        self.wait = LATEST.min(self.wait * 2);
    }
}

// === impl Link ===

impl Link {
    fn open(socket: &PathBuf, hello: &[u8]) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, read: Vec::new(), unsent: hello.to_vec() })
    }

    /// Reads what there is; any error, an end and a wrong frame too, makes the connection useless.
    fn receive(&mut self, commands: &mut Vec<(u32, Duration, Vec<String>)>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.read.extend(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            while let Some(frame) = Frame::take(&mut self.read).map_err(io::Error::other)? {
                match frame {
                    Frame::Run { id, timeout, command } => {
                        commands.push((id, Duration::from_millis(timeout.into()), command));
                    }
                    _ => return Err(io::ErrorKind::InvalidData.into()),
                }
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
