//! Benches: each prints its figure beside that of the thing it is compared with, measured in the same run.

pub mod admission;
pub mod application;
pub mod bare;
pub mod caller;
pub mod create;
pub mod edit;
pub mod figure;
pub mod footprint;
pub mod heal;
pub mod kinds;
pub mod latency;
pub mod local;
pub mod mark;
pub mod plan;
pub mod replica;
pub mod request;
pub mod review;
pub mod sight;
pub mod target;
pub mod town;
pub mod usage;
