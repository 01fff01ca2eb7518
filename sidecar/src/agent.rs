//! The program `probelet-agent`: std and rustix only, since every container with an exec probe pays for it.
//!
//! `install` copies it to the shared volume (an init container, once a Pod), `start` leaves it running in a target
//! container (its `postStart`), `serve` is what is left running; `look` is for the application.

mod expand;
mod hook;
mod install;
mod look;
mod run;
mod serve;
mod start;

use probelet_protocol::agent::AgentStart;
use probelet_protocol::name::AGENT_DIR;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
The exec agent of probelet: runs exec probes in their container.

  probelet-agent install DIR
      copies this program to DIR/probelet-agent, mode 0555 (init container)
  probelet-agent start --container NAME --key KEY --dir DIR [HOOK]
      leaves the agent running and returns at once (postStart); HOOK is the container's own postStart:
      --http-get PORT PATH [--host HOST] [--header NAME VALUE]... | --sleep SECONDS | --tcp-socket | -- COMMAND...
  probelet-agent look [PROBE [DIR]]
      asks the sidecar to run this probe, or all of them, now; DIR is /.probelet
  probelet-agent --version | --help
";

/// Runs the program; `arguments` without its own path. Exits with 2 for arguments that it does not know, with 1 where
/// it failed, else as the container's own hook.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let mut words = arguments.iter();
    match words.next().and_then(|word| word.to_str()) {
        Some("install") => match words.next() {
            Some(dir) => told(install::install(&PathBuf::from(dir))),
            None => usage("install: argument DIR is missing"),
        },
        Some("start") => match words.map(|word| word.clone().into_string()).collect::<Result<Vec<_>, _>>() {
            Ok(words) => match AgentStart::parse(words) {
                Ok(start) => start::start(&start),
                Err(error) => usage(&format!("start: {error}")),
            },
            Err(word) => usage(&format!("start: argument {word:?} is not UTF-8")),
        },
        Some("look") => {
            let mut word = || words.next().map(|word| word.to_string_lossy().into_owned());
            let probe = word().unwrap_or_default();
            told(look::look(&word().unwrap_or_else(|| AGENT_DIR.to_owned()), &probe))
        }
        Some("serve") => told(serve::serve()),
        Some("--version" | "-V") => print(concat!("probelet-agent ", env!("CARGO_PKG_VERSION"), "\n")),
        Some("--help" | "-h" | "help") => print(HELP),
        other => usage(&format!("unknown command {:?}", other.unwrap_or_default())),
    }
}

/// Without std's buffers, which are linked for nobody else here.
fn print(text: &str) -> ExitCode {
    match rustix::io::write(rustix::stdio::stdout(), text.as_bytes()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn told(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probelet-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(error: &str) -> ExitCode {
    eprintln!("probelet-agent: {error}\n{HELP}");
    ExitCode::from(2)
}
