use super::*;

const SUCCEEDED: ProbeState = ProbeState::Succeeded;
const FAILED: ProbeState = ProbeState::Failed;
const UNKNOWN: ProbeState = ProbeState::Unknown;

/// A probe of container `c`; its policies as `S l:key=value a:key=value` or `F ...`.
fn probe(name: &str, condition: Option<&str>, policies: &[&str]) -> PlannedProbe {
    let policy = |text: &&str| {
        let mut words = text.split(' ');
        let state = if words.next() == Some("S") { PolicyState::Succeeded } else { PolicyState::Failed };
        let mut policy = MarkerPolicy { state, labels: BTreeMap::new(), annotations: BTreeMap::new() };
        for word in words {
            let (key, value) = word.split_once('=').expect("key=value");
            match key.split_once(':').expect("kind:key") {
                ("l", key) => policy.labels.insert(key.into(), value.into()),
                (_, key) => policy.annotations.insert(key.into(), value.into()),
            };
        }
        policy
    };
    PlannedProbe {
        id: id(name),
        marker: String::new(),
        probe: Default::default(),
        condition_type: condition.map(Into::into),
        policies: policies.iter().map(policy).collect(),
        keep_marks: false,
    }
}

fn id(name: &str) -> ProbeId {
    ProbeId { container: "c".into(), name: name.into() }
}

fn results(states: &[(&str, ProbeState)]) -> Results {
    let settled = |state| Settled { state, reason: "R".into(), message: "m".into(), since: 1, probed: 1 };
    states.iter().map(|(name, state)| (id(name), settled(*state))).collect()
}

/// `c:T=True l:key=value -a:key`, sorted.
fn text(desired: &Desired) -> String {
    let word = |(unit, want): (&Unit, &Want)| {
        let name = match unit {
            Unit::Condition(name) => format!("c:{name}"),
            Unit::Label(name) => format!("l:{name}"),
            Unit::Annotation(name) => format!("a:{name}"),
        };
        match want {
            Want::Condition(condition) => format!("{name}={}", condition.status),
            Want::Text(value) => format!("{name}={value}"),
            Want::Absent => format!("-{name}"),
        }
    };
    desired.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn marks(probes: Vec<PlannedProbe>, states: &[(&str, ProbeState)]) -> String {
    text(&desired(&Plan { probes }, &results(states), &Writes::default(), Marks::All))
}

#[test]
fn the_matched_policy_sets_and_the_opposite_one_is_deleted() {
    let both = || vec![probe("p", Some("T"), &["S l:up=yes a:note=1 l:both=s", "F l:down=yes l:both=f"])];
    let only_success = || vec![probe("p", Some("T"), &["S l:up=yes a:note=1"])];
    let only_failure = || vec![probe("p", None, &["F l:down=yes"])];
    for (probes, state, expected) in [
        (both(), SUCCEEDED, "c:T=True l:both=s -l:down l:up=yes a:note=1"),
        (both(), FAILED, "c:T=False l:both=f l:down=yes -l:up -a:note"),
        (both(), UNKNOWN, "c:T=Unknown -l:both -l:down -l:up -a:note"),
        (only_success(), SUCCEEDED, "c:T=True l:up=yes a:note=1"),
        (only_success(), FAILED, "c:T=False -l:up -a:note"),
        (only_success(), UNKNOWN, "c:T=Unknown -l:up -a:note"),
        (only_failure(), SUCCEEDED, "-l:down"),
        (only_failure(), FAILED, "l:down=yes"),
        (vec![probe("p", Some("T"), &[])], SUCCEEDED, "c:T=True"),
        (vec![probe("p", None, &[])], SUCCEEDED, ""),
    ] {
        assert_eq!(marks(probes, &[("p", state)]), expected);
    }
}

#[test]
fn a_shared_key_is_set_if_any_probe_sets_it() {
    let up = || vec![probe("a", None, &["S l:up=a"]), probe("b", None, &["S l:up=b"])];
    let cross = || vec![probe("a", None, &["S l:k=1"]), probe("b", None, &["F l:k=2"])];
    for (probes, states, expected) in [
        // Of several values the probe later in the plan wins.
        (up(), [("a", SUCCEEDED), ("b", SUCCEEDED)], "l:up=b"),
        (up(), [("a", SUCCEEDED), ("b", FAILED)], "l:up=a"),
        (up(), [("a", FAILED), ("b", SUCCEEDED)], "l:up=b"),
        (up(), [("a", FAILED), ("b", FAILED)], "-l:up"),
        (up(), [("a", UNKNOWN), ("b", UNKNOWN)], "-l:up"),
        (cross(), [("a", SUCCEEDED), ("b", SUCCEEDED)], "l:k=1"),
        (cross(), [("a", SUCCEEDED), ("b", FAILED)], "l:k=2"),
        (cross(), [("a", FAILED), ("b", SUCCEEDED)], "-l:k"),
    ] {
        assert_eq!(marks(probes, &states), expected, "{states:?}");
    }
}

#[test]
fn nothing_is_written_for_a_probe_that_has_not_settled_nor_deleted_under_its_hands() {
    let probes = || vec![probe("a", Some("A"), &["S l:k=1"]), probe("b", Some("B"), &["S l:k=1 l:own=1"])];
    assert_eq!(marks(probes(), &[]), "");
    assert_eq!(marks(probes(), &[("a", FAILED)]), "c:A=False");
    assert_eq!(marks(probes(), &[("a", SUCCEEDED)]), "c:A=True l:k=1");
    assert_eq!(marks(probes(), &[("a", FAILED), ("b", FAILED)]), "c:A=False c:B=False -l:k -l:own");
}

#[test]
fn retired_names_go_unless_the_plan_writes_them() {
    let plan = Plan { probes: vec![probe("p", Some("T"), &["S l:k=1"])] };
    let retired: Writes = "a:old,c:Old,c:T,l:k,l:old".parse().expect("writes");
    let of = |marks| text(&desired(&plan, &results(&[("p", SUCCEEDED)]), &retired, marks));
    assert_eq!(of(Marks::All), "-c:Old c:T=True l:k=1 -l:old -a:old");
    assert_eq!(of(Marks::Conditions), "-c:Old c:T=True");
}

#[test]
fn messages_are_cut() {
    let mut results = results(&[("p", FAILED)]);
    results.get_mut(&id("p")).expect("result").message = "é".repeat(2000);
    let plan = Plan { probes: vec![probe("p", Some("T"), &[])] };
    let desired = desired(&plan, &results, &Writes::default(), Marks::All);
    let Some(Want::Condition(condition)) = desired.get(&Unit::Condition("T".into())) else { panic!("{desired:?}") };
    assert_eq!(condition.message.len(), 1024);
}
