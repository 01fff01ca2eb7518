//! The webhook's binary against a real API server, with the rights and policies that the chart gives it.

mod api;
mod certificates;
mod leader;
mod markers;
mod replica;
mod settings;
