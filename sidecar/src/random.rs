//! Random numbers for jitter. Not for secrets.

/// SplitMix64: one multiplication chain, no dependency; good enough to keep sidecars apart.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence that follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another sequence, independent of the rest of this one.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// From 0 to 1.
    pub fn unit(&mut self) -> f64 {
        // The upper 32 bits fill a double's range evenly without a lossy cast.
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly between two durations.
    pub fn between(&mut self, shortest: std::time::Duration, longest: std::time::Duration) -> std::time::Duration {
        shortest + longest.saturating_sub(shortest).mul_f64(self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_fill_their_range_evenly() {
        let mut random = Random::new(1);
        let mut buckets = [0; 10];
        for _ in 0..10_000 {
            let tenth = (random.unit() * 10.0).floor().min(9.0);
            buckets[format!("{tenth}").parse::<usize>().expect("digit")] += 1;
        }
        assert!(buckets.iter().all(|count| (800..1200).contains(count)), "{buckets:?}");
        let span = random.between(Duration::from_secs(2), Duration::from_secs(3));
        assert!((Duration::from_secs(2)..=Duration::from_secs(3)).contains(&span));
    }
}
