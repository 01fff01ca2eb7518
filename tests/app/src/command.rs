//! The command line.

use crate::control::{self, Request};
use crate::health::Health;
use crate::serve;
use std::process::ExitCode;
use std::time::Duration;

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Serve(serve::Settings),
    Ask(String, Request),
    Check(String),
}

/// Reads the arguments; the error names the one that is wrong.
pub(crate) fn parse(arguments: &[String]) -> Result<Command, String> {
    let (name, rest) = arguments.split_first().ok_or("a command is needed")?;
    let mut settings = serve::Settings::default();
    let mut code = 1;
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--http" => settings.http = number(argument, value()?)?,
            "--tcp" => settings.tcp = Some(number(argument, value()?)?),
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
    Ok(match name.as_str() {
        "serve" => Command::Serve(settings),
        "fail" => Command::Ask(server, Request::Set(Health::Failing)),
        "heal" => Command::Ask(server, Request::Set(Health::Healthy)),
        "state" => Command::Ask(server, Request::Tell),
        "exit" => Command::Ask(server, Request::Exit(code)),
        "check" => Command::Check(server),
        other => return Err(format!("unknown command {other:?}")),
    })
}

/// Does what was asked for.
pub(crate) fn run(command: Command) -> Result<ExitCode, String> {
    match command {
        Command::Serve(settings) => serve::run(settings).map(|()| ExitCode::SUCCESS),
        Command::Ask(server, request) => {
            println!("{}", control::ask(&server, request)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(server) => {
            let answer = control::ask(&server, Request::Tell)?;
            println!("{answer}");
            Ok(ExitCode::from(u8::from(!answer.contains("healthy"))))
        }
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name}: {text:?} is not a number in range"))
}
