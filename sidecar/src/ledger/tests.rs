//! A Pod that applies patches as the API server does, and the clock in the test's hand.

use super::*;
use crate::desired::Condition;
use crate::observed::SeenCondition;
use crate::threshold::ProbeState;

mod doubt;
mod overwrite;
mod refused;

const WALL: u64 = 1_000_000;
const PLAN: &str = r#"[{"name":"p","containerName":"c","probe":{"tcpSocket":{"port":1}},"podConditionType":"T",
  "markerPolicy":[{"state":"Succeeded","labels":{"up":"yes"}},{"state":"Failed","labels":{"down":"yes"}}]}]"#;

struct World {
    ledger: Ledger,
    pod: Observed,
    now: Duration,
    sent: Vec<(u128, Purpose, Vec<String>)>,
    findings: Vec<Finding>,
    /// The provider's own copy of conditions and labels goes back at these times after each foreign write.
    overwrite_after: Option<fn(Duration) -> Duration>,
    overwrite_at: Option<Duration>,
    /// When marks were taken away.
    wiped: Vec<Duration>,
    refuses: &'static [&'static str],
}

fn settings() -> LedgerSettings {
    let look = LookSettings { period: Duration::from_secs(600), has_watch: false, has_shield: false };
    LedgerSettings { uid: "u".into(), marks: Marks::All, look, retry_spread: Duration::ZERO, observe_first: false }
}

fn world(settings: LedgerSettings) -> World {
    let plan = Plan::parse(Some(PLAN), None).expect("plan");
    World {
        ledger: Ledger::new(settings, plan, Random::new(5)),
        pod: Observed { uid: "u".into(), resource_version: "1".into(), ..Default::default() },
        now: Duration::ZERO,
        sent: Vec::new(),
        findings: Vec::new(),
        overwrite_after: None,
        overwrite_at: None,
        wiped: Vec::new(),
        refuses: &[],
    }
}

impl World {
    fn settle(&mut self, state: ProbeState, message: &str) {
        self.settle_probe("p", state, message);
    }

    fn settle_probe(&mut self, name: &str, state: ProbeState, message: &str) {
        let wall = WALL + self.now.as_secs();
        let settled = Settled { state, reason: "R".into(), message: message.into(), since: wall, probed: wall };
        self.ledger.settle(ProbeId { container: "c".into(), name: name.into() }, settled, self.now);
    }

    fn touch(&mut self) {
        self.pod.resource_version = (self.pod.resource_version.parse::<u64>().expect("number") + 1).to_string();
    }

    fn wipe(&mut self) {
        self.pod.conditions.clear();
        self.pod.labels.clear();
        self.touch();
    }

    fn apply(&mut self, patch: &Patch) {
        if patch.changes.is_empty() {
            return;
        }
        for (unit, change) in &patch.changes {
            match (unit, &change.want) {
                (Unit::Condition(kind), Want::Condition(content)) => {
                    let before = self.pod.conditions.get(kind).and_then(|seen| seen.since);
                    let since = change.times.since.or(before);
                    self.pod.conditions.insert(kind.clone(), SeenCondition { content: content.clone(), since });
                }
                (Unit::Condition(kind), _) => drop(self.pod.conditions.remove(kind)),
                (Unit::Label(key), Want::Text(value)) => drop(self.pod.labels.insert(key.clone(), value.clone())),
                (Unit::Label(key), _) => drop(self.pod.labels.remove(key)),
                (Unit::Annotation(key), Want::Text(value)) => {
                    self.pod.annotations.insert(key.clone(), value.clone());
                }
                (Unit::Annotation(key), _) => drop(self.pod.annotations.remove(key)),
            }
        }
        self.touch();
        if let Some(after) = self.overwrite_after {
            self.overwrite_at.get_or_insert(after(self.now));
        }
    }

