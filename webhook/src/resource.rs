//! The sidecar's requests and limits: the Pod keeps its QoS class, and the namespace's LimitRanges are met.

use crate::limit_range::Bounds;
use crate::pod::{Pod, name};
use crate::quantity::{Quantity, QuantityError};
use probelet_protocol::name::{AGENT_CONTAINER, OWN_PREFIX, SIDECAR_CONTAINER};
use probelet_protocol::setting::Settings;
use serde_json::{Map, Value, json};

mod total;
pub use total::is_within;

/// What settings ask for; unset ones are chosen by the Pod's QoS class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    cpu: Pair,
    memory: Pair,
}

/// A request and a limit of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pair {
    request: Option<Quantity>,
    limit: Option<Quantity>,
}

/// A resource setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Not a quantity.
    #[error("annotation probelet.io/{key}: {source}")]
    Malformed {
        /// The setting's name.
        key: &'static str,
        /// What is allowed.
        source: QuantityError,
    },
    /// Below zero.
    #[error("annotation probelet.io/{0}: must not be negative")]
    Negative(&'static str),
    /// The API server would refuse the Pod.
    #[error("annotation probelet.io/{0}-request: must not be larger than probelet.io/{0}-limit")]
    RequestAboveLimit(&'static str),
}

/// kubernetes/kubernetes:pkg/apis/core/v1/helper/qos/qos.go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosClass {
    /// Every container's requests equal its limits, for CPU and memory.
    Guaranteed,
    /// Something in between.
    Burstable,
    /// No requests and no limits at all.
    BestEffort,
    /// The Pod itself has requests or limits (`spec.resources`), and its class with it.
    PodLevel,
}

/// What a container gets where nothing is asked for. Measured: 2.5 MiB resident and 0.2 % of a core at most; the limit
/// leaves room for bursts, the CPU of a Guaranteed Pod for a TLS handshake.
struct Usual {
    resource: &'static str,
    request: &'static str,
    limit: &'static str,
    guaranteed: &'static str,
    /// Whether a Burstable Pod's sidecar has this limit unless the Pod's containers have it too.
    limited: bool,
}

const CPU: Usual = Usual { resource: "cpu", request: "5m", limit: "100m", guaranteed: "20m", limited: false };
const MEMORY: Usual = Usual { resource: "memory", request: "8Mi", limit: "32Mi", guaranteed: "16Mi", limited: true };

// === impl Wanted ===

impl Wanted {
    /// Reads the settings.
    ///
    /// # Errors
    /// Every [`ResourceError`] at once.
    pub fn of(settings: &Settings) -> Result<Self, Vec<ResourceError>> {
        let mut errors = Vec::new();
        let mut read = |key: &'static str, text: &Option<String>| {
            let quantity = text.as_ref()?.parse::<Quantity>();
            match quantity {
                Ok(quantity) if quantity >= Quantity::default() => return Some(quantity),
                Ok(_) => errors.push(ResourceError::Negative(key)),
                Err(source) => errors.push(ResourceError::Malformed { key, source }),
            }
            None
        };
        let cpu =
            Pair { request: read("cpu-request", &settings.cpu_request), limit: read("cpu-limit", &settings.cpu_limit) };
        let memory = Pair {
            request: read("memory-request", &settings.memory_request),
            limit: read("memory-limit", &settings.memory_limit),
        };
        for (resource, pair) in [("cpu", cpu), ("memory", memory)] {
            if let (Some(request), Some(limit)) = (pair.request, pair.limit)
                && request > limit
            {
                errors.push(ResourceError::RequestAboveLimit(resource));
            }
        }
        if errors.is_empty() { Ok(Self { cpu, memory }) } else { Err(errors) }
    }

    /// `resources` of a container that is added to a Pod; `None`: it must have none.
    pub fn resolve(&self, pod: &Pod, bounds: &[Bounds; 2]) -> Option<Value> {
        let class = QosClass::of(pod);
        if matches!(class, QosClass::BestEffort | QosClass::PodLevel) {
            return None;
        }
        let mut requests = Map::new();
        let mut limits = Map::new();
        for ((usual, wanted), bounds) in [(CPU, self.cpu), (MEMORY, self.memory)].into_iter().zip(bounds) {
            let pair = if class == QosClass::Guaranteed {
                wanted.guaranteed(&usual, bounds)
            } else {
                let limited = usual.limited
                    || all_have_limit(users(pod), usual.resource)
                    || bounds.has_pod_bound() && all_have_limit(plain_users(pod), usual.resource);
                wanted.burstable(&usual, limited, bounds)
            };
            for (map, quantity) in [(&mut requests, pair.request), (&mut limits, pair.limit)] {
                map.extend(quantity.map(|quantity| (usual.resource.to_owned(), quantity.to_string().into())));
            }
        }
        Some(if limits.is_empty() {
            json!({ "requests": requests })
        } else {
            json!({ "requests": requests, "limits": limits })
        })
    }
}

