//! The ground that probelet's end-to-end tests, demo and benches stand on: a real cluster made on
//! this machine ([`lab`]) or one that the user names, the images and the chart put into it
//! ([`deploy`]), and what a test needs to speak with it ([`cluster`], [`space`], [`pod`], [`exec`],
//! [`audit`]).

pub mod audit;
pub mod bench;
pub mod binary;
mod checklist;
pub mod client;
pub mod cluster;
pub mod command;
pub mod demo;
pub mod deploy;
pub mod diagnosis;
pub mod exec;
pub mod exposed;
pub mod history;
pub mod image;
pub mod key;
pub mod lab;
pub mod marker;
pub mod namespace;
pub mod plane;
pub mod pod;
pub mod progress;
pub mod space;
pub mod wait;

use std::path::{Path, PathBuf};

/// The root of the work tree: the one that the current folder is in, else the one that this crate was compiled
/// from. Work trees that share a target folder share the program too, so the second alone is not enough.
pub fn work_tree() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here.ancestors().find(|dir| dir.join("tests/lab/kubernetes/go.mod").is_file());
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR"));
    found.or(compiled.parent()).unwrap_or(compiled).to_owned()
}
