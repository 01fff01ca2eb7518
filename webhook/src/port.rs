//! Ports of a Pod's containers, and ports that probes name.

use crate::pod::{Pod, list, name};
use probelet_protocol::port::{NamedPorts, Port};
use probelet_protocol::probe::Handler;
use serde_json::Value;

/// Every named container port of the Pod's containers and native sidecars.
pub fn named(pod: &Pod) -> NamedPorts {
    let mut ports = NamedPorts::new();
    for container in pod.targets() {
        for port in list(container, "ports") {
            let number =
                port.get("containerPort").and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
            if let (Some(number), false) = (number, name(port).is_empty()) {
                ports.entry(name(container).to_owned()).or_default().insert(name(port).to_owned(), number);
            }
        }
    }
    ports
}

/// The port that a handler dials, where it may be a name.
pub fn of(handler: Handler<'_>) -> Option<&Port> {
    match handler {
        Handler::HttpGet(action) => Some(&action.port),
        Handler::TcpSocket(action) => Some(&action.port),
        Handler::Exec(_) | Handler::Grpc(_) => None,
    }
}
