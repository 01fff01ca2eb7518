//! `caBundle` of the webhook's registrations: filled at start, filled again within seconds when somebody empties it
//! (fault F5), left alone where cert-manager fills it.

use crate::client::{CallError, WATCH_SECONDS, within};
use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{info, warn};

/// cert-manager's injector owns the bundle of a registration with one of these annotations.
const INJECTOR_ANNOTATIONS: [&str; 3] =
    ["cert-manager.io/inject-ca-from", "cert-manager.io/inject-ca-from-secret", "cert-manager.io/inject-apiserver-ca"];

const RETRY: Duration = Duration::from_secs(1);
/// One who empties the bundle again and again is answered this often at most (threat T18).
const SLOWEST: Duration = Duration::from_secs(10);
const CALM: Duration = Duration::from_secs(60);

/// How far the registrations are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Installed {
    /// Not looked yet, or something is missing: says what.
    #[default]
    Unknown,
    /// This is missing.
    Missing(String),
    /// All of them carry this bundle.
    Bundle(String),
    /// They are filled by somebody else: cert-manager's injector, or whoever wrote them.
    Elsewhere,
}

/// What both kinds of registration have.
trait Registration: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// Name and bundle of each webhook.
    fn webhooks(&self) -> Vec<(&str, Option<&[u8]>)>;
}

/// Keeps the bundle in both registrations of one name.
pub struct Installer {
    mutating: Api<MutatingWebhookConfiguration>,
    validating: Api<ValidatingWebhookConfiguration>,
    name: String,
    bundle: watch::Receiver<Option<String>>,
    installed: watch::Sender<Installed>,
    paces: [Pace; 2],
}

/// Spaces out repairs that follow one another.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    wait: Duration,
}

// === impl Installer ===

impl Installer {
    /// `bundle` is what should be there, empty where that is somebody else's matter; `installed` is told what is.
    pub fn new(
        client: Client,
        name: String,
        bundle: watch::Receiver<Option<String>>,
        installed: watch::Sender<Installed>,
    ) -> Self {
        let (mutating, validating) = (Api::all(client.clone()), Api::all(client));
        Self { mutating, validating, name, bundle, installed, paces: Default::default() }
    }

    /// Runs until the process ends.
    pub async fn run(mut self) {
        let mut changes = stream::select(
            Box::pin(changes(self.mutating.clone(), &self.name)),
            Box::pin(changes(self.validating.clone(), &self.name)),
        );
        loop {
            let wait = self.look().await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Ok(()) = self.bundle.changed() => {}
                Some(()) = changes.next() => {}
            }
        }
    }

    async fn look(&mut self) -> Duration {
        let Some(bundle) = self.bundle.borrow_and_update().clone() else { return CALM };
        let mutating = install(&self.mutating, &self.name, &bundle, &mut self.paces[0]).await;
        let validating = install(&self.validating, &self.name, &bundle, &mut self.paces[1]).await;
        let (installed, wait) = match (mutating, validating) {
            (Ok(None), _) => {
                let missing = format!("MutatingWebhookConfiguration {} does not exist", self.name);
                (Installed::Missing(missing), SLOWEST)
            }
            (Ok(Some(true)), Ok(None | Some(true))) => (Installed::Bundle(bundle), CALM),
            (Ok(_), Ok(_)) => (Installed::Elsewhere, CALM),
            (Err(error), _) | (_, Err(error)) => {
                warn!(registration = %self.name, %error, "caBundle not looked after");
                (Installed::Missing(error.to_string()), RETRY)
            }
        };
        self.installed.send_if_modified(|before| {
            let differs = *before != installed;
            *before = installed;
            differs
        });
        wait
    }
}

