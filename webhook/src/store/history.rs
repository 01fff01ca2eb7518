//! What the index of admission does not hold of PodProbeMarkers: their status, and selectors that they had before.

use probelet_protocol::marker::{LabelSelector, PodProbeMarkerStatus};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Selectors that are remembered for each marker.
const MOST: usize = 8;

/// By namespace and name.
#[derive(Debug, Default)]
pub struct History {
    markers: Mutex<HashMap<(String, String), Past>>,
}

#[derive(Debug, Default)]
struct Past {
    selectors: Vec<LabelSelector>,
    status: Option<PodProbeMarkerStatus>,
}

// === impl History ===

impl History {
    /// A marker had this selector until now.
    pub fn deselected(&self, namespace: &str, name: &str, selector: LabelSelector) {
        let mut markers = self.lock();
        let selectors = &mut markers.entry((namespace.to_owned(), name.to_owned())).or_default().selectors;
        if !selectors.contains(&selector) {
            selectors.push(selector);
        }
        if selectors.len() > MOST {
            selectors.remove(0);
        }
    }

    /// Whether a marker once selected Pods with these labels: then a Pod that has it on its list need not have named it.
    pub fn has_selected(&self, namespace: &str, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let markers = self.lock();
        let past = markers.get(&(namespace.to_owned(), name.to_owned()));
        past.is_some_and(|past| past.selectors.iter().any(|selector| selector.matches(labels)))
    }

    /// A marker's status was seen.
    pub fn set_status(&self, namespace: &str, name: &str, status: Option<PodProbeMarkerStatus>) {
        self.lock().entry((namespace.to_owned(), name.to_owned())).or_default().status = status;
    }

    /// A marker's status as it was last seen.
    pub fn status(&self, namespace: &str, name: &str) -> Option<PodProbeMarkerStatus> {
        self.lock().get(&(namespace.to_owned(), name.to_owned()))?.status.clone()
    }

    /// A marker is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Past>> {
        self.markers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
