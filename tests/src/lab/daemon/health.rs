//! How a program of the lab shows that it works, as seen from inside the lab.

use crate::lab::isolation::Isolation;
use anyhow::{Result, bail};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(2);

/// The sign of health.
#[derive(Clone, Debug)]
pub enum Health {
    /// A GET on a port of the lab's 127.0.0.1 answers 200.
    Http {
        /// The port.
        port: u16,
        /// The path.
        path: &'static str,
    },
    /// A port of the lab takes connections.
    Port(u16),
    /// A unix socket takes connections.
    Socket(PathBuf),
    /// The API server calls itself ready on that port, asked by the administrator's kubeconfig.
    ApiServer {
        /// The port.
        port: u16,
        /// The administrator's.
        kubeconfig: PathBuf,
    },
}

impl Health {
    /// Looks once.
    pub fn is_good(&self, isolation: &Isolation) -> bool {
        match self {
            Health::Socket(path) => UnixStream::connect(path).is_ok(),
            Health::Port(port) => within(isolation, || connect(*port).is_some()),
            Health::Http { port, path } => within(isolation, || get(*port, path)),
            Health::ApiServer { kubeconfig, .. } => crate::lab::api::is_ready(kubeconfig),
        }
    }

    /// What it means that it is not good, after "runs, but".
    pub fn complaint(&self) -> String {
        match self {
            Health::Socket(path) => format!("did not listen on {}", path.display()),
            Health::Port(port) => format!("did not listen on port {port}"),
            Health::Http { port, path } => format!("did not answer 200 on port {port}{path}"),
            Health::ApiServer { port, .. } => format!("did not call itself ready on port {port}"),
        }
    }

    /// An error when someone else listens where the program is about to.
    pub fn assert_free(&self, isolation: &Isolation, name: &str) -> Result<()> {
        let port = match self {
            Health::Socket(_) => return Ok(()),
            Health::Port(port) | Health::Http { port, .. } | Health::ApiServer { port, .. } => *port,
        };
        if !within(isolation, || connect(port).is_some()) {
            return Ok(());
        }
        let filter = format!("sport = :{port}");
        let holder = isolation.run("ss", &["-Hltnp", &filter]).unwrap_or_default();
        let holder = holder.split("users:").nth(1).unwrap_or("unknown").trim();
        bail!(
            "{name} cannot start: port {port} in the lab's network is taken by process {holder}. End \
             that process and run `make lab` again; `make lab-down` ends everything in the lab"
        )
    }
}

fn within(isolation: &Isolation, look: impl FnOnce() -> bool + Send) -> bool {
    isolation.within(look).unwrap_or(false)
}

fn connect(port: u16) -> Option<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, LOOK).ok()
}

fn get(port: u16, path: &str) -> bool {
    let ask = || -> Option<String> {
        let mut stream = connect(port)?;
        stream.set_read_timeout(Some(LOOK)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).ok()?;
        String::from_utf8(head.to_vec()).ok()
    };
    ask().is_some_and(|head| head.ends_with(" 200"))
}
