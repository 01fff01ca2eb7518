//! Readiness as handles: each part that others must wait for holds one, and says why it is not ready yet.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is not ready. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    waiting: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

/// One thing that readiness waits for, until [`Gate::open`].
#[derive(Debug)]
pub struct Gate {
    health: Health,
    name: &'static str,
}

// === impl Health ===

impl Health {
    /// One more thing to wait for; `name` is what a person reads in `/readyz`.
    pub fn gate(&self, name: &'static str) -> Gate {
        let gate = Gate { health: self.clone(), name };
        gate.wait("waiting");
        gate
    }

    /// What is waited for, with the reasons; empty: ready.
    pub fn waiting(&self) -> BTreeMap<&'static str, String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `/readyz` (200, or 503 with a line for each thing waited for) and `/livez` (200 while requests are answered at all).
    pub fn router(&self) -> Router {
        Router::new().route("/readyz", get(ready)).route("/livez", get(async || "ok\n")).with_state(self.clone())
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    let waiting = health.waiting();
    if waiting.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, waiting.iter().map(|(name, why)| format!("{name}: {why}\n")).collect())
}

// === impl Gate ===

impl Gate {
    /// Still not ready, for this reason.
    pub fn wait(&self, why: impl Into<String>) {
        self.health.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name, why.into());
    }

    /// Ready, from now on.
    pub fn open(&self) {
        self.health.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_gate_is_open() {
        let health = Health::default();
        let (tls, caches) = (health.gate("tls"), health.gate("caches"));
        tls.open();
        caches.wait("nodes not listed");
        assert_eq!(health.waiting(), BTreeMap::from([("caches", "nodes not listed".to_owned())]));
        caches.open();
        assert!(health.waiting().is_empty());
    }
}
