//! A network of its own for one test, in which packets can be lost. Nothing of it is seen outside, and it ends with the test.

use crate::command;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Each generation of connections begins at so many ports of its own.
const PORTS: u16 = 4000;
const FIRST: u16 = 20_000;

/// A network namespace with loopback and nothing else.
pub struct Namespace {
    holder: Child,
    generation: u16,
}

/// Does `work` on a thread of the network namespace that this file stands for: its 127.0.0.1 is that one's, and so are the sockets
/// that it makes, whoever uses them later.
///
/// # Errors
/// Where the namespace cannot be entered.
pub fn within<T: Send>(file: &Path, work: impl FnOnce() -> T + Send) -> Result<T> {
    let file = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let kind = rustix::thread::LinkNameSpaceType::Network;
            rustix::thread::move_into_link_name_space(file.as_fd(), Some(kind))?;
            anyhow::Ok(work())
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

// === impl Namespace ===

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// Where this process may not: it needs root.
    pub fn new() -> Result<Self> {
        // As the local addresses are looked up first of all, their rule makes room for one that comes before.
        let script =
            "ip link set lo up && ip rule add pref 100 lookup local && ip rule del pref 0 && echo up && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run unshare")?;
        let mut word = [0; 3];
        let begun = holder.stdout.as_mut().is_some_and(|out| out.read_exact(&mut word).is_ok());
        let namespace = Self { holder, generation: 0 };
        if !begun {
            bail!("cannot make a network namespace; this needs root and CAP_SYS_ADMIN");
        }
        namespace.use_ports()?;
        Ok(namespace)
    }

    /// The file that stands for it.
    pub fn file(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder.id()))
    }

    /// A command that will run in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.file().display())).arg("--").arg(program);
        command
    }

    /// See [`within`].
    ///
    /// # Errors
    /// Where it cannot be entered.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        within(&self.file(), work)
    }

    /// From now on whoever has opened a connection hears nothing of the other side any more, no end and no refusal: the kernel
    /// drops what is sent to him. New connections are good.
    ///
    /// # Errors
    /// What ip says.
    pub fn vanish(&mut self) -> Result<()> {
        let lost = self.ports();
        self.generation += 1;
        self.use_ports()?;
        let rule = ["rule", "add", "pref", "1", "ipproto", "tcp", "dport", &lost, "blackhole"];
        command::run(self.command("ip").args(rule)).map(drop)
    }

    /// How many connections to this port are open that were opened before the last [`Namespace::vanish`], as the side that opened
    /// them knows it.
    ///
    /// # Errors
    /// Where the kernel's table cannot be read.
    pub fn lost(&self, port: u16) -> Result<usize> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.holder.id()))?;
        let limit = FIRST + PORTS * self.generation;
        // `0: 0100007F:4E20 0100007F:192B 01 ...`: here, there, and 1 for an open connection.
        let is_lost = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            let mut end = || u16::from_str_radix(words.next()?.rsplit(':').next()?, 16).ok();
            let (here, there) = (end(), end());
            there == Some(port) && here.is_some_and(|here| here < limit) && words.next() == Some("01")
        };
        Ok(table.lines().skip(1).filter(|line| is_lost(line)).count())
    }

    /// The ports of this generation.
    fn ports(&self) -> String {
        let first = FIRST + PORTS * self.generation;
        format!("{first}-{}", first + PORTS - 1)
    }

    fn use_ports(&self) -> Result<()> {
        let script = format!("echo '{}' >/proc/sys/net/ipv4/ip_local_port_range", self.ports().replace('-', " "));
        command::run(self.command("sh").args(["-c", &script])).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
