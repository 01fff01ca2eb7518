//! `status` of PodProbeMarkers where no OpenKruise keeps it: others wait for it, kruise-game among them
//! (openkruise/kruise:pkg/controller/podprobemarker/pod_probe_marker_controller.go).

use super::Context;
use super::pods::Pods;
use super::writer::{WriteError, Writer, patch};
use crate::client::within;
use crate::queue::Outcome;
use crate::queue::pool::Work;
use crate::settings::MarkerStatus;
use crate::store::{MarkerView, Store};
use kube::api::Patch;
use kube::{Api, Client};
use probelet_protocol::marker::{GROUP, PodProbeMarkerStatus, VERSION};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// OpenKruise serves this kind beside PodProbeMarker; our chart does not.
const KRUISE_ONLY: &str = "nodepodprobes";
/// How long an answer about OpenKruise counts.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How soon Pods are counted again where they have not been listed yet.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Looks after statuses.
pub struct Statuses {
    store: Store,
    client: Client,
    keeps: MarkerStatus,
    writer: Arc<Writer>,
    pods: Arc<Pods>,
    kruise: Mutex<Option<(bool, Instant)>>,
}

// === impl Statuses ===

impl Statuses {
    /// Counts the Pods of this index.
    pub fn new(context: &Context, writer: Arc<Writer>, pods: Arc<Pods>) -> Self {
        let (store, client) = (context.store.clone(), context.client.clone());
        Self { store, client, keeps: context.settings.marker_status, writer, pods, kruise: Mutex::default() }
    }

    async fn is_ours(&self) -> Result<bool, WriteError> {
        match self.keeps {
            MarkerStatus::Always => Ok(true),
            MarkerStatus::Never => Ok(false),
            MarkerStatus::Auto => {
                let known = *self.kruise.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((kruise, at)) = known
                    && at.elapsed() < ASK_AGAIN
                {
                    return Ok(!kruise);
                }
                let kinds = within(self.client.list_api_group_resources(&format!("{GROUP}/{VERSION}"))).await?;
                let kruise = kinds.resources.iter().any(|kind| kind.name == KRUISE_ONLY);
                *self.kruise.lock().unwrap_or_else(PoisonError::into_inner) = Some((kruise, Instant::now()));
                Ok(!kruise)
            }
        }
    }
}

impl Work for Statuses {
    type Key = (String, String);
    type Error = WriteError;
    const NAME: &'static str = "podprobemarkers";

    async fn work(&self, (namespace, name): &Self::Key) -> Result<Outcome, WriteError> {
        if !self.is_ours().await? {
            return Ok(Outcome::Done);
        }
        let Some(known) = self.store.cluster().namespace(namespace) else { return Ok(Outcome::Done) };
        let Some(marker) = known.markers.get(name) else { return Ok(Outcome::Done) };
        let matched = self.pods.count(namespace, |view| view.injected && !view.over && view.has_marker(name));
        let wanted = PodProbeMarkerStatus {
            observed_generation: marker.generation,
            // In a namespace that is not opted in there is none, and no list of Pods either.
            matched_pods: matched.and_then(|count| i64::try_from(count).ok()).unwrap_or_default(),
        };
        let again = if matched.is_none() && is_enabled(&known) { Outcome::Again(LOOK_AGAIN) } else { Outcome::Done };
        if again != Outcome::Done || self.store.statuses().get(namespace, name).as_ref() == Some(&wanted) {
            return Ok(again);
        }
        let api: Api<MarkerView> = Api::namespaced(self.writer.client.clone(), namespace);
        let body = Patch::Merge(json!({ "status": {
            "observedGeneration": wanted.observed_generation, "matchedPods": wanted.matched_pods } }));
        match self.writer.write(api.patch_status(name, &patch(), &body)).await {
            Ok(_) => self.store.statuses().set(namespace, name, Some(wanted)),
            Err(WriteError::Call(error)) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
        Ok(Outcome::Done)
    }
}

fn is_enabled(namespace: &crate::cluster::Namespace) -> bool {
    use probelet_protocol::name::{INJECT_ENABLED, INJECT_LABEL};
    namespace.label(INJECT_LABEL) == Some(INJECT_ENABLED)
}
