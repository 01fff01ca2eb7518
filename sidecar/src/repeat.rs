//! Keeps log lines that repeat from flooding the log.

use std::collections::BTreeMap;
use std::time::Duration;

/// A line of one kind is written at most once in this time.
const SPACING: Duration = Duration::from_secs(60);

/// When each kind of line was written last.
#[derive(Debug, Default)]
pub struct Repeat {
    last: BTreeMap<&'static str, (Duration, u64)>,
}

impl Repeat {
    /// Whether a line of this kind may be written now, and how many were left out since the last one.
    pub fn may(&mut self, kind: &'static str, now: Duration) -> Option<u64> {
        match self.last.get_mut(kind) {
            Some((last, left_out)) if now < *last + SPACING => {
                *left_out += 1;
                None
            }
            _ => Some(self.last.insert(kind, (now, 0)).map_or(0, |(_, left_out)| left_out)),
        }
    }

    /// The trouble is over: the next line of this kind is a new one.
    pub fn over(&mut self, kind: &'static str) -> bool {
        self.last.remove(kind).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_repeats_once_a_minute_and_says_how_many_were_left_out() {
        let mut repeat = Repeat::default();
        let told: Vec<_> = (0..130).map(|second| repeat.may("api", Duration::from_secs(second))).collect();
        assert_eq!((told[0], told[1], told[60], told[120]), (Some(0), None, Some(59), Some(59)));
        assert_eq!(told.iter().flatten().count(), 3);
        assert!(repeat.over("api"));
        assert_eq!(repeat.may("api", Duration::from_secs(131)), Some(0));
    }
}
