//! The health that is switched.

use rustix::time::{ClockId, clock_gettime};

/// What the application says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Healthy,
    Failing,
}

/// A health and when it began, in nanoseconds of the wall clock and of the monotonic clock. The
/// second one can be compared with the clock of any other process of the same machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch {
    pub(crate) health: Health,
    pub(crate) wall_ns: i64,
    pub(crate) monotonic_ns: i64,
}

impl Health {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Failing => "failing",
        }
    }
}

impl Switch {
    /// A switch to `health` at this moment.
    pub(crate) fn now(health: Health) -> Self {
        Self { health, wall_ns: nanoseconds(ClockId::Realtime), monotonic_ns: nanoseconds(ClockId::Monotonic) }
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        format!(
            r#"{{"state":"{}","wall_ns":{},"monotonic_ns":{}}}"#,
            self.health.name(),
            self.wall_ns,
            self.monotonic_ns
        )
    }
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
