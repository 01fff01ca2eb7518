//! When to look at the Pod in patch-only mode: a patch that changes nothing, whose answer is the Pod. A look costs the API
//! server nearly what a transition costs, so it is taken where something is likely to be seen, and rarely otherwise.

use crate::random::Random;
use std::time::Duration;

/// After each write: soon, because a provider that pushes overwrites within moments, ...
const SOON: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(900));
/// ... and once more after the 5 s at which virtual-kubelet polls a provider that does not
/// (virtual-kubelet/virtual-kubelet:node/sync.go).
const LATER: (Duration, Duration) = (Duration::from_millis(5500), Duration::from_millis(6500));
/// A Pod's first write has a third one: where many Pods are polled, or the machine is slow, a round takes longer than 5 s,
/// and a provider may push only once its readiness probe has passed.
const FIRST: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(30));
/// Once an overwrite was found, after each transition: at first, because a Pod that was left alone for one poll is overwritten
/// as soon as virtual-kubelet hears of a foreign write (virtual-kubelet/virtual-kubelet:node/podcontroller.go
/// `lastPodStatusUpdateSkipped`), ...
const AT_FIRST: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(350));
/// ... then from one look to the next, ...
const CLOSE: (Duration, Duration) = (Duration::from_millis(600), Duration::from_millis(800));
/// ... for this long, or until the overwrite is found, ...
pub const CLOSE_SPAN: Duration = Duration::from_millis(5800);
/// ... and one last time, for a poll that takes longer.
const AT_LAST: (Duration, Duration) = (Duration::from_secs(12), Duration::from_secs(15));
/// After so many transitions in a row that nobody overwrote, looks are as rare again as before.
const PATIENCE: u32 = 8;
/// First and longest wait while something is awaited that only the Pod's status tells.
const CHASE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(60));
/// First wait where a container is called stopped by a status that may be older than what it tells of: until
/// virtual-kubelet has polled once. The longest is the rare look's.
const DOUBT: Duration = Duration::from_millis(5500);
/// Least time between two chases that begin anew, whatever the signs.
const ANEW: Duration = Duration::from_secs(10);

/// Which looks are taken at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookSettings {
    /// Between rare looks; jitter of a tenth comes on top.
    pub period: Duration,
    /// A watch tells everything: no looks.
    pub has_watch: bool,
    /// The shield keeps marks: no looks for them.
    pub has_shield: bool,
}

/// What only the Pod's status tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Nothing.
    Nothing,
    /// That a container runs which is called stopped by what was last seen. Nothing but a reason and a message hangs on it.
    Start,
    /// A startupProbe that has to pass before probing begins, or the end of the neighbours of a Pod that may end.
    Turn,
}

/// Looks at ever longer distances.
#[derive(Clone, Copy, Debug)]
struct Chase {
    awaited: Awaited,
    at: Duration,
    wait: Duration,
}

/// The looks to come. Times since one fixed origin.
#[derive(Clone, Debug)]
pub struct Looks {
    settings: LookSettings,
    random: Random,
    soon: Vec<Duration>,
    rare: Option<Duration>,
    chase: Option<Chase>,
    chased: Option<Duration>,
    /// Transitions that are still looked at closely, because marks of this Pod were overwritten before.
    wary: u32,
    /// Something was written.
    has_written: bool,
}

impl Looks {
    /// None planned: nothing was written yet.
    pub fn new(settings: LookSettings, random: Random) -> Self {
        Self { settings, random, soon: Vec::new(), rare: None, chase: None, chased: None, wary: 0, has_written: false }
    }

    /// Whether a watch tells of every change.
    pub fn has_watch(&self) -> bool {
        self.settings.has_watch
    }

    /// A watch began to tell of every change, or ended. One that comes back soon shows the Pod by itself; where it does not,
    /// `spread` keeps the looks of many Pods that lost theirs together apart.
    pub fn watching(&mut self, has_watch: bool, spread: Duration, now: Duration) {
        if self.settings.has_watch == has_watch {
            return;
        }
        self.settings.has_watch = has_watch;
        if has_watch {
            (self.rare, self.chase) = (None, None);
            self.soon.clear();
        } else {
            self.observed(now);
            if !self.settings.has_shield {
                self.soon.push(now + self.random.between(LATER.0, LATER.1 + spread));
            }
        }
    }

    /// Marks were written: look whether they stay.
    pub fn wrote(&mut self, now: Duration) {
        self.observed(now);
        if !self.settings.has_watch && !self.settings.has_shield {
            let random = &mut self.random;
            self.soon = [LATER, SOON].map(|(shortest, longest)| now + random.between(shortest, longest)).to_vec();
            if !self.has_written {
                self.soon.push(now + random.between(FIRST.0, FIRST.1));
            }
            self.has_written = true;
        }
    }

