//! The application that the end-to-end tests, the demo and the benches probe: an HTTP server and a
//! TCP listener whose health is switched from inside the container.

mod command;
mod control;
mod health;
mod http;
mod serve;

use std::process::ExitCode;

const USAGE: &str = "\
test-app: a server with a switchable health

  test-app serve [--http PORT] [--tcp PORT] [--name NAME] [--unhealthy] [--exit-after SECONDS]
      HTTP on --http (default 8080): GET /health answers 200 or 503 by health, GET /status/NNN that
      code, GET /slow/MILLIS after that time, GET / 200. --tcp listens while healthy only.
      --exit-after ends the program with 0, as a Job's does. --http 0 serves nothing.
  test-app fail | heal | state [--name NAME]
      Switches (or tells) the health of the server in the same container; prints JSON with the wall
      and the monotonic time of the switch, in nanoseconds.
  test-app check [--name NAME]
      Exit code 0 while healthy, 1 while failing: for exec probes.
  test-app exit [CODE] [--name NAME]
      Ends the server with that code.

--name (default $TEST_APP_NAME, else test-app) tells several servers of one Pod apart.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command::parse(&arguments).and_then(command::run) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("test-app: {message}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
