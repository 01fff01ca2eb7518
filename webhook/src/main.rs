//! `probelet-webhook`: the admission server and the cold-path controllers in one process.

fn main() {}
