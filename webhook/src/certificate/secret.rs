//! Our own certificates in one Secret, shared by all replicas. Whoever is first makes them; the resource version keeps
//! two replicas from renewing at once, so no leader is needed.

use super::bundle::Installed;
use super::plan::{self, Step};
use super::tls::Served;
use super::{CertificateError, Material, Parsed, Validity, create, renew};
use crate::client::{CallError, WATCH_SECONDS, within};
use futures_util::{Stream, StreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

/// Longest time without looking at the Secret, should the watch be deaf.
const LOOK: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Which Secret, and what goes into it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its namespace: our own.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// DNS names and IP addresses of the serving certificate.
    pub names: Vec<String>,
    /// How long certificates are valid.
    pub validity: Validity,
}

/// Keeps one Secret, and serves what it holds.
pub struct Keeper {
    api: Api<Secret>,
    place: Place,
    served: Served,
    bundle: watch::Sender<Option<String>>,
    installed: watch::Receiver<Installed>,
    expiry: watch::Sender<Option<SystemTime>>,
    last: Option<Material>,
}

#[derive(Debug, Error)]
enum KeepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

// === impl Keeper ===

impl Keeper {
    /// `bundle` gets the CAs that the registrations need, `expiry` when the served certificate ends.
    pub fn new(
        client: Client,
        place: Place,
        served: Served,
        bundle: watch::Sender<Option<String>>,
        installed: watch::Receiver<Installed>,
        expiry: watch::Sender<Option<SystemTime>>,
    ) -> Self {
        let api = Api::namespaced(client, &place.namespace);
        Self { api, place, served, bundle, installed, expiry, last: None }
    }

    /// Runs until the process ends.
    pub async fn run(mut self) {
        let mut changes = Box::pin(changes(self.api.clone(), &self.place.name));
        let mut retry = FIRST_RETRY;
        loop {
            let wait = match self.look().await {
                Ok(until) => {
                    retry = FIRST_RETRY;
                    until.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO).clamp(FIRST_RETRY, LOOK)
                }
                Err(KeepError::Call(error)) if error.is_conflict() => Duration::ZERO,
                Err(error) => {
                    warn!(secret = %self.place.name, %error, "certificates not looked after");
                    retry = (retry * 2).min(LONGEST_RETRY);
                    retry
                }
            };
            let deadline = Instant::now() + wait;
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = changed(&mut changes) => {}
                Ok(()) = self.installed.changed() => {}
            }
        }
    }

    /// Reads the Secret, takes at most one step, serves the result. Tells when to look again.
    async fn look(&mut self) -> Result<SystemTime, KeepError> {
        let now = SystemTime::now();
        let (secret, material) = self.stored(now).await?;
        self.publish(&material)?;
        let installed = self.installed.borrow().has(&material.bundle);
        match plan::next(&material, now, &self.place.names, self.place.validity, installed) {
            Step::Keep { until } => Ok(until),
            step => {
                let renewed = renew(&material, step, now, &self.place.names, self.place.validity)?;
                self.store(Some(secret), &renewed).await?;
                info!(?step, secret = %self.place.name, "certificates renewed");
                self.publish(&renewed)?;
                Ok(now)
            }
        }
    }

    /// What the Secret holds; where that is nothing, or nothing usable, what it holds from now on.
    async fn stored(&self, now: SystemTime) -> Result<(Secret, Material), KeepError> {
        let secret = within(self.api.get_opt(&self.place.name)).await?;
        if let Some(secret) = &secret {
            match Material::parse(&data(secret)) {
                Ok(material) => return Ok((secret.clone(), material)),
                Err(error) if data(secret).values().all(Vec::is_empty) => drop(error),
                Err(error) => error!(secret = %self.place.name, %error, "unusable certificates are replaced"),
            }
        }
        // What the API server trusts already is better than anything new.
        let material = match &self.last {
            Some(last) => last.clone(),
            None => create(now, &self.place.names, self.place.validity)?,
        };
        let secret = self.store(secret, &material).await?;
        info!(secret = %self.place.name, namespace = %self.place.namespace, "certificates stored");
        Ok((secret, material))
    }

    async fn store(&self, before: Option<Secret>, material: &Material) -> Result<Secret, CallError> {
        let params = PostParams {
            field_manager: Some(probelet_protocol::name::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let exists = before.is_some();
        let mut secret = before.unwrap_or_else(|| Secret { metadata: self.metadata(), ..Secret::default() });
        secret.data = Some(material.to_data().into_iter().map(|(key, value)| (key, ByteString(value))).collect());
        if exists {
            within(self.api.replace(&self.place.name, &params, &secret)).await
        } else {
            within(self.api.create(&params, &secret)).await
        }
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.place.name.clone()),
            namespace: Some(self.place.namespace.clone()),
            labels: Some(crate::owned::labels()),
            ..ObjectMeta::default()
        }
    }

    fn publish(&mut self, material: &Material) -> Result<(), CertificateError> {
        let changed = self.last.as_ref().is_none_or(|last| last.serving != material.serving);
        if changed {
            let parsed = Parsed::new(material.serving_chain.as_bytes(), material.serving_key.as_bytes())?;
            self.served.set(&parsed)?;
            let until = humantime::format_rfc3339_seconds(material.serving.not_after);
            info!(%until, "serving certificate in use");
        }
        self.expiry.send_replace(Some(material.serving.not_after));
        self.bundle.send_if_modified(|bundle| {
            let differs = bundle.as_ref() != Some(&material.bundle);
            *bundle = Some(material.bundle.clone());
            differs
        });
        self.last = Some(material.clone());
        Ok(())
    }
}

fn data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn changes(api: Api<Secret>, name: &str) -> impl Stream<Item = ()> + use<> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
    watcher(api, config).default_backoff().filter_map(async |event| match event {
        // Also when everything has been listed: what changed between our look and that would never be told.
        Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => Some(()),
        Ok(_) => None,
        Err(error) => {
            warn!(%error, "watching the certificates' Secret");
            None
        }
    })
}

async fn changed(changes: &mut (impl Stream<Item = ()> + Unpin)) {
    if changes.next().await.is_none() {
        sleep(LOOK).await;
    }
}
