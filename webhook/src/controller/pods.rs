//! Pods of opted-in namespaces, a few hundred bytes each: what is alike in many Pods is kept once.

use crate::config::VirtualNodes;
use crate::pod::{Metadata, Pod};
use crate::view::{kind, lean};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use probelet_protocol::name::{
    INJECTED_ANNOTATION, MARKER_LIST_ANNOTATION, OWN_PREFIX, PLAN_ANNOTATION, SIDECAR_CONTAINER, WRITES_ANNOTATION,
};
use probelet_protocol::writes::Writes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

/// Texts that nobody uses any more are dropped after so many new ones.
const SWEEP: usize = 1024;
/// A Pod as the API server sends it.
#[derive(Clone, Debug, Deserialize)]
pub struct PodWire {
    #[serde(deserialize_with = "lean")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SpecWire,
    #[serde(default)]
    status: StatusWire,
}

/// What placement, the merge of plans and the choice of resources look at; a Pod's spec is mostly something else.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecWire {
    #[serde(skip_serializing_if = "Value::is_null")]
    affinity: Value,
    containers: Option<Vec<ContainerWire>>,
    init_containers: Option<Vec<ContainerWire>>,
    #[serde(skip_serializing_if = "Value::is_null")]
    node_name: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    node_selector: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    os: Value,
    #[serde(skip_serializing_if = "is_empty")]
    resources: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    runtime_class_name: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    scheduler_name: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    tolerations: Value,
    volumes: Option<Vec<VolumeWire>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerWire {
    name: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    ports: Value,
    #[serde(skip_serializing_if = "is_empty")]
    resources: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct VolumeWire {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct StatusWire {
    phase: Option<String>,
    conditions: Option<Vec<ConditionWire>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ConditionWire {
    r#type: String,
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_none_or(serde_json::Map::is_empty)
}

kind!(PodWire, NamespaceResourceScope, "", "v1", "Pod", "pods");

/// A Pod as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// Whether it has our sidecar.
    pub injected: bool,
    /// Whether it has ended or is being deleted.
    pub over: bool,
    /// `kruise.io/podprobemarker-list`.
    pub markers: Arc<str>,
    /// JSON of its labels.
    labels: Box<str>,
    /// JSON of the annotations that matter.
    annotations: Arc<str>,
    /// JSON of the parts of the spec that matter.
    spec: Arc<str>,
    /// Which of the names in `probelet.io/writes` are on the Pod.
    present: Arc<str>,
}

/// Which Pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// All Pods of the namespaces that are watched.
#[derive(Debug, Default)]
pub struct Pods {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    namespaces: HashMap<Arc<str>, HashMap<Arc<str>, Arc<PodView>>>,
    listed: HashSet<Arc<str>>,
    texts: HashSet<Arc<str>>,
    added: usize,
}

// === impl PodWire ===

impl PodWire {
    /// Which Pod it is.
    pub fn key(&self) -> PodKey {
        PodKey {
            namespace: self.metadata.namespace.as_deref().unwrap_or_default().into(),
            name: self.metadata.name.as_deref().unwrap_or_default().into(),
        }
    }

    fn view(self, rules: &VirtualNodes, intern: &mut impl FnMut(String) -> Arc<str>) -> PodView {
        let annotations = self.metadata.annotations.unwrap_or_default();
        let labels = self.metadata.labels.unwrap_or_default();
        let writes: Writes = annotations.get(WRITES_ANNOTATION).and_then(|text| text.parse().ok()).unwrap_or_default();
        let conditions: BTreeSet<_> =
            self.status.conditions.into_iter().flatten().map(|condition| condition.r#type).collect();
        let present = Writes {
            conditions: writes.conditions.into_iter().filter(|kind| conditions.contains(kind)).collect(),
            labels: writes.labels.into_iter().filter(|key| labels.contains_key(key)).collect(),
            annotations: writes.annotations.into_iter().filter(|key| annotations.contains_key(key)).collect(),
        };
        let containers = self.spec.containers.iter().chain(&self.spec.init_containers).flatten();
        let has_sidecar = containers.into_iter().any(|container| container.name == SIDECAR_CONTAINER);
        let phase = self.status.phase.unwrap_or_default();
        let kept: BTreeMap<_, _> = annotations.iter().filter(|(key, _)| matters(key, rules)).collect();
        PodView {
            uid: self.metadata.uid.unwrap_or_default().into(),
            injected: has_sidecar && annotations.contains_key(INJECTED_ANNOTATION),
            over: self.metadata.deletion_timestamp.is_some() || phase == "Succeeded" || phase == "Failed",
            markers: intern(annotations.get(MARKER_LIST_ANNOTATION).cloned().unwrap_or_default()),
            labels: json!(labels).to_string().into(),
            annotations: intern(json!(kept).to_string()),
            spec: intern(json!(self.spec).to_string()),
            present: intern(present.to_string()),
        }
    }
}

fn matters(key: &str, rules: &VirtualNodes) -> bool {
    key.starts_with(OWN_PREFIX)
        || [PLAN_ANNOTATION, MARKER_LIST_ANNOTATION, "kubernetes.io/config.mirror"].contains(&key)
        || rules.pods.iter().any(|rule| rule.annotation.as_ref().is_some_and(|wanted| wanted.key == key))
}

// === impl PodView ===

impl PodView {
    /// The Pod as admission's rules read it, as far as they look.
    pub fn pod(&self, key: &PodKey) -> Pod {
        // All of it was written by ourselves a moment ago.
        let read = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Pod {
            metadata: Metadata {
                name: Some(key.name.to_string()),
                namespace: Some(key.namespace.to_string()),
                labels: self.labels(),
                annotations: Some(read(&self.annotations)),
                ..Metadata::default()
            },
            spec: serde_json::from_str(&self.spec).unwrap_or_default(),
        }
    }

    /// Its labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        serde_json::from_str(&self.labels).unwrap_or_default()
    }

    /// Which names of `probelet.io/writes` are on it.
    pub fn present(&self) -> Writes {
        self.present.parse().unwrap_or_default()
    }

    /// Whether a marker is on its list.
    pub fn has_marker(&self, name: &str) -> bool {
        self.markers.split(',').any(|marker| marker.trim() == name)
    }
}

// === impl Pods ===

impl Pods {
    /// A Pod was seen; tells whether anything that matters is new, and the view before.
    pub fn set(&self, wire: PodWire, rules: &VirtualNodes) -> (bool, Option<Arc<PodView>>) {
        let key = wire.key();
        let mut inner = self.write();
        let view = Arc::new(wire.view(rules, &mut |text| inner.intern(text)));
        let before = inner.namespaces.entry(key.namespace).or_default().insert(key.name, Arc::clone(&view));
        (before.as_ref() != Some(&view), before)
    }

    /// A Pod is gone.
    pub fn remove(&self, key: &PodKey) -> Option<Arc<PodView>> {
        self.write().namespaces.get_mut(&key.namespace)?.remove(&key.name)
    }

    /// All Pods of a namespace have been listed; those that were not are gone.
    pub fn listed(&self, namespace: &str, names: &HashSet<Arc<str>>) {
        let mut inner = self.write();
        if let Some(pods) = inner.namespaces.get_mut(namespace) {
            pods.retain(|name, _| names.contains(name));
        }
        inner.listed.insert(namespace.into());
    }

    /// A namespace is not watched any more.
    pub fn forget(&self, namespace: &str) {
        let mut inner = self.write();
        inner.namespaces.remove(namespace);
        inner.listed.remove(namespace);
    }

    /// A Pod as it was last seen.
    pub fn get(&self, key: &PodKey) -> Option<Arc<PodView>> {
        self.read().namespaces.get(&key.namespace)?.get(&key.name).cloned()
    }

    /// Which Pods a namespace has.
    pub fn keys(&self, namespace: &str) -> impl Iterator<Item = PodKey> + use<> {
        let inner = self.read();
        let found = inner.namespaces.get_key_value(namespace);
        let keys: Vec<_> = found
            .into_iter()
            .flat_map(|(namespace, pods)| {
                pods.keys().map(|name| PodKey { namespace: Arc::clone(namespace), name: Arc::clone(name) })
            })
            .collect();
        keys.into_iter()
    }

    /// How many Pods of a namespace are so; `None` before they have been listed.
    pub fn count(&self, namespace: &str, wanted: impl Fn(&PodView) -> bool) -> Option<usize> {
        let inner = self.read();
        inner.listed.contains(namespace).then(|| {
            inner.namespaces.get(namespace).map_or(0, |pods| pods.values().filter(|view| wanted(view)).count())
        })
    }

    /// How many Pods there are.
    pub fn len(&self) -> usize {
        self.read().namespaces.values().map(HashMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn intern(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.texts.get(text.as_str()) {
            return Arc::clone(known);
        }
        self.added += 1;
        if self.added.is_multiple_of(SWEEP) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }
}

#[cfg(test)]
mod tests;
