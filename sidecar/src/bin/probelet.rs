//! The sidecar's binary: arguments, settings, log, runtime. Exit codes: 0 told to stop or nothing left to do, 1 could not
//! start, 2 bad settings or a bad plan.

use probelet_sidecar::config::{Config, ConfigError, help};
use probelet_sidecar::{log, sidecar};
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-h") => {
            print!("{}", help(sidecar::VERSION));
            return ExitCode::SUCCESS;
        }
        Some("--version" | "-V") => {
            println!("probelet {}", sidecar::VERSION);
            return ExitCode::SUCCESS;
        }
        Some(argument) => {
            eprintln!("probelet: {argument:?}: no such argument; there are --help and --version");
            return ExitCode::from(2);
        }
        None => {}
    }
    match Config::from_env(|name| std::env::var(name).ok()) {
        Ok(config) => run(config),
        Err(errors) => refuse(&errors),
    }
}

fn run(config: Config) -> ExitCode {
    log::start(config.log_level, config.log_format);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(sidecar::StartError::Signal).and_then(|runtime| {
        let ended = runtime.block_on(sidecar::run(config));
        // A thread that waits for a resolver may wait for ten seconds more; dropped, the runtime would wait for it.
        std::mem::forget(runtime);
        ended
    });
    match ended {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "probelet cannot start");
            ExitCode::FAILURE
        }
    }
}

fn refuse(errors: &[ConfigError]) -> ExitCode {
    for error in errors {
        eprintln!("probelet: {error}");
    }
    ExitCode::from(2)
}
