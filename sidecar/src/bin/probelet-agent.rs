//! The exec agent: runs a container's exec probes from within, for the sidecar.

use std::process::ExitCode;

fn main() -> ExitCode {
    probelet_sidecar::agent::main(std::env::args_os().skip(1).collect())
}
