//! How fast overwritten marks may be put back.
//!
//! A virtual node may send a provider's old status back after every foreign write; healed at once each time, that is two
//! writes every 5 s for ever. So the first [`BURST`] overwrites are healed at once; when they go on, it is a war: the next
//! heal waits [`GAP`], then twice as long each time, up to [`LONGEST_GAP`]. A new state is worth more than the same one
//! again: the first overwrite after a transition is healed at once also in a war, at most once in [`GAP`], and the long
//! wait then goes on. Once marks were left alone for [`GAP`] and [`QUIET`] after a write, there is peace and everything
//! starts again.

use std::time::Duration;

/// Heals at once before a war is declared.
pub const BURST: u32 = 3;
/// First wait between two heals in a war: at most one heal in this time.
pub const GAP: Duration = Duration::from_secs(30);
/// Longest wait between two heals in a war.
pub const LONGEST_GAP: Duration = Duration::from_secs(600);
/// Time without an overwrite, beyond [`GAP`], that ends a war.
pub const QUIET: Duration = Duration::from_secs(5);

/// Recognises overwrites that follow heals.
#[derive(Clone, Debug, Default)]
pub struct Heal {
    recent: u32,
    last: Option<Duration>,
    /// The last write of any kind.
    written: Option<Duration>,
    /// A transition was written after the last heal.
    is_fresh: bool,
    /// Marks were last seen whole.
    held: Option<Duration>,
}

impl Heal {
    /// The earliest time at which marks that were found overwritten at `found` may be written again.
    pub fn due(&self, found: Duration) -> Duration {
        match self.last {
            Some(last) if self.is_war() && !self.is_quiet(found) => {
                (last + if self.is_fresh { GAP } else { self.gap() }).max(found)
            }
            _ => found,
        }
    }

    /// All marks were seen to be whole at `now`.
    pub fn held(&mut self, now: Duration) {
        self.held = Some(now);
    }

    /// A transition was written at `now`, over marks that were overwritten or not.
    pub fn marked(&mut self, was_overwritten: bool, now: Duration) {
        if self.is_war() && !was_overwritten && self.is_quiet(now) {
            self.recent = 0;
        }
        self.written = Some(now);
        self.is_fresh = true;
    }

    /// A heal of marks found overwritten at `found` was sent at `now`. True when this one makes it a war.
    pub fn healed(&mut self, found: Duration, now: Duration) -> bool {
        if self.is_quiet(found) {
            self.recent = 0;
        }
        let was_war = self.is_war();
        if !(was_war && self.is_fresh) {
            self.recent = self.recent.saturating_add(1);
        }
        self.last = Some(now);
        self.written = Some(now);
        self.is_fresh = false;
        !was_war && self.is_war()
    }

    /// Whether overwrites come again and again.
    pub fn is_war(&self) -> bool {
        self.recent >= BURST
    }

    /// The wait after the last heal.
    pub fn gap(&self) -> Duration {
        GAP.saturating_mul(1 << self.recent.saturating_sub(BURST).min(10)).min(LONGEST_GAP)
    }

    /// A war ends only where marks were seen whole so long after the last write of any kind: what was found late may have been
    /// overwritten early, and a transition's own overwrite is no peace, however long ago the last heal was.
    fn is_quiet(&self, found: Duration) -> bool {
        let after = |last, time: Duration| time > last + GAP + QUIET;
        if self.is_war() {
            return self.last.max(self.written).is_none_or(|last| self.held.is_some_and(|held| after(last, held)));
        }
        self.last.is_none_or(|last| after(last, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of the heals, when marks are gone `after` seconds after each write, for `span` seconds.
    fn heals(after: u64, span: u64) -> Vec<u64> {
        let mut heal = Heal::default();
        let mut found = Duration::from_secs(after);
        let mut seconds = Vec::new();
        while found.as_secs() <= span {
            let now = heal.due(found);
            heal.healed(found, now);
            seconds.push(now.as_secs());
            found = now + Duration::from_secs(after);
        }
        seconds
    }

    #[test]
    fn a_war_is_recognised_and_backed_off() {
        assert_eq!(heals(5, 600), [5, 10, 15, 45, 105, 225, 465, 945]);
        let long = heals(5, 24 * 3600);
        assert!(long.windows(2).skip(2).all(|pair| pair[1] - pair[0] >= 30), "{long:?}");
        assert!(long.len() < 24 * 6 + 10, "{}", long.len());
    }

    #[test]
    fn overwrites_far_apart_are_healed_at_once_for_ever() {
        let seconds = heals(36, 36 * 100);
        assert_eq!(seconds.len(), 100);
        assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] == 36));
    }

    #[test]
    fn peace_returns_after_a_quiet_time() {
        let mut heal = Heal::default();
        for second in [1, 2, 3] {
            let now = Duration::from_secs(second);
            assert_eq!(heal.healed(now, now), second == 3);
        }
        assert!(heal.is_war());
        assert_eq!(heal.due(Duration::from_secs(4)), Duration::from_secs(33));
        let later = Duration::from_secs(3 + 30 + 30 + 1);
        assert!(heal.due(later) == later && heal.is_war(), "found late, but not seen whole so late");
        heal.held(later);
        assert_eq!(heal.due(later), later);
        assert!(!heal.healed(later, later));
        assert!(!heal.is_war());
    }

    #[test]
    fn a_new_state_in_a_war_is_healed_at_once_but_never_twice_in_thirty_seconds() {
        for (between, least) in [(40_u64, 24), (7, 24), (1, 24)] {
            let mut heal = Heal::default();
            for second in [5, 10, 15] {
                let now = Duration::from_secs(second);
                heal.healed(now, now);
            }
            let mut heals = vec![15];
            // A poll takes marks away at every fifth second; a transition brings new ones now and then.
            let (mut lost, mut found) = (true, 20);
            for second in 20..1000 {
                if second % between == 0 {
                    heal.marked(lost, Duration::from_secs(second));
                    lost = false;
                }
                if second % 5 == 0 && !lost {
                    (lost, found) = (true, second);
                }
                let now = heal.due(Duration::from_secs(found));
                if lost && now <= Duration::from_secs(second) {
                    assert!(!heal.healed(Duration::from_secs(found), Duration::from_secs(second)), "told again");
                    heals.push(second);
                    lost = false;
                }
            }
            assert!(heals.windows(2).all(|pair| pair[1] - pair[0] >= 30), "every {between} s: {heals:?}");
            assert!(heals.len() >= least, "every {between} s: {heals:?}");
            assert!(heal.is_war(), "every {between} s");
        }
    }

    #[test]
    fn marks_that_stood_until_a_transition_end_a_war() {
        let mut heal = Heal::default();
        for second in [1, 2, 3] {
            heal.healed(Duration::from_secs(second), Duration::from_secs(second));
        }
        heal.held(Duration::from_secs(39));
        heal.marked(false, Duration::from_secs(39));
        assert!(!heal.is_war());
        for (was_overwritten, at) in [(true, 39), (false, 38)] {
            let mut heal = Heal { recent: BURST, last: Some(Duration::from_secs(3)), ..Heal::default() };
            heal.marked(was_overwritten, Duration::from_secs(at));
            assert!(heal.is_war(), "{was_overwritten} {at}");
        }
    }
}
