//! A token bucket; time is passed in.

use std::time::{Duration, Instant};

/// So many at once, then so many a second.
#[derive(Debug)]
pub struct Bucket {
    burst: f64,
    each_second: f64,
    tokens: f64,
    at: Option<Instant>,
}

// === impl Bucket ===

impl Bucket {
    /// Full. Both numbers must be above 0.
    pub fn new(burst: u32, each_second: u32) -> Self {
        let burst = f64::from(burst.max(1));
        Self { burst, each_second: f64::from(each_second.max(1)), tokens: burst, at: None }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(at) = self.at {
            let gained = now.saturating_duration_since(at).as_secs_f64() * self.each_second;
            self.tokens = (self.tokens + gained).min(self.burst);
        }
        self.at = Some(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.each_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_steady_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2, 10);
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start), Ok(()));
        let wait = bucket.take(start).expect_err("empty");
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(bucket.take(start + wait), Ok(()));
        assert!(bucket.take(start + wait).is_err());
        let rested = start + Duration::from_secs(60);
        assert_eq!((bucket.take(rested), bucket.take(rested)), (Ok(()), Ok(())));
        assert!(bucket.take(rested).is_err(), "no more than the burst is saved up");
    }
}
