//! How many workers each controller has.

use std::fmt;
use std::str::FromStr;

/// What is allowed, for errors.
pub const ALLOWED: &str = "auto or a number from 1 to 64";
const MOST: usize = 64;
/// `auto` asks the API server for no more than this at once.
const MOST_AUTO: usize = 16;
const PODS_A_WORKER: usize = 1_000;
const NODES_A_WORKER: usize = 100;
const WAITING_A_WORKER: usize = 50;
/// Workers wait for the API server nearly all the time, so one CPU carries several.
const WORKERS_A_CPU: usize = 8;

/// A fixed number, or one that follows the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// From 1 to 64.
    Fixed(usize),
    /// By [`Workers::count`].
    Auto,
}

/// What `auto` looks at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Pods that the controllers look after.
    pub pods: usize,
    /// Keys that wait in the queue.
    pub waiting: usize,
    /// CPUs that this process may use, rounded up.
    pub cpus: usize,
}

/// Not a number of workers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("workers: {0:?} must be {ALLOWED}")]
pub struct WorkersError(String);

// === impl Workers ===

impl Workers {
    /// As many as other controllers of this kind have.
    pub const DEFAULT: Self = Self::Fixed(3);

    /// How many there should be now. `auto` grows with the cluster and with what waits, and falls back.
    pub fn count(self, load: Load) -> usize {
        match self {
            Self::Fixed(count) => count,
            Self::Auto => {
                let size = 1 + load.pods / PODS_A_WORKER + load.nodes / NODES_A_WORKER;
                let most = MOST_AUTO.min(load.cpus.max(1) * WORKERS_A_CPU);
                size.max(load.waiting.div_ceil(WAITING_A_WORKER)).clamp(1, most)
            }
        }
    }
}

impl FromStr for Workers {
    type Err = WorkersError;

    fn from_str(text: &str) -> Result<Self, WorkersError> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => match text.parse() {
                Ok(count) if (1..=MOST).contains(&count) => Ok(Self::Fixed(count)),
                _ => Err(WorkersError(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(count) => count.fmt(f),
            Self::Auto => f.write_str("auto"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_from_1_to_64_or_auto() {
        for (text, expected) in
            [("1", Some(Workers::Fixed(1))), ("64", Some(Workers::Fixed(64))), ("auto", Some(Workers::Auto))]
        {
            assert_eq!(text.parse().ok(), expected);
        }
        for text in ["0", "-1", "65", "1000000000000000000000", "three", "", "1.5", "Auto"] {
            let error = text.parse::<Workers>().expect_err(text).to_string();
            assert_eq!(error, format!("workers: {text:?} must be auto or a number from 1 to 64"));
        }
    }

    #[test]
    fn auto_follows_size_and_load_within_its_bound() {
        let load = Load { nodes: 3, pods: 40, waiting: 0, cpus: 2 };
        assert_eq!(Workers::Auto.count(load), 1);
        assert_eq!(Workers::Auto.count(Load { pods: 5_000, ..load }), 6);
        assert_eq!(Workers::Auto.count(Load { nodes: 400, ..load }), 5);
        assert_eq!(Workers::Auto.count(Load { waiting: 400, ..load }), 8, "rises with what waits");
        assert_eq!(Workers::Auto.count(load), 1, "and falls back");
        assert_eq!(Workers::Auto.count(Load { waiting: 100_000, ..load }), 16);
        assert_eq!(Workers::Auto.count(Load { waiting: 100_000, cpus: 1, ..load }), 8);
        assert_eq!(Workers::Fixed(5).count(load), 5);
    }
}
