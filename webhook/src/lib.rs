//! Probelet's webhook: admission (inject, validate, bind), its own certificates, and the cold path that is nobody's hot path.

pub mod cluster;
pub mod config;
pub mod image;
pub mod limit_range;
pub mod node;
pub mod patch;
pub mod placement;
pub mod pod;
pub mod quantity;
pub mod resource;
pub mod select;
pub mod skip;
pub mod syntax;