// === impl Pair ===

impl Pair {
    fn guaranteed(self, usual: &Usual, bounds: &Bounds) -> Self {
        let wanted = self.limit.or(self.request).filter(|quantity| quantity.is_positive());
        let both = Some(bounds.clamp(wanted.unwrap_or_else(|| known(usual.guaranteed))));
        Self { request: both, limit: both }
    }

    fn burstable(self, usual: &Usual, limited: bool, bounds: &Bounds) -> Self {
        let request = bounds.clamp(self.request.unwrap_or_else(|| {
            // A limit below the usual request lowers the request.
            self.limit.map_or(known(usual.request), |limit| limit.min(known(usual.request)))
        }));
        let limit = match self.limit {
            Some(limit) => Some(limit),
            None if limited || bounds.needs_limit() => Some(known(usual.limit)),
            None => None,
        };
        let Some(limit) = limit.map(|limit| bounds.clamp(limit.max(request))) else {
            return Self { request: Some(request), limit: None };
        };
        let request = bounds.smallest_request(limit).map_or(request, |smallest| smallest.max(request)).min(limit);
        Self { request: Some(request), limit: Some(limit) }
    }
}

// === impl QosClass ===

impl QosClass {
    /// A Pod's class without what was injected.
    pub fn of(pod: &Pod) -> Self {
        let level = pod.spec.get("resources");
        if level.is_some_and(|resources| {
            ["requests", "limits"]
                .iter()
                .any(|field| resources.get(field).and_then(Value::as_object).is_some_and(|map| !map.is_empty()))
        }) {
            return Self::PodLevel;
        }
        let mut any = false;
        let mut guaranteed = true;
        for container in users(pod) {
            for resource in ["cpu", "memory"] {
                let limit = amount(container, "limits", resource);
                // The API server fills in a missing request; a Pod that did not pass it yet may lack it.
                let request = amount(container, "requests", resource).or(limit);
                let (request, limit) =
                    (request.filter(|amount| amount.is_positive()), limit.filter(|amount| amount.is_positive()));
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && request == limit;
            }
        }
        match (any, guaranteed) {
            (false, _) => Self::BestEffort,
            (true, true) => Self::Guaranteed,
            (true, false) => Self::Burstable,
        }
    }
}

/// Settings of the Pod's own that its class leaves no room for.
pub fn unused<'a>(pod: &Pod, settings: impl Iterator<Item = &'a String>) -> Option<String> {
    let keys: Vec<_> = settings
        .filter(|key| ["-request", "-limit"].iter().any(|end| key.starts_with(OWN_PREFIX) && key.ends_with(end)))
        .map(String::as_str)
        .collect();
    let class = match QosClass::of(pod) {
        _ if keys.is_empty() => return None,
        QosClass::BestEffort => "the Pod would lose its QoS class BestEffort",
        QosClass::PodLevel => "the Pod has resources of its own",
        QosClass::Guaranteed | QosClass::Burstable => return None,
    };
    Some(format!("annotation {}: not applied, {class}", keys.join(", ")))
}

/// A ResourceQuota on limits refuses Pods with any container that has none, so where all have one, the new one gets it.
fn all_have_limit<'a>(mut containers: impl Iterator<Item = &'a Value>, resource: &str) -> bool {
    containers.all(|container| amount(container, "limits", resource).is_some())
}

fn users(pod: &Pod) -> impl Iterator<Item = &Value> {
    plain_users(pod).chain(pod.init_containers().iter().filter(is_user))
}

/// Without init containers, which older LimitRangers leave out of the Pod's sum.
fn plain_users(pod: &Pod) -> impl Iterator<Item = &Value> {
    pod.containers().iter().filter(is_user)
}

fn is_user(container: &&Value) -> bool {
    ![SIDECAR_CONTAINER, AGENT_CONTAINER].contains(&name(container))
}

fn amount(container: &Value, field: &str, resource: &str) -> Option<Quantity> {
    match container.get("resources")?.get(field)?.get(resource)? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// A constant of this file.
fn known(text: &'static str) -> Quantity {
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests;
