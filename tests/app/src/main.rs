//! The application that the end-to-end tests, the demo and the benches probe: an HTTP server and a
//! TCP listener whose health is switched from inside the container.

mod command;
mod control;
mod grpc;
mod health;
mod http;
mod process;
mod serve;
mod tls;

use std::process::ExitCode;

const USAGE: &str = "\
test-app: a server with a switchable health

  test-app serve [--http PORT] [--https PORT] [--tcp PORT] [--grpc PORT] [--no-grpc-health] [--name NAME]
                 [--unhealthy] [--exit-after SECONDS]
      HTTP on --http (default 8080): GET /health answers 200 or 503 by health, GET /status/NNN that
      code, GET /slow/MILLIS after that time, GET /marked 200 once GET /mark was asked for, GET / 200.
      --https serves the same with a certificate that nobody signed. --tcp listens while healthy only.
      --grpc answers health checks of the services test-app and the empty one, SERVING or NOT_SERVING by
      health; with --no-grpc-health it knows no health service. --exit-after ends the program with 0, as a
      Job's does. --http 0 serves no HTTP.
  test-app fail | heal | state [--name NAME] [--wait SECONDS]
      Switches (or tells) the health of the server in the same container; prints JSON with the wall
      and the monotonic time of the switch, in nanoseconds. --wait waits for a server that starts.
  test-app check [--name NAME]
      Exit code 0 while healthy, 1 while failing: for exec probes.
  test-app exit [CODE] [--name NAME]
      Ends the server with that code.
  test-app hang [--alone]
      Never ends, and starts a child that never ends either, unless --alone.
  test-app processes
      Prints JSON: how many processes the container has, and how many of them are zombies.

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