/// Whether the registration exists, and whether it now carries our bundle (else the injector's).
async fn install<K: Registration>(
    api: &Api<K>,
    name: &str,
    bundle: &str,
    pace: &mut Pace,
) -> Result<Option<bool>, CallError> {
    let Some(found) = within(api.get_opt(name)).await? else { return Ok(None) };
    if bundle.is_empty() || found.annotations().keys().any(|key| INJECTOR_ANNOTATIONS.contains(&key.as_str())) {
        return Ok(Some(false));
    }
    let Some(patch) = patch(&found.webhooks(), bundle) else { return Ok(Some(true)) };
    tokio::time::sleep(pace.next(Instant::now())).await;
    let params = PatchParams {
        field_manager: Some(probelet_protocol::name::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    within(api.patch(name, &params, &Patch::Strategic(patch))).await?;
    info!(kind = %K::kind(&()), registration = name, "caBundle filled");
    Ok(Some(true))
}

/// A strategic merge patch that changes nothing but the bundle of those webhooks that lack it; webhooks merge by name.
fn patch(webhooks: &[(&str, Option<&[u8]>)], bundle: &str) -> Option<Value> {
    let encoded = serde_json::to_value(k8s_openapi::ByteString(bundle.as_bytes().to_vec())).ok()?;
    let lacking: Vec<_> = webhooks
        .iter()
        .filter(|(_, found)| *found != Some(bundle.as_bytes()))
        .map(|(name, _)| json!({ "name": name, "clientConfig": { "caBundle": encoded } }))
        .collect();
    (!lacking.is_empty()).then(|| json!({ "webhooks": lacking }))
}

fn changes<K: Registration>(api: Api<K>, name: &str) -> impl Stream<Item = ()> + use<K> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
    watcher(api, config).default_backoff().filter_map(async |event| match event {
        // Also when everything has been listed: what changed between our look and that would never be told.
        Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => Some(()),
        Ok(_) => None,
        Err(error) => {
            warn!(%error, kind = %K::kind(&()), "watching the webhook's registration");
            None
        }
    })
}

// === impl Installed ===

impl Installed {
    /// Whether the API server trusts this bundle, as far as can be known.
    pub fn has(&self, bundle: &str) -> bool {
        match self {
            Self::Bundle(installed) => installed == bundle,
            Self::Elsewhere => true,
            Self::Unknown | Self::Missing(_) => false,
        }
    }

    /// What readiness waits for, if anything.
    pub fn missing(&self) -> Option<&str> {
        match self {
            Self::Unknown => Some("caBundle not looked at yet"),
            Self::Missing(what) => Some(what),
            Self::Bundle(_) | Self::Elsewhere => None,
        }
    }
}

// === impl Pace ===

impl Pace {
    /// How long to wait before the repair that is due now.
    fn next(&mut self, now: Instant) -> Duration {
        let calm = self.last.is_none_or(|last| now.duration_since(last) > CALM);
        self.wait = if calm { Duration::ZERO } else { (self.wait * 2).clamp(Duration::from_millis(200), SLOWEST) };
        self.last = Some(now + self.wait);
        self.wait
    }
}

// === impl Registration ===

impl Registration for MutatingWebhookConfiguration {
    fn webhooks(&self) -> Vec<(&str, Option<&[u8]>)> {
        let webhooks = self.webhooks.iter().flatten();
        webhooks
            .map(|hook| (hook.name.as_str(), hook.client_config.ca_bundle.as_ref().map(|it| it.0.as_slice())))
            .collect()
    }
}

impl Registration for ValidatingWebhookConfiguration {
    fn webhooks(&self) -> Vec<(&str, Option<&[u8]>)> {
        let webhooks = self.webhooks.iter().flatten();
        webhooks
            .map(|hook| (hook.name.as_str(), hook.client_config.ca_bundle.as_ref().map(|it| it.0.as_slice())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_webhooks_that_lack_the_bundle_are_patched() {
        let patch = patch(&[("a", Some(b"B")), ("b", None), ("c", Some(b"old"))], "B").expect("patch");
        assert_eq!(
            patch,
            json!({"webhooks": [
                {"name": "b", "clientConfig": {"caBundle": "Qg=="}},
                {"name": "c", "clientConfig": {"caBundle": "Qg=="}},
            ]})
        );
        assert_eq!(super::patch(&[("a", Some(b"B"))], "B"), None);
        assert_eq!(super::patch(&[], "B"), None);
    }

    #[test]
    fn a_first_repair_is_immediate_and_a_fight_slows_down() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = pace.next(now);
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(waits, [0, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        assert_eq!(pace.next(now + Duration::from_secs(61)), Duration::ZERO);
    }

    #[test]
    fn a_bundle_counts_only_where_it_is_the_same() {
        assert!(Installed::Bundle("a".into()).has("a"));
        assert!(!Installed::Bundle("a".into()).has("b"));
        assert!(Installed::Elsewhere.has("b"));
        assert!(!Installed::Missing("x".into()).has("a"));
        assert_eq!(Installed::Unknown.missing(), Some("caBundle not looked at yet"));
    }
}