    /// Lets everything happen that happens within `span`.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            if self.overwrite_at.is_some_and(|at| at <= self.now) {
                self.overwrite_at = None;
                self.wiped.push(self.now);
                self.wipe();
            }
            let wake = match self.ledger.step(self.now) {
                Step::Send(patch, purpose) => {
                    self.answer(&patch, purpose);
                    continue;
                }
                Step::Wait(wake) => wake,
            };
            let next = wake.into_iter().chain(self.overwrite_at).chain([end]).min().expect("end");
            if next >= end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now + Duration::from_millis(1));
        }
    }

    fn answer(&mut self, patch: &Patch, purpose: Purpose) {
        let names: Vec<String> = patch.changes.keys().map(|unit| unit.name().to_owned()).collect();
        assert!(self.sent.len() < 10_000, "a loop: {:?}", &self.sent[..10]);
        let is_refused = names.iter().any(|name| self.refuses.contains(&name.as_str()));
        self.sent.push((self.now.as_millis(), purpose, names));
        let findings = if is_refused {
            self.ledger.refused("denied", self.now)
        } else {
            self.apply(patch);
            self.ledger.accepted(self.pod.clone(), self.now)
        };
        self.findings.extend(findings);
    }

    fn writes(&self) -> Vec<(u128, Purpose)> {
        self.sent
            .iter()
            .filter(|(_, purpose, _)| *purpose != Purpose::Look)
            .map(|(at, purpose, _)| (*at, *purpose))
            .collect()
    }

    fn looks(&self) -> usize {
        self.sent.len() - self.writes().len()
    }

    fn condition(&self) -> (&str, u64) {
        let seen = &self.pod.conditions["T"];
        (&seen.content.status, seen.since.expect("time") - WALL)
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_transition_is_one_patch_and_a_quiet_hour_has_only_rare_looks() {
    let mut world = world(settings());
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(60));
    assert_eq!(world.writes(), [(0, Purpose::Mark)]);
    assert_eq!(world.looks(), 3);
    assert_eq!((world.condition(), world.pod.labels["up"].as_str()), (("True", 0), "yes"));
    world.settle(ProbeState::Failed, "no");
    world.run(secs(60));
    assert_eq!(world.writes(), [(0, Purpose::Mark), (60_000, Purpose::Mark)]);
    assert_eq!((world.condition(), world.pod.labels.contains_key("up")), (("False", 60), false));
    let before = world.sent.len();
    world.run(secs(3600));
    assert_eq!(world.writes().len(), 2);
    assert!((4..=6).contains(&(world.sent.len() - before)), "{:?}", world.sent);
}

#[test]
fn results_of_a_time_share_a_patch_and_later_ones_wait_for_the_one_in_flight() {
    let mut world = world(settings());
    let two = PLAN.replace(
        "]}]",
        r#"]},{"name":"q","containerName":"c","probe":{"tcpSocket":{"port":1}},"podConditionType":"U"}]"#,
    );
    world.ledger.replan(Plan::parse(Some(&two), None).expect("plan"));
    world.settle(ProbeState::Succeeded, "ok");
    assert_eq!(world.ledger.step(world.now), Step::Wait(Some(GATHER)));
    world.settle_probe("q", ProbeState::Failed, "no");
    let Step::Send(patch, Purpose::Mark) = world.ledger.step(world.now) else { panic!("not sent") };
    assert_eq!(patch.changes.len(), 4);
    world.settle(ProbeState::Failed, "no");
    world.settle_probe("q", ProbeState::Succeeded, "ok");
    assert_eq!(world.ledger.step(world.now), Step::Wait(None));
    world.apply(&patch);
    world.ledger.accepted(world.pod.clone(), world.now);
    let Step::Send(patch, Purpose::Mark) = world.ledger.step(world.now) else { panic!("not sent") };
    assert_eq!(patch.changes.len(), 4);
}

#[test]
fn a_slow_probe_does_not_hold_the_first_results_back() {
    let mut world = world(settings());
    let two = PLAN.replace(
        "]}]",
        r#"]},{"name":"q","containerName":"c","probe":{"tcpSocket":{"port":1}},"podConditionType":"U"}]"#,
    );
    world.ledger.replan(Plan::parse(Some(&two), None).expect("plan"));
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(1));
    assert_eq!(world.writes(), [(30, Purpose::Mark)]);
}

#[test]
fn after_its_own_restart_nothing_is_sent_that_already_holds() {
    let mut first = world(settings());
    first.settle(ProbeState::Succeeded, "ok");
    first.run(secs(1));
    let mut second = world(LedgerSettings { observe_first: true, ..settings() });
    second.pod = first.pod.clone();
    second.now = secs(100);
    second.settle(ProbeState::Succeeded, "ok");
    second.run(secs(1));
    assert_eq!(second.writes(), []);
    assert_eq!((second.looks(), second.condition()), (1, ("True", 0)));
    second.settle(ProbeState::Failed, "no");
    second.run(secs(1));
    assert_eq!((second.writes().len(), second.condition()), (1, ("False", 101)));
}

