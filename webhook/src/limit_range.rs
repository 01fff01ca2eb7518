//! core/v1 `LimitRangeItem`, as far as it bounds a container that is added to a Pod, or the Pod's sum with it
//! (kubernetes/kubernetes:plugin/pkg/admission/limitranger/admission.go).

use crate::quantity::Quantity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One item of a LimitRange's `spec.limits`, quantities as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LimitRangeItem {
    /// `Container`, `Pod` or `PersistentVolumeClaim`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Smallest request.
    pub min: BTreeMap<String, String>,
    /// Largest limit.
    pub max: BTreeMap<String, String>,
    /// Limit of a container that has none.
    pub default: BTreeMap<String, String>,
    /// Request of a container that has none.
    pub default_request: BTreeMap<String, String>,
    /// Largest limit as a multiple of the request.
    pub max_limit_request_ratio: BTreeMap<String, String>,
}

/// What all items together say of one resource: of one container, and of the Pod's sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    min: Option<Quantity>,
    max: Option<Quantity>,
    ratio: Option<Quantity>,
    has_default_limit: bool,
    pod_max: Option<Quantity>,
    pod_ratio: Option<Quantity>,
}

impl Bounds {
    /// Bounds of CPU and of memory, the tightest of all items.
    pub fn of<'a>(items: impl Iterator<Item = &'a LimitRangeItem>) -> [Self; 2] {
        let mut all = [Self::default(), Self::default()];
        for item in items {
            for (bounds, resource) in all.iter_mut().zip(["cpu", "memory"]) {
                match item.kind.as_str() {
                    "Container" => bounds.tighten(item, resource),
                    "Pod" => bounds.tighten_pod(item, resource),
                    _ => {}
                }
            }
        }
        all
    }

    /// The nearest amount within the bounds; where they contradict each other the larger one, as too small a request
    /// may be refused and too large a limit is refused in any case.
    pub fn clamp(&self, amount: Quantity) -> Quantity {
        let amount = self.max.map_or(amount, |max| amount.min(max));
        self.min.map_or(amount, |min| amount.max(min))
    }

    /// Whether a container without limit gets one, or is refused.
    pub fn needs_limit(&self) -> bool {
        self.has_default_limit || self.max.is_some() || self.ratio.is_some()
    }

    /// Whether the sum of the Pod's limits is bounded: then a container without limit may leave the Pod without a sum.
    pub fn has_pod_bound(&self) -> bool {
        self.pod_max.is_some() || self.pod_ratio.is_some()
    }

    /// Whether a Pod's sums keep within its bounds. One without limit does not.
    pub fn allows_pod(&self, request: Option<Quantity>, limit: Option<Quantity>) -> bool {
        let keeps_max = |max| limit.is_some_and(|limit| limit <= max) && request.is_none_or(|request| request <= max);
        let keeps_ratio = |ratio| {
            let positive = |amount: Option<Quantity>| amount.filter(|amount| amount.is_positive());
            let (Some(request), Some(limit)) = (positive(request), positive(limit)) else { return false };
            limit.divided_up(ratio).is_none_or(|smallest| smallest <= request)
        };
        self.pod_max.is_none_or(keeps_max) && self.pod_ratio.is_none_or(keeps_ratio)
    }

    /// The smallest request that the ratios allow beside a limit. A Pod that keeps its ratio still does with a container
    /// that keeps it too.
    pub fn smallest_request(&self, limit: Quantity) -> Option<Quantity> {
        limit.divided_up(smaller(self.ratio, self.pod_ratio)?)
    }

    fn tighten(&mut self, item: &LimitRangeItem, resource: &str) {
        self.min = self.min.max(read(&item.min, resource));
        self.max = smaller(self.max, read(&item.max, resource));
        self.ratio = smaller(self.ratio, read(&item.max_limit_request_ratio, resource));
        self.has_default_limit |= item.default.contains_key(resource);
    }

    /// A smallest sum is kept by adding to it.
    fn tighten_pod(&mut self, item: &LimitRangeItem, resource: &str) {
        self.pod_max = smaller(self.pod_max, read(&item.max, resource));
        self.pod_ratio = smaller(self.pod_ratio, read(&item.max_limit_request_ratio, resource));
    }
}

fn read(map: &BTreeMap<String, String>, resource: &str) -> Option<Quantity> {
    map.get(resource)?.parse().ok()
}

fn smaller(a: Option<Quantity>, b: Option<Quantity>) -> Option<Quantity> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
