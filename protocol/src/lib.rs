//! The contract that the webhook and the sidecar share: names, the PodProbeMarker types, and the annotations through
//! which a Pod carries its plan. No I/O, no clock, no client: only values and their text forms.

pub mod agent;
pub mod environment;
pub mod limit;
pub mod marker;
pub mod name;
pub mod plan;
pub mod port;
pub mod probe;
pub mod setting;
pub mod writes;
