//! How often a condition may be written because of its message alone. kruise-manager writes each new message
//! (openkruise/kruise:pkg/util/pods.go `SetPodConditionIfMsgChanged`); a command that prints the time would make that one
//! request a period. Here a new message goes along with any other write at once, and alone [`FIRST`] after the last
//! write; where messages go on changing, the wait doubles up to [`LONGEST`].

use std::time::Duration;

/// Shortest wait between any write and one for a message alone.
pub const FIRST: Duration = Duration::from_secs(10);
/// Longest wait between two writes for messages alone.
pub const LONGEST: Duration = Duration::from_secs(300);

/// Spaces writes for messages alone.
#[derive(Clone, Debug)]
pub struct Chatter {
    wait: Duration,
    last: Option<Duration>,
}

impl Default for Chatter {
    fn default() -> Self {
        Self { wait: FIRST, last: None }
    }
}

impl Chatter {
    /// When a message may go alone, given the last write of any kind.
    pub fn due(&self, last_write: Duration) -> Duration {
        last_write + self.wait
    }

    /// A write for messages alone was sent.
    pub fn sent(&mut self, now: Duration) {
        let goes_on = self.last.is_some_and(|last| now.saturating_sub(last) < self.wait.saturating_mul(2));
        self.wait = if goes_on || self.last.is_none() { self.wait.saturating_mul(2).min(LONGEST) } else { FIRST };
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chatty_message_is_written_less_and_less_often() {
        let mut chatter = Chatter::default();
        let mut last = Duration::ZERO;
        let mut seconds = Vec::new();
        while last < Duration::from_secs(3600) {
            last = chatter.due(last);
            chatter.sent(last);
            seconds.push(last.as_secs());
        }
        assert_eq!(seconds[..6], [10, 30, 70, 150, 310, 610]);
        assert!(seconds.len() <= 17, "{} writes in an hour", seconds.len());
    }

    #[test]
    fn a_message_that_changes_now_and_then_waits_no_longer_than_the_first_time() {
        let mut chatter = Chatter::default();
        for round in 1..10 {
            let changed = Duration::from_secs(1000 * round);
            assert!(chatter.due(changed - Duration::from_secs(60)) <= changed);
            chatter.sent(changed);
        }
    }
}
