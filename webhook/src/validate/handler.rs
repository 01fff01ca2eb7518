//! `probe`: exactly one handler, its fields, and its times.

use super::Findings;
use crate::syntax;
use probelet_protocol::limit;
use probelet_protocol::port::Port;
use probelet_protocol::probe::{ExecAction, HttpGetAction, Probe};

/// Longest path of a GET request and longest service name; more is refused by most servers.
const TEXT: usize = 2048;

pub(super) fn check(path: &str, probe: &Probe, findings: &mut Findings) {
    if let Err(error) = probe.handler() {
        findings.error(path, &error.to_string());
    }
    if let Some(exec) = &probe.exec {
        check_exec(&format!("{path}.exec.command"), exec, findings);
    }
    if let Some(get) = &probe.http_get {
        check_get(&format!("{path}.httpGet"), get, findings);
    }
    if let Some(socket) = &probe.tcp_socket {
        check_host(&format!("{path}.tcpSocket.host"), socket.host.as_ref(), findings);
        check_port(&format!("{path}.tcpSocket.port"), &socket.port, findings);
    }
    if let Some(grpc) = &probe.grpc {
        check_port(&format!("{path}.grpc.port"), &Port::Number(grpc.port.into()), findings);
        if grpc.service.as_ref().is_some_and(|service| service.len() > TEXT) {
            findings.error(&format!("{path}.grpc.service"), &format!("must have at most {TEXT} bytes"));
        }
    }
    check_times(path, probe, findings);
}

fn check_times(path: &str, probe: &Probe, findings: &mut Findings) {
    for (field, number, most) in [
        ("initialDelaySeconds", probe.initial_delay_seconds, limit::SECONDS),
        ("timeoutSeconds", probe.timeout_seconds, limit::SECONDS),
        ("periodSeconds", probe.period_seconds, limit::SECONDS),
        ("successThreshold", probe.success_threshold, i32::MAX),
        ("failureThreshold", probe.failure_threshold, i32::MAX),
    ] {
        let Some(number) = number else { continue };
        if number < 0 {
            findings.error(&format!("{path}.{field}"), &format!("{number} must not be negative"));
        } else if number > most {
            findings.error(&format!("{path}.{field}"), &format!("{number} must be at most {most}"));
        }
    }
    if probe.termination_grace_period_seconds.is_some() {
        findings.warning(&format!("{path}.terminationGracePeriodSeconds"), "has no meaning here, nothing is restarted");
    }
}

fn check_exec(path: &str, exec: &ExecAction, findings: &mut Findings) {
    let bytes: usize = exec.command.iter().map(String::len).sum();
    if exec.command.is_empty() || exec.command[0].is_empty() {
        findings.error(path, "must not be empty");
    }
    if exec.command.len() > limit::COMMAND_ARGUMENTS || bytes > limit::COMMAND_BYTES {
        let (most, most_bytes) = (limit::COMMAND_ARGUMENTS, limit::COMMAND_BYTES);
        let found = exec.command.len();
        findings.error(
            path,
            &format!("has {found} arguments of {bytes} bytes, at most {most} of {most_bytes} are allowed"),
        );
    }
    if exec.command.iter().any(|argument| argument.contains('\0')) {
        findings.error(path, "must not contain NUL characters");
    }
}

fn check_get(path: &str, get: &HttpGetAction, findings: &mut Findings) {
    check_host(&format!("{path}.host"), get.host.as_ref(), findings);
    check_port(&format!("{path}.port"), &get.port, findings);
    if let Some(found) = get.path.as_ref().filter(|found| !is_path(found)) {
        findings.error(&format!("{path}.path"), &format!("{found:?} must be a valid URL path of at most {TEXT} bytes"));
    }
    if let Some(scheme) = get.scheme.as_deref().filter(|scheme| !["", "HTTP", "HTTPS"].contains(scheme)) {
        findings.error(&format!("{path}.scheme"), &format!("{scheme:?} must be one of HTTP, HTTPS"));
    }
    if get.http_headers.len() > limit::HEADERS {
        let found = get.http_headers.len();
        findings.error(
            &format!("{path}.httpHeaders"),
            &format!("has {found} headers, at most {} are allowed", limit::HEADERS),
        );
    }
    for (index, header) in get.http_headers.iter().enumerate() {
        let path = format!("{path}.httpHeaders[{index}]");
        if let Some(problem) = syntax::header_name(&header.name) {
            findings.error(&format!("{path}.name"), &format!("{:?} {problem}", header.name));
        }
        // The value may be a secret, so it is not repeated.
        if header.value.chars().any(|c| c.is_control() && c != '\t') {
            findings.error(&format!("{path}.value"), "must not contain control characters");
        }
    }
}

/// A host would send the probe elsewhere than to its own Pod (CVE-2026-24005); a Host header is fine.
fn check_host(path: &str, host: Option<&String>, findings: &mut Findings) {
    if host.is_some_and(|host| !host.is_empty()) {
        findings.error(path, "is not allowed, a probe goes to its own Pod; use a Host header for virtual hosts");
    }
}

fn check_port(path: &str, port: &Port, findings: &mut Findings) {
    match port {
        Port::Number(1..=65535) => {}
        Port::Number(number) => findings.error(path, &format!("{number} must be between 1 and 65535")),
        Port::Name(name) => {
            if let Some(problem) = syntax::port_name(name) {
                findings.error(path, &format!("{name:?} {problem}"));
            }
        }
    }
}

/// What Go's `url.Parse` takes, as far as it matters: no control characters, and whole percent escapes.
fn is_path(path: &str) -> bool {
    let escapes = path.split('?').next().unwrap_or_default().split('%').skip(1);
    let whole = |escape: &str| escape.len() >= 2 && escape.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    path.len() <= TEXT && !path.chars().any(char::is_control) && escapes.into_iter().all(whole)
}
