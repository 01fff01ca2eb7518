//! core/v1 `LimitRangeItem`, as far as it bounds a container that is added to a Pod
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

/// What all items together say of one resource of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    min: Option<Quantity>,
    max: Option<Quantity>,
    ratio: Option<Quantity>,
    has_default_limit: bool,
}

impl Bounds {
    /// Bounds of CPU and of memory, the tightest of all items for containers.
    pub fn of<'a>(items: impl Iterator<Item = &'a LimitRangeItem>) -> [Self; 2] {
        let mut all = [Self::default(), Self::default()];
        for item in items.filter(|item| item.kind == "Container") {
            for (bounds, resource) in all.iter_mut().zip(["cpu", "memory"]) {
                bounds.tighten(item, resource);
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

    /// The smallest request that the ratio allows beside a limit.
    pub fn smallest_request(&self, limit: Quantity) -> Option<Quantity> {
        limit.divided_up(self.ratio?)
    }

    fn tighten(&mut self, item: &LimitRangeItem, resource: &str) {
        let read = |map: &BTreeMap<String, String>| map.get(resource).and_then(|text| text.parse::<Quantity>().ok());
        self.min = self.min.max(read(&item.min));
        self.max = smaller(self.max, read(&item.max));
        self.ratio = smaller(self.ratio, read(&item.max_limit_request_ratio));
        self.has_default_limit |= item.default.contains_key(resource);
    }
}

fn smaller(a: Option<Quantity>, b: Option<Quantity>) -> Option<Quantity> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
