//! Probelet's webhook: admission (inject, validate, bind), its own certificates, and the cold path that is nobody's hot path.

pub mod certificate;
pub mod client;
pub mod cluster;
pub mod config;
pub mod flag;
pub mod health;
pub mod image;
pub mod limit_range;
pub mod log;
pub mod metric;
pub mod node;
pub mod owned;
pub mod patch;
pub mod placement;
pub mod pod;
pub mod quantity;
pub mod resource;
pub mod run;
pub mod select;
pub mod server;
pub mod settings;
pub mod skip;
pub mod store;
pub mod syntax;
