//! The ground that probelet's end-to-end tests, demo and benches stand on: a real cluster made on
//! this machine ([`lab`]) or one that the user names, the images and the chart put into it
//! ([`deploy`]), and what a test needs to speak with it ([`cluster`], [`space`], [`pod`], [`exec`],
//! [`audit`]).

pub mod audit;
pub mod bench;
pub mod binary;
pub mod cluster;
pub mod command;
pub mod demo;
pub mod deploy;
pub mod diagnosis;
pub mod exec;
pub mod image;
pub mod key;
pub mod lab;
pub mod marker;
pub mod pod;
pub mod progress;
pub mod space;
pub mod wait;

use std::path::PathBuf;

/// The root of the work tree that this crate was compiled from.
pub fn work_tree() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().map_or(tests.clone(), PathBuf::from)
}
