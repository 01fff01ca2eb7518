//! What the index of admission does not hold of PodProbeMarkers: their status.

use probelet_protocol::marker::PodProbeMarkerStatus;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By namespace and name.
#[derive(Debug, Default)]
pub struct Statuses {
    markers: Mutex<HashMap<(String, String), PodProbeMarkerStatus>>,
}

// === impl Statuses ===

impl Statuses {
    /// A marker's status was seen, or written; `None` where it has none.
    pub fn set(&self, namespace: &str, name: &str, status: Option<PodProbeMarkerStatus>) {
        let key = (namespace.to_owned(), name.to_owned());
        match status {
            Some(status) => self.lock().insert(key, status),
            None => self.lock().remove(&key),
        };
    }

    /// A marker's status as it was last seen.
    pub fn get(&self, namespace: &str, name: &str) -> Option<PodProbeMarkerStatus> {
        self.lock().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), PodProbeMarkerStatus>> {
        self.markers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