    /// A transition was written: where marks of this Pod were overwritten before, look closely, for the provider does so
    /// within 5 s of a transition. Not `urgent`: nothing could be put back in that time, so that there is no hurry.
    pub fn marked(&mut self, urgent: bool, now: Duration) {
        self.wrote(now);
        if self.wary == 0 || !urgent || self.soon.is_empty() {
            return;
        }
        self.wary -= 1;
        self.soon.clear();
        let mut at = now + self.random.between(AT_FIRST.0, AT_FIRST.1);
        self.soon.push(at);
        while at < now + CLOSE_SPAN {
            at += self.random.between(CLOSE.0, CLOSE.1);
            self.soon.push(at);
        }
        self.soon.push(now + self.random.between(AT_LAST.0, AT_LAST.1));
    }

    /// The overwrite that looks were waiting for was found.
    pub fn found(&mut self) {
        self.soon.clear();
        self.wary = PATIENCE;
    }

    /// Something was changed that only the Pod tells, such as its plan: look at once, also where a shield stands.
    pub fn now(&mut self, now: Duration) {
        if !self.settings.has_watch {
            self.soon.push(now);
        }
    }

    /// The Pod was seen, by a look or by the answer to a write.
    pub fn observed(&mut self, now: Duration) {
        self.soon.retain(|at| *at > now);
        if !self.settings.has_watch && !self.settings.has_shield {
            let period = self.settings.period;
            self.rare = Some(now + self.random.between(period, period + period / 10));
        }
        if let Some(chase) = &mut self.chase
            && chase.at <= now
        {
            let longest = if chase.awaited == Awaited::Start { self.settings.period } else { CHASE.1 };
            chase.wait = chase.wait.saturating_mul(2).min(longest);
            chase.at = now + chase.wait;
        }
    }

    /// What is awaited that only the Pod's status tells.
    pub fn await_status(&mut self, awaited: Awaited, now: Duration) {
        if awaited == Awaited::Nothing || self.settings.has_watch {
            self.chase = None;
        } else if self.chase.is_none_or(|chase| chase.awaited != awaited) {
            let wait = if awaited == Awaited::Start { self.random.between(DOUBT, DOUBT * 6 / 5) } else { CHASE.0 };
            self.chase = Some(Chase { awaited, at: now + wait, wait });
        }
    }

    /// A sign that what is awaited has come about: look soon, however long the wait has grown.
    pub fn hurry(&mut self, now: Duration) {
        if let Some(chase) = &mut self.chase
            && chase.awaited == Awaited::Turn
            && self.chased.is_none_or(|chased| now >= chased + ANEW)
        {
            self.chased = Some(now);
            (chase.at, chase.wait) = (now + CHASE.0, CHASE.0);
        }
    }

