//! The sidecar's binary.

fn main() {}
