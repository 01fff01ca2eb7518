//! `make bench`, the webhook's part: its binary beside a bare server and a bare client, on an API server of its own.

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use probelet_tests::bench::edit::{self, Crowd};
use probelet_tests::bench::town::Town;
use probelet_tests::bench::{admission, create};
use probelet_tests::lab::Lab;
use std::path::{Path, PathBuf};

/// Measures the webhook: a review over TLS, the creation of Pods, the edit of a marker, memory.
#[derive(Parser)]
struct Arguments {
    /// The webhook's binary; the one in the lab's image where left out.
    #[arg(long)]
    webhook: Option<PathBuf>,
    /// Which parts; all where left out.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Reviews of the shortest series.
    #[arg(long, default_value_t = 20_000)]
    reviews: usize,
    /// Pods that are created each way.
    #[arg(long, default_value_t = 500)]
    creations: usize,
    /// Running Pods whose marker is edited.
    #[arg(long, default_value_t = 5_000)]
    pods: usize,
    /// Pods of other markers beside them.
    #[arg(long, default_value_t = 5_000)]
    others: usize,
    /// Markers in all.
    #[arg(long, default_value_t = 500)]
    markers: usize,
    /// Numbers of workers that are tried.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3, 5, 8, 16])]
    workers: Vec<usize>,
    /// Be the bare server (for this program itself).
    #[arg(long, hide = true)]
    bare: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A review over TLS.
    Review,
    /// Creation of Pods.
    Create,
    /// Memory with many Pods, and the edit of a marker.
    Edit,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(bare) = &arguments.bare {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(admission::serve_bare(bare));
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(&arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let packed = || Lab::from_env().map(|lab| lab.layout().path("stage/webhook/build/out/probelet-webhook"));
    let binary = arguments.webhook.clone().map_or_else(packed, Ok)?;
    let binary: &Path = &binary;
    let size = std::fs::metadata(binary).with_context(|| format!("--webhook: {}", binary.display()))?.len();
    println!("webhook: {}, {size} bytes", binary.display());
    let wants = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let town = Town::found().await?;
    if wants(Part::Review) {
        admission::run(&town, binary, arguments.reviews).await?;
    }
    if wants(Part::Create) {
        create::run(&town, binary, arguments.creations).await?;
    }
    if wants(Part::Edit) {
        let crowd = Crowd { edited: arguments.pods, others: arguments.others, markers: arguments.markers };
        edit::run(&town, binary, crowd, &arguments.workers).await?;
    }
    Ok(())
}
