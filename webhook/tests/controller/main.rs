//! The webhook's binary against a real API server, with the rights and policies that the chart gives it.

mod api;
mod calls;
mod certificates;
mod evictions;
mod leader;
mod markers;
mod matching;
#[path = "../edge/mount.rs"]
mod mount;
mod proxy;
mod replica;
mod restart;
mod rights;
mod settings;
