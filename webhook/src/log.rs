//! Logs on standard output: text for people, JSON for machines. The level can change while the process runs.

use crate::settings::LogFormat;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, reload};

/// Changes the level.
#[derive(Clone)]
pub struct Verbosity(reload::Handle<Targets, Registry>);

/// Starts logging. The first call of a process counts.
pub fn init(format: LogFormat, level: Level) -> Verbosity {
    let (filter, handle) = reload::Layer::new(targets(level));
    let lines = match format {
        LogFormat::Text => fmt::layer().with_ansi(false).with_target(false).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_target(false).boxed(),
    };
    // A second call, as in tests, changes nothing.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Verbosity(handle)
}

/// Our own events from this level on; those of libraries only where something is wrong.
fn targets(level: Level) -> Targets {
    Targets::new().with_default(LevelFilter::WARN.min(level.into())).with_target("probelet", level)
}

impl Verbosity {
    /// Logs this level and what is more severe from now on.
    pub fn set(&self, level: Level) {
        // Fails only where logging has ended.
        let _ = self.0.reload(targets(level));
    }
}
