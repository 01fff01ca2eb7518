//! A container's own `postStart`, as the agent runs it (kubernetes/kubernetes:pkg/kubelet/lifecycle/handlers.go).

use crate::pod::{list, name};
use probelet_protocol::agent::{Hook, LONGEST_SLEEP};
use probelet_protocol::port::{NamedPorts, Port};
use serde::Deserialize;
use serde_json::Value;

/// The hook; `None` where the agent could not run it as kubelet does.
pub(super) fn read(own: &Value, container: &Value) -> Option<Hook> {
    let action = |field: &str| own.get(field).filter(|action| !action.is_null());
    if let Some(exec) = action("exec") {
        let command: Vec<_> = list(exec, "command").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        return (!command.is_empty()).then_some(Hook::Exec(command));
    }
    if let Some(get) = action("httpGet") {
        return http_get(get, container);
    }
    if action("tcpSocket").is_some() {
        return Some(Hook::TcpSocket);
    }
    let seconds = action("sleep")?.get("seconds")?.as_u64()?;
    (seconds <= LONGEST_SLEEP).then_some(Hook::Sleep(seconds))
}

fn http_get(get: &Value, container: &Value) -> Option<Hook> {
    let text = |object: &Value, field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    // The agent speaks no TLS: it would be ten times its size.
    if !["", "HTTP"].contains(&text(get, "scheme").to_uppercase().as_str()) {
        return None;
    }
    Some(Hook::HttpGet {
        port: port(get, container)?,
        path: text(get, "path"),
        host: Some(text(get, "host")).filter(|host| !host.is_empty()),
        headers: list(get, "httpHeaders").iter().map(|header| (text(header, "name"), text(header, "value"))).collect(),
    })
}

fn port(action: &Value, container: &Value) -> Option<u16> {
    let own = list(container, "ports")
        .iter()
        .filter_map(|port| Some((name(port).to_owned(), u16::try_from(port.get("containerPort")?.as_u64()?).ok()?)));
    let ports = NamedPorts::from([(name(container).to_owned(), own.collect())]);
    Port::deserialize(action.get("port")?).ok()?.resolve(name(container), &ports).ok()
}