    /// When to look next.
    pub fn due(&self) -> Option<Duration> {
        let soon = self.soon.iter().copied();
        soon.chain(self.rare).chain(self.chase.map(|chase| chase.at)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(has_watch: bool, has_shield: bool) -> Looks {
        let period = Duration::from_secs(600);
        Looks::new(LookSettings { period, has_watch, has_shield }, Random::new(3))
    }

    fn seconds(looks: &mut Looks, until: u64) -> Vec<f64> {
        let mut seconds = Vec::new();
        while let Some(at) = looks.due().filter(|at| at.as_secs() < until) {
            seconds.push(at.as_secs_f64());
            looks.observed(at);
        }
        seconds
    }

    #[test]
    fn an_edit_is_looked_at_once_whatever_stands() {
        for has_shield in [false, true] {
            let mut looks = looks(false, has_shield);
            looks.now(Duration::from_secs(5));
            assert_eq!(looks.due(), Some(Duration::from_secs(5)));
            looks.observed(Duration::from_secs(6));
            assert!(looks.due().is_none_or(|at| at > Duration::from_secs(60)), "once");
        }
        let mut watched = looks(true, false);
        watched.now(Duration::ZERO);
        assert_eq!(watched.due(), None);
    }

    #[test]
    fn two_looks_follow_a_write_three_the_first_and_then_one_in_ten_minutes() {
        let mut looks = looks(false, false);
        assert_eq!(looks.due(), None);
        for first in [1, 0] {
            looks.wrote(Duration::ZERO);
            let mut seconds = seconds(&mut looks, 3600);
            assert!((0.5..=0.9).contains(&seconds[0]), "{seconds:?}");
            assert!((5.5..=6.5).contains(&seconds[1]), "{seconds:?}");
            assert!(first == 0 || (20.0..=30.0).contains(&seconds.remove(2)), "{seconds:?}");
            assert!((606.0..=690.0).contains(&seconds[2]), "{seconds:?}");
            assert!((7..=8).contains(&seconds.len()), "{seconds:?}");
        }
    }

    #[test]
    fn after_a_transition_a_pod_once_overwritten_is_looked_at_closely() {
        let mut looks = looks(false, false);
        for round in 0..100 {
            let begin = round * 100;
            looks.found();
            looks.marked(true, Duration::from_secs(begin));
            let seconds: Vec<_> = seconds(&mut looks, begin + 60).iter().map(|at| at - begin as f64).collect();
            assert!((0.199..=0.351).contains(&seconds[0]), "{seconds:?}");
            let (last, seconds) = seconds.split_last().expect("looks");
            assert!((12.0..=15.0).contains(last), "{last}");
            let mut gaps = seconds.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.all(|gap| (0.599..=0.801).contains(&gap)), "{seconds:?}");
            let last = *seconds.last().expect("looks");
            assert!((5.8..=6.6).contains(&last) && (8..=12).contains(&seconds.len()), "{seconds:?}");
        }
        // It is found by the second look: no further ones, and the heal is looked after as any write.
        looks.marked(true, Duration::ZERO);
        looks.observed(Duration::from_millis(400));
        looks.found();
        assert!(looks.due().is_none_or(|at| at > Duration::from_secs(60)), "{looks:?}");
        looks.wrote(Duration::from_secs(1));
        assert_eq!(seconds(&mut looks, 60).len(), 2);
    }

    #[test]
    fn close_looks_end_where_they_are_of_no_use() {
        let count = |looks: &mut Looks, urgent: bool| {
            looks.marked(urgent, Duration::ZERO);
            seconds(looks, 60).len()
        };
        assert_eq!(count(&mut looks(false, false), true), 3, "nothing was overwritten yet");
        let mut later = looks(false, false);
        later.wrote(Duration::ZERO);
        later.found();
        assert_eq!(count(&mut later, false), 2, "in a war");
        let counts: Vec<_> = (0..10).map(|_| count(&mut later, true)).collect();
        assert!(counts[..8].iter().all(|count| *count >= 8) && counts[8..] == [2, 2], "{counts:?}");
        for (watch, shield) in [(true, false), (false, true)] {
            let mut looks = looks(watch, shield);
            looks.found();
            assert_eq!(count(&mut looks, true), 0, "watch {watch}, shield {shield}");
        }
    }

    #[test]
    fn a_watch_or_a_shield_needs_no_looks() {
        for (watch, shield) in [(true, false), (false, true), (true, true)] {
            let mut looks = looks(watch, shield);
            looks.wrote(Duration::ZERO);
            assert_eq!(looks.due(), None);
        }
    }

    #[test]
    fn what_only_the_status_tells_is_looked_for_less_and_less_often() {
        let mut looks = looks(false, true);
        looks.await_status(Awaited::Turn, Duration::ZERO);
        let found = seconds(&mut looks, 200);
        let expected = [0.3, 0.9, 2.1, 4.5, 9.3, 18.9, 38.1, 76.5, 136.5, 196.5];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
        looks.hurry(Duration::from_secs(200));
        assert_eq!(looks.due(), Some(Duration::from_millis(200_300)));
        looks.observed(Duration::from_millis(200_300));
        looks.hurry(Duration::from_secs(205));
        assert_eq!(looks.due(), Some(Duration::from_millis(200_900)), "not again so soon");
        looks.await_status(Awaited::Nothing, Duration::from_secs(210));
        looks.hurry(Duration::from_secs(300));
        assert_eq!(looks.due(), None);
    }

    #[test]
    fn a_status_that_may_be_older_than_the_container_s_start_is_looked_at_again_but_rarely() {
        let mut looks = looks(false, true);
        looks.await_status(Awaited::Start, Duration::ZERO);
        looks.hurry(Duration::ZERO);
        let found = seconds(&mut looks, 3600);
        assert!((5.5..=6.6).contains(&found[0]), "{found:?}");
        assert!(found.windows(2).all(|pair| pair[1] - pair[0] <= 600.1) && found.len() <= 13, "{found:?}");
        // Something weightier is awaited: it is not kept waiting.
        looks.await_status(Awaited::Turn, Duration::from_secs(3600));
        assert_eq!(looks.due(), Some(Duration::from_millis(3_600_300)));
        looks.await_status(Awaited::Nothing, Duration::from_secs(3601));
        assert_eq!(looks.due(), None);
    }
}
