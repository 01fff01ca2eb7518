//! The server: owns the health, and opens and closes the TCP listener with it.

use crate::control::{self, Request};
use crate::health::{Health, Switch};
use crate::{grpc, http, tls};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::net::{Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How the server was started.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Port of the HTTP server; 0 for none.
    pub(crate) http: u16,
    /// Port of the same over TLS.
    pub(crate) https: Option<u16>,
    /// Port of gRPC's health service.
    pub(crate) grpc: Option<u16>,
    /// Whether there is a health service on it.
    pub(crate) has_grpc_health: bool,
    /// Port that is listened on while healthy.
    pub(crate) tcp: Option<u16>,
    /// Name of the socket that takes orders.
    pub(crate) name: String,
    pub(crate) health: Health,
    pub(crate) exit_after: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: 8080,
            https: None,
            grpc: None,
            has_grpc_health: true,
            tcp: None,
            name: std::env::var("TEST_APP_NAME").unwrap_or_else(|_| "test-app".to_owned()),
            health: Health::Healthy,
            exit_after: None,
        }
    }
}

/// Serves until a signal, an order or `--exit-after` ends the program.
pub(crate) fn run(settings: Settings) -> Result<(), String> {
    let healthy = Arc::new(AtomicBool::new(settings.health == Health::Healthy));
    let control = control::listen(&settings.name)?;
    open_servers(&settings, &healthy)?;
    end_on_signal()?;
    if let Some(delay) = settings.exit_after {
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            println!("done after {} s", delay.as_secs());
            std::process::exit(0);
        });
    }
    let mut last = Switch::now(settings.health);
    let mut tcp = open(&settings, settings.health)?;
    println!("serving, {}", last.json());
    control::answer(&control, |request| match request {
        Request::Tell => last.json(),
        Request::Exit(code) => std::process::exit(code.into()),
        Request::Set(health) => {
            last = Switch::now(health);
            healthy.store(health == Health::Healthy, Ordering::SeqCst);
            // The old listener goes first: its port is needed again.
            tcp.take();
            match open(&settings, health) {
                Ok(listener) => tcp = listener,
                Err(message) => eprintln!("{message}"),
            }
            println!("switched, {}", last.json());
            last.json()
        }
    });
    Ok(())
}

/// The servers that stay open, whatever the health.
fn open_servers(settings: &Settings, healthy: &Arc<AtomicBool>) -> Result<(), String> {
    let state = Arc::new(http::State { healthy: Arc::clone(healthy), is_marked: AtomicBool::new(false) });
    if settings.http != 0 {
        let (listener, state) = (listen(settings.http)?, Arc::clone(&state));
        std::thread::spawn(move || http::serve(&listener, &state));
    }
    if let Some(port) = settings.https {
        let (listener, config) = (listen(port)?, tls::config()?);
        std::thread::spawn(move || tls::serve(&listener, &config, &state));
    }
    if let Some(port) = settings.grpc {
        let services = grpc::Services { healthy: Arc::clone(healthy), has_health: settings.has_grpc_health };
        let listener = listen(port)?;
        std::thread::spawn(move || grpc::serve(&listener, &services));
    }
    Ok(())
}

/// The TCP port, where there is one and the health allows it. Nobody accepts: the kernel's queue of
/// connections is enough for a probe, which connects and hangs up.
fn open(settings: &Settings, health: Health) -> Result<Option<Drain>, String> {
    match settings.tcp {
        Some(port) if health == Health::Healthy => Drain::open(port).map(Some),
        _ => Ok(None),
    }
}

/// A listener whose connections are taken and dropped by a thread that ends with it.
struct Drain {
    closing: Arc<AtomicBool>,
    port: u16,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drain {
    fn open(port: u16) -> Result<Self, String> {
        let listener = listen(port)?;
        let closing = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&closing);
        let thread = std::thread::spawn(move || {
            for _ in listener.incoming() {
                if flag.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        Ok(Self { closing, port, thread: Some(thread) })
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the thread out of accept.
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Listens on IPv4 and IPv6, or on IPv4 alone where the Pod has no IPv6.
fn listen(port: u16) -> Result<TcpListener, String> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind(("0.0.0.0", port)))
        .map_err(|error| format!("cannot listen on port {port}: {error}"))
}

fn end_on_signal() -> Result<(), String> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])
        .map_err(|error| format!("cannot watch signals: {error}"))?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(0);
        }
    });
    Ok(())
}
