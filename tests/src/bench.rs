//! Benches: each prints its figure beside that of the thing it is compared with, measured in the same run.

pub mod application;
pub mod figure;
pub mod footprint;
pub mod heal;
pub mod kinds;
pub mod local;
pub mod mark;
pub mod plan;
pub mod sight;
pub mod target;
pub mod usage;
