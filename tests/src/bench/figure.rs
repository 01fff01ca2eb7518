//! Figures of a series of measurements, printed side by side.

use std::fmt;
use std::time::Duration;

/// Measured durations of one kind.
#[derive(Clone, Debug, Default)]
pub struct Series {
    sorted: Vec<Duration>,
}

impl Series {
    /// Takes the measurements in any order.
    pub fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self { sorted: durations }
    }

    /// The value below which `share` (0 to 1) of the measurements lie, by the nearest rank; zero for an empty series.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).or(self.sorted.last()).copied().unwrap_or_default()
    }

    /// How many measurements there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |share| self.quantile(share).as_secs_f64() * 1e3;
        write!(
            f,
            "p50 {:7.2} ms   p90 {:7.2} ms   p99 {:7.2} ms   max {:7.2} ms   n {}",
            milliseconds(0.5),
            milliseconds(0.9),
            milliseconds(0.99),
            milliseconds(1.0),
            self.len()
        )
    }
}

/// How many times larger one quantile is than another series' same quantile.
pub fn ratio(of: &Series, to: &Series, share: f64) -> f64 {
    of.quantile(share).as_secs_f64() / to.quantile(share).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let series = Series::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(series.quantile(0.5), Duration::from_millis(50));
        assert_eq!(series.quantile(0.99), Duration::from_millis(99));
        assert_eq!(series.quantile(1.0), Duration::from_millis(100));
        assert_eq!(Series::default().quantile(0.5), Duration::ZERO);
    }
}
