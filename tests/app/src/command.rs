//! The command line.

use crate::control::{self, Request};
use crate::health::Health;
use crate::{process, serve};
use std::process::ExitCode;
use std::time::Duration;

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Serve(serve::Settings),
    Ask(Ask),
    Check(Ask),
    Hang { is_alone: bool },
    Processes,
}

/// An order for a server, and how long to wait until there is one.
#[derive(Debug)]
pub(crate) struct Ask {
    server: String,
    request: Request,
    wait: Duration,
}

/// Reads the arguments; the error names the one that is wrong.
pub(crate) fn parse(arguments: &[String]) -> Result<Command, String> {
    let (name, rest) = arguments.split_first().ok_or("a command is needed")?;
    let mut settings = serve::Settings::default();
    let mut code = 1;
    let (mut wait, mut is_alone) = (Duration::ZERO, false);
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--http" => settings.http = number(argument, value()?)?,
            "--tcp" => settings.tcp = Some(number(argument, value()?)?),
            "--https" => settings.https = Some(number(argument, value()?)?),
            "--grpc" => settings.grpc = Some(number(argument, value()?)?),
            "--no-grpc-health" => settings.has_grpc_health = false,
            "--wait" => wait = Duration::from_secs(number(argument, value()?)?),
            "--alone" => is_alone = true,
            "--name" => settings.name = value()?.to_owned(),
            "--unhealthy" => settings.health = Health::Failing,
            "--exit-after" => {
                settings.exit_after = Some(Duration::from_secs(number(argument, value()?)?));
            }
            other if name == "exit" => code = number("the exit code", other)?,
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    let server = settings.name.clone();
    let ask = |request| Ask { server, request, wait };
    Ok(match name.as_str() {
        "serve" => Command::Serve(settings),
        "fail" => Command::Ask(ask(Request::Set(Health::Failing))),
        "heal" => Command::Ask(ask(Request::Set(Health::Healthy))),
        "state" => Command::Ask(ask(Request::Tell)),
        "exit" => Command::Ask(ask(Request::Exit(code))),
        "check" => Command::Check(ask(Request::Tell)),
        "hang" => Command::Hang { is_alone },
        "processes" => Command::Processes,
        other => return Err(format!("unknown command {other:?}")),
    })
}

/// Does what was asked for.
pub(crate) fn run(command: Command) -> Result<ExitCode, String> {
    match command {
        Command::Serve(settings) => serve::run(settings).map(|()| ExitCode::SUCCESS),
        Command::Hang { is_alone } => process::hang(is_alone).map(|()| ExitCode::SUCCESS),
        Command::Processes => {
            println!("{}", process::tell()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Ask(ask) => {
            println!("{}", control::ask(&ask.server, ask.request, ask.wait)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(ask) => {
            let answer = control::ask(&ask.server, ask.request, ask.wait)?;
            println!("{answer}");
            Ok(ExitCode::from(u8::from(!answer.contains("healthy"))))
        }
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name}: {text:?} is not a number in range"))
}
