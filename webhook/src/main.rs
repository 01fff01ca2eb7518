//! `probelet-webhook`: the admission server and the cold-path controllers in one process.

use clap::Parser;
use probelet_webhook::flag::Flags;
use probelet_webhook::log;
use probelet_webhook::run::{RunError, run};
use probelet_webhook::settings::Settings;
use std::process::ExitCode;

// Reviews are many small pieces that live for a millisecond; musl's own allocator takes eight times as long for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn start() -> Result<(), RunError> {
    let settings = Settings::try_new(&Flags::parse())?;
    let verbosity = log::init(settings.log_format, settings.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Signal)?;
    runtime.block_on(run(settings, verbosity))
}