#[test]
fn a_message_brings_back_the_time_of_a_condition_that_was_taken_away_unseen() {
    let mut world = world(settings());
    world.settle(ProbeState::Failed, "one");
    world.run(secs(7));
    world.pod.conditions.clear();
    world.touch();
    world.settle(ProbeState::Failed, "two");
    world.run(secs(4));
    assert_eq!(world.writes()[1], (10_000, Purpose::Message));
    assert_eq!(world.condition(), ("False", 0));
}

#[test]
fn a_message_alone_waits_and_moves_no_time() {
    let mut world = world(settings());
    world.settle(ProbeState::Failed, "one");
    world.run(secs(2));
    for message in 0..3600 {
        world.settle(ProbeState::Failed, &format!("now {message}"));
        world.run(secs(1));
    }
    assert!(world.writes().len() < 20, "{:?}", world.writes());
    assert_eq!(world.writes()[1], (10_000, Purpose::Message));
    assert_eq!(world.condition(), ("False", 0));
}

#[test]
fn a_plan_edit_takes_marks_along_and_keeps_the_state_of_the_rest() {
    let other = r#",{"name":"q","containerName":"c","probe":{"tcpSocket":{"port":1}},"podConditionType":"U",
        "markerPolicy":[{"state":"Succeeded","labels":{"q":"1"}}]}]"#;
    for keep in [false, true] {
        let mut world = world(settings());
        let two = format!("{}{other}", &PLAN[..PLAN.len() - 1]);
        let mut plan = Plan::parse(Some(&two), None).expect("plan");
        plan.probes[1].keep_marks = keep;
        world.ledger.replan(plan.clone());
        world.settle(ProbeState::Succeeded, "ok");
        world.settle_probe("q", ProbeState::Succeeded, "ok");
        world.run(secs(30));
        assert_eq!((world.pod.labels.len(), world.pod.conditions.len(), world.writes().len()), (2, 2, 1));
        plan.probes.truncate(1);
        world.ledger.replan(plan);
        world.run(secs(30));
        let left = if keep { (2, 2, 1) } else { (1, 1, 2) };
        assert_eq!((world.pod.labels.len(), world.pod.conditions.len(), world.writes().len()), left, "keep {keep}");
        assert_eq!(world.condition(), ("True", 0));
    }
}

#[test]
fn names_that_the_pod_lists_but_the_plan_does_not_need_are_removed() {
    let mut world = world(LedgerSettings { observe_first: true, ..settings() });
    world.pod.labels.insert("old".into(), "1".into());
    world.pod.labels.insert("foreign".into(), "1".into());
    world.pod.plan.writes = Some("c:T,l:down,l:old,l:up".into());
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(1));
    let labels: Vec<_> = world.pod.labels.keys().map(String::as_str).collect();
    assert_eq!(labels, ["foreign", "up"]);
    assert_eq!(world.writes().len(), 1);
}

#[test]
fn trouble_is_waited_out_and_the_newest_state_wins() {
    let mut world = world(settings());
    world.settle(ProbeState::Succeeded, "ok");
    let Step::Send(..) = world.ledger.step(world.now) else { panic!("not sent") };
    let wait = world.ledger.failed(Trouble::Throttled, Some(secs(7)), world.now);
    assert!(wait >= secs(7), "{wait:?}");
    world.settle(ProbeState::Failed, "no");
    world.settle(ProbeState::Succeeded, "again");
    world.settle(ProbeState::Failed, "no");
    assert_eq!(world.ledger.step(world.now), Step::Wait(Some(wait)));
    world.run(secs(60));
    assert_eq!(world.writes(), [(wait.as_millis(), Purpose::Mark)]);
    assert_eq!(world.condition().0, "False");
}

#[test]
fn transition_times_never_go_backwards() {
    let mut world = world(LedgerSettings { observe_first: true, ..settings() });
    let content = Condition { status: "False".into(), reason: "R".into(), message: String::new() };
    world.pod.conditions.insert("T".into(), SeenCondition { content, since: Some(WALL + 3600) });
    world.settle(ProbeState::Succeeded, "ok");
    world.run(secs(1));
    assert_eq!(world.condition(), ("True", 3600));
}
