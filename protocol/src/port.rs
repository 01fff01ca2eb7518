//! A probe's port: a number, or the name of a container port.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// `IntOrString` of a probe (kubernetes/kubernetes:staging/src/k8s.io/apimachinery/pkg/util/intstr/intstr.go).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Port {
    /// A number as it was written; valid ones are 1 to 65535.
    Number(i64),
    /// A container port's name, or a number in quotes.
    Name(String),
}

/// Named ports by container: `{"game":{"http":8080}}`, as the sidecar gets them in its environment.
pub type NamedPorts = BTreeMap<String, BTreeMap<String, u16>>;

/// Why a port leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Outside 1 to 65535.
    #[error("port {0} is not between 1 and 65535")]
    OutOfRange(i64),
    /// Neither a number nor a port name of the container.
    #[error("container {container:?} has no port named {name:?}{known}")]
    UnknownName {
        /// The container that was searched.
        container: String,
        /// The name that was asked for.
        name: String,
        /// The names that exist, as a readable suffix.
        known: String,
    },
}

impl Port {
    /// The number to dial. A name is first looked up among the container's ports, then read as a number, as
    /// kubernetes/kubernetes:pkg/probe/util.go `ResolveContainerPort` does.
    ///
    /// # Errors
    /// [`PortError`] where the number is out of range or the container lacks the name.
    pub fn resolve(&self, container: &str, ports: &NamedPorts) -> Result<u16, PortError> {
        match self {
            Self::Number(number) => in_range(*number),
            Self::Name(name) => {
                let known = ports.get(container);
                if let Some(port) = known.and_then(|ports| ports.get(name)) {
                    return Ok(*port);
                }
                match name.parse::<i64>() {
                    Ok(number) => in_range(number),
                    Err(_) => Err(PortError::UnknownName {
                        container: container.to_owned(),
                        name: name.clone(),
                        known: known.map_or_else(String::new, |ports| {
                            let names: Vec<_> = ports.keys().map(String::as_str).collect();
                            format!(" (it has: {})", names.join(", "))
                        }),
                    }),
                }
            }
        }
    }
}

fn in_range(number: i64) -> Result<u16, PortError> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(PortError::OutOfRange(number)),
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> NamedPorts {
        BTreeMap::from([("game".to_owned(), BTreeMap::from([("http".to_owned(), 8080)]))])
    }

    #[test]
    fn names_and_numbers_resolve_as_kubelet_resolves_them() {
        let ports = ports();
        assert_eq!(Port::Number(80).resolve("game", &ports), Ok(80));
        assert_eq!(Port::Name("http".into()).resolve("game", &ports), Ok(8080));
        assert_eq!(Port::Name("81".into()).resolve("game", &ports), Ok(81));
        for bad in [0, -1, 65536, 1 << 40] {
            assert_eq!(Port::Number(bad).resolve("game", &ports), Err(PortError::OutOfRange(bad)));
        }
    }

    #[test]
    fn an_unknown_name_names_the_container_and_the_names_it_has() {
        let error = Port::Name("grpc".into()).resolve("game", &ports()).expect_err("unknown");
        assert_eq!(error.to_string(), r#"container "game" has no port named "grpc" (it has: http)"#);
        let error = Port::Name("http".into()).resolve("other", &ports()).expect_err("unknown");
        assert_eq!(error.to_string(), r#"container "other" has no port named "http""#);
    }
}
