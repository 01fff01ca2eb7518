//! How fast overwritten marks are put back, on the cluster's own virtual nodes.

use anyhow::Result;
use clap::Parser;
use probelet_tests::bench::heal;
use probelet_tests::bench::heal::case::Mode;

/// Measures healing in both styles of virtual nodes, in patch-only and in watch mode, beside a bare client's, a war, and the
/// same with the shield.
/// 200 overwrites a row: `--pods 10 --rounds 20`, which takes 15 minutes.
#[derive(Parser)]
struct Arguments {
    /// Pods of each style and mode.
    #[arg(long, default_value_t = 4)]
    pods: usize,
    /// Transitions of each Pod, 37 s apart.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Only these modes.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Mode::Patch, Mode::Watch, Mode::Bare])]
    only: Vec<Mode>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { pods, rounds, only } = Arguments::parse();
    heal::run(heal::Settings { pods, rounds, modes: only }).await
}
