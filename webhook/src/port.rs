//! Ports of a Pod's containers, and ports that probes name.

use crate::pod::{Pod, list, name};
use probelet_protocol::port::NamedPorts;
use probelet_protocol::probe::{Handler, Probe};
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

/// The field of a probe's port, and why it leads nowhere.
pub fn problem(probe: &Probe, container: &str, ports: &NamedPorts) -> Option<String> {
    let handler = probe.handler().ok()?;
    let port = match handler {
        Handler::HttpGet(action) => &action.port,
        Handler::TcpSocket(action) => &action.port,
        Handler::Exec(_) | Handler::Grpc(_) => return None,
    };
    let error = port.resolve(container, ports).err()?;
    Some(format!(".probe.{}.port: {error}", handler.name()))
}
