//! What is told apart: how the virtual node learns of status, and how the sidecar sees its Pod.

use super::tally;
use crate::pod::{Builder, CONTAINER, HTTP, app};
use k8s_openapi::api::core::v1::Probe;
use serde_json::json;

/// How the virtual node writes status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The provider pushes its whole copy of the Pod at each change of its own.
    Push,
    /// The library asks every 5 s.
    Poll,
}

/// Who heals: a sidecar, by the setting `probelet.io/observe`, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// By answers to patches.
    Patch,
    /// By a watch.
    Watch,
    /// No sidecar: a client of the bench's own, for comparison.
    Bare,
}

/// Both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The virtual node's.
    pub style: Style,
    /// The sidecar's.
    pub mode: Mode,
}

impl Style {
    /// The lab's node of this style.
    pub fn node(self) -> &'static str {
        match self {
            Self::Push => "virtual-push",
            Self::Poll => "virtual-poll",
        }
    }
}

impl Mode {
    /// The setting's value, where there is a sidecar.
    pub fn word(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Watch => "watch",
            Self::Bare => "bare",
        }
    }
}

impl Case {
    /// Every combination.
    pub const ALL: [Self; 6] = [
        Self { style: Style::Push, mode: Mode::Patch },
        Self { style: Style::Push, mode: Mode::Watch },
        Self { style: Style::Push, mode: Mode::Bare },
        Self { style: Style::Poll, mode: Mode::Patch },
        Self { style: Style::Poll, mode: Mode::Watch },
        Self { style: Style::Poll, mode: Mode::Bare },
    ];

    /// For names of Pods and rows.
    pub fn name(self) -> String {
        format!("{}-{}", if self.style == Style::Push { "push" } else { "poll" }, self.mode.word())
    }

    /// A Pod that its virtual node overwrites by itself: on the pushing node a readiness probe of the same health makes the
    /// provider push its copy of the Pod one to two seconds after each change; the polled node writes its status back within
    /// 5 s of any foreign write.
    pub fn pod(self, name: &str, image: &str) -> Builder {
        let readiness: Option<Probe> = serde_json::from_value(json!({
            "httpGet": {"port": HTTP, "path": "/health"}, "periodSeconds": 1, "failureThreshold": 2, "successThreshold": 2,
        }))
        .ok();
        app(name, image)
            .on(self.style.node())
            .annotated("probelet.io/observe", self.mode.word())
            // On a busy machine an answer may take longer than a second; that is not what is asked here.
            .annotated("probelet.io/timeout", "10s")
            .annotated("probelet.io/metrics-port", &tally::PORT.to_string())
            .with(|spec| {
                for container in spec.containers.iter_mut().filter(|container| container.name == CONTAINER) {
                    container.readiness_probe = readiness.clone();
                }
            })
    }
}
