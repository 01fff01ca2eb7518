//! The ConfigMap, read at start and again as it changes. What cannot be used leaves what holds in force, and says so.

use super::file::Live;
use super::{Settings, SettingsError};
use crate::client::{CallError, WATCH_SECONDS, within};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::pin::pin;
use tokio::sync::watch;
use tracing::{error, info, warn};

const KEY: &str = "config.yaml";

/// What to start with: the ConfigMap where the API server gives it, else flags.
///
/// # Errors
/// [`SettingsError`] where the settings cannot be used.
pub async fn first(client: &Client, settings: &Settings) -> Result<Live, SettingsError> {
    match read(client, settings).await {
        Ok(text) => Live::read(settings, &text),
        Err(error) => {
            warn!(config_map = %settings.config_map, %error, "started without the ConfigMap");
            Live::of_flags(settings)
        }
    }
}

async fn read(client: &Client, settings: &Settings) -> Result<String, CallError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &settings.namespace);
    Ok(text(within(api.get_opt(&settings.config_map)).await?.as_ref()))
}

/// Follows the ConfigMap until the process ends.
pub async fn follow(client: Client, settings: Settings, live: watch::Sender<Live>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &settings.namespace);
    let fields = format!("metadata.name={}", settings.config_map);
    let config = watcher::Config::default().fields(&fields).timeout(WATCH_SECONDS);
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut present = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => present = false,
            Ok(watcher::Event::InitApply(found) | watcher::Event::Apply(found)) => {
                present = true;
                apply(&settings, &text(Some(&found)), &live);
            }
            Ok(watcher::Event::InitDone) if present => {}
            Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => apply(&settings, "", &live),
            Err(error) => warn!(%error, config_map = %settings.config_map, "watching the ConfigMap"),
        }
    }
}

fn text(found: Option<&ConfigMap>) -> String {
    found.and_then(|found| found.data.as_ref()?.get(KEY).cloned()).unwrap_or_default()
}

fn apply(settings: &Settings, text: &str, live: &watch::Sender<Live>) {
    match Live::read(settings, text) {
        Ok(read) => {
            let changed = live.send_if_modified(|now| {
                let differs = *now != read;
                *now = read;
                differs
            });
            if changed {
                info!(config_map = %settings.config_map, "settings reloaded");
            }
        }
        Err(error) => {
            for problem in error.problems {
                error!(config_map = %settings.config_map, problem, "settings not reloaded, those before stay in force");
            }
        }
    }
}
