//! `make demo`, after the cluster is up and probelet is installed.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match probelet_tests::demo::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
