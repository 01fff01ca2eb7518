//! The process: what is started in which order, and how it ends.

use crate::certificate::bundle::{Installed, Installer};
use crate::certificate::directory::{self, Directory};
use crate::certificate::secret::{Keeper, Place};
use crate::certificate::tls::{Served, server_config};
use crate::certificate::{CertificateError, PEM_BYTES, parse_certificates};
use crate::client::{ClientError, connect};
use crate::cluster::Cluster;
use crate::controller::{self, Context};
use crate::health::{Gate, Health};
use crate::lease::Term;
use crate::lease::elect::Candidate;
use crate::log::Verbosity;
use crate::metric::Metrics;
use crate::route::{self, Admission};
use crate::server::{BindError, Limits, Phase, Server};
use crate::settings::file::Live;
use crate::settings::{Settings, SettingsError, reload};
use crate::store::Store;
use axum::Router;
use axum::routing::get;
use kube::Client;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// Why the process cannot start.
#[derive(Debug, Error)]
pub enum RunError {
    /// Settings that cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No way to the API server.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An address that cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The CAs of callers cannot be read.
    #[error("--client-ca: reading {path}: {source}")]
    ClientAuthority {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The CAs of callers cannot be used.
    #[error("--client-ca: {0}")]
    ClientCertificate(#[from] CertificateError),
    /// TLS cannot be set up.
    #[error("setting up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Signals cannot be listened to.
    #[error("waiting for signals: {0}")]
    Signal(#[source] std::io::Error),
}

/// What parts of the process share.
struct Parts {
    settings: Settings,
    client: Client,
    live: watch::Receiver<Live>,
    health: Health,
    metrics: Arc<Metrics>,
    store: Store,
}

impl RunError {
    /// What the process exits with: 2 where the person who set it up has to change something, 1 else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::ClientAuthority { .. } | Self::ClientCertificate(_) => 2,
            _ => 1,
        }
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`RunError`] where it cannot start.
pub async fn run(settings: Settings, verbosity: Verbosity) -> Result<(), RunError> {
    let mut terminated = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let served = Served::default();
    let tls = server_config(&served, client_authorities(&settings)?.as_deref())?;
    let https = Server::bind("listen", settings.listen, Some(tls), Limits::default()).await?;
    let http =
        Server::bind("admin-listen", settings.admin_listen, None, Limits { connections: 256, ..Limits::default() })
            .await?;
    let client = connect().await?;
    let first = reload::first(&client, &settings).await?;
    verbosity.set(first.log_level);
    let (live_out, live) = watch::channel(first);
    let health = Health::default();
    let metrics = Arc::new(Metrics::new());
    let store = Store::new(client.clone(), Arc::new(Cluster::new()), Arc::clone(&metrics), health.gate("caches"));
    let parts = Parts { settings, client, live, health, metrics, store };
    parts.keep_certificates(served);
    parts.store.spawn(parts.live.clone());
    tokio::spawn(reload::follow(parts.client.clone(), parts.settings.clone(), live_out));
    tokio::spawn(follow_level(parts.live.clone(), verbosity));
    let (phase_out, phase) = watch::channel(Phase::Open);
    let admission = tokio::spawn(https.serve(parts.admission(), phase.clone()));
    let (stop_out, stop) = watch::channel(false);
    let election = parts.start_controllers(stop);
    let (admin_out, admin_phase) = watch::channel(Phase::Open);
    let admin = tokio::spawn(http.serve(parts.admin(), admin_phase));
    info!(listen = %parts.settings.listen, workers = %parts.live.borrow().workers, "started");
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    // Endpoints are removed while requests still come: not ready at once, but open until they have stopped. Callers that
    // keep connections are asked to leave from now on: they would not look at endpoints again by themselves.
    let drain = parts.settings.drain;
    info!(drain = %humantime::format_duration(drain), "stopping");
    parts.health.gate("process").wait("stopping");
    phase_out.send_replace(Phase::Draining);
    // Another replica takes over at once; controllers have nothing to wait for.
    stop_out.send_replace(true);
    tokio::time::sleep(drain).await;
    phase_out.send_replace(Phase::Closing);
    let _ = admission.await;
    let _ = election.await;
    admin_out.send_replace(Phase::Closing);
    let _ = admin.await;
    info!("stopped");
    Ok(())
}

fn client_authorities(settings: &Settings) -> Result<Option<Vec<crate::certificate::Certificate>>, RunError> {
    let Some(path) = &settings.client_ca else { return Ok(None) };
    let pem = std::fs::read(path).map_err(|source| RunError::ClientAuthority { path: path.clone(), source })?;
    if pem.len() > PEM_BYTES {
        return Err(CertificateError::TooLarge { what: "the file", bytes: pem.len() }.into());
    }
    Ok(Some(parse_certificates("the file", &pem)?))
}

async fn follow_level(mut live: watch::Receiver<Live>, verbosity: Verbosity) {
    while live.changed().await.is_ok() {
        verbosity.set(live.borrow_and_update().log_level);
    }
}

// === impl Parts ===

impl Parts {
    /// Our own certificates, or somebody else's; and the CA in the registrations either way.
    fn keep_certificates(&self, served: Served) {
        let (bundle_out, bundle) = watch::channel(None);
        let (installed_out, installed) = watch::channel(Installed::default());
        let (expiry_out, expiry) = watch::channel(None);
        tokio::spawn(follow_expiry(expiry, Arc::clone(&self.metrics), self.health.gate("certificate")));
        let settings = &self.settings;
        if let Some(path) = &settings.cert_dir {
            let directory = Directory::new(path.clone(), served, bundle_out, expiry_out);
            let directory = directory.signed_by(settings.ca_bundle.clone());
            tokio::spawn(directory.run(directory::TICK));
        } else {
            let place = Place {
                namespace: settings.namespace.clone(),
                name: settings.tls_secret.clone(),
                names: settings.names.clone(),
                validity: settings.validity,
            };
            let keeper = Keeper::new(self.client.clone(), place, served, bundle_out, installed.clone(), expiry_out);
            tokio::spawn(keeper.run());
        }
        let name = settings.webhook_configuration.clone();
        tokio::spawn(Installer::new(self.client.clone(), name, bundle, installed_out).run());
        tokio::spawn(follow_installed(installed, self.health.gate("registration")));
    }

    /// Elects a leader, whose controllers run. The handle ends when the Lease has been given back.
    fn start_controllers(&self, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        let context = Context {
            client: self.client.clone(),
            settings: self.settings.clone(),
            live: self.live.clone(),
            store: self.store.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        if !self.settings.leader_elect {
            let (leads_out, leads) = watch::channel(true);
            let running = tokio::spawn(controller::run(context, Term::forever(), leads));
            return tokio::spawn(async move {
                let mut stop = stop;
                let _ = stop.wait_for(|stop| *stop).await;
                leads_out.send_replace(false);
                running.abort();
            });
        }
        let (leads_out, leads) = watch::channel(false);
        let settings = &self.settings;
        let candidate = Candidate::new(self.client.clone(), &settings.namespace, &settings.lease, leads_out);
        tokio::spawn(controller::run(context, candidate.term(), leads));
        tokio::spawn(candidate.run(stop))
    }

    fn admin(&self) -> Router {
        let metrics = Arc::clone(&self.metrics);
        let text = async move || ([("content-type", "application/openmetrics-text; version=1.0.0")], metrics.text());
        self.health.router().route("/metrics", get(text))
    }

    fn admission(&self) -> Router {
        let (cluster, metrics) = (Arc::clone(self.store.cluster()), Arc::clone(&self.metrics));
        route::router(Admission { cluster, live: self.live.clone(), metrics })
    }
}

async fn follow_expiry(mut expiry: watch::Receiver<Option<SystemTime>>, metrics: Arc<Metrics>, gate: Gate) {
    loop {
        let at = *expiry.borrow_and_update();
        if let Some(at) = at {
            metrics.expires(at);
            gate.open();
        }
        if expiry.changed().await.is_err() {
            return;
        }
    }
}

/// Holds readiness back until the API server can call for the first time. Later troubles are told, but an unready
/// replica would not cure them.
async fn follow_installed(mut installed: watch::Receiver<Installed>, gate: Gate) {
    let mut opened = false;
    loop {
        match installed.borrow_and_update().missing() {
            None => {
                gate.open();
                opened = true;
            }
            Some(missing) if opened => warn!(missing, "the API server may not be able to call the webhook"),
            Some(missing) => gate.wait(missing),
        }
        if installed.changed().await.is_err() {
            return;
        }
    }
}
