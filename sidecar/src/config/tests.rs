use super::help::SETTINGS;
use super::*;

fn config(changes: &[(&str, &str)]) -> Result<Config, Vec<ConfigError>> {
    let mut variables = BTreeMap::from([
        (env::POD_NAME, "game-0"),
        (env::POD_NAMESPACE, "games"),
        (env::POD_UID, "u1"),
        (SERVICE_HOST, "10.96.0.1"),
    ]);
    variables.extend(changes.iter().copied());
    Config::from_env(|name| variables.get(name).map(|text| (*text).to_owned()))
}

fn errors(changes: &[(&str, &str)]) -> String {
    let errors = config(changes).err().expect("errors");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_unset_has_its_documented_meaning() {
    let config = config(&[(env::PLAN, " "), (env::POD_IPS, "")]).expect("config");
    assert_eq!(config.api, ApiHost { host: "10.96.0.1".into(), port: 443 });
    assert_eq!(config.look, LookSettings { period: DEFAULT_LOOK, has_watch: false, has_shield: false });
    assert_eq!((config.plan, config.pod_ips, config.metrics_port), (Plan::default(), Vec::new(), None));
    assert_eq!(config.token_dir, PathBuf::from("/var/run/secrets/probelet.io"));
    assert_eq!(config.agent_dir, PathBuf::from("/.probelet"));
}

#[test]
fn every_setting_is_read() {
    let config = config(&[
        (env::POD_IPS, "10.0.0.5,fd00::5"),
        (env::PLAN, r#"[{"name":"p","containerName":"c","probe":{"tcpSocket":{"port":1}},"podConditionType":"T"}]"#),
        (env::PORTS, r#"{"c":{"http":8080}}"#),
        (env::STARTUP_PROBES, "a,b"),
        (env::AGENT_KEYS, r#"{"c":"secret"}"#),
        (env::NATIVE_SIDECAR, "true"),
        (env::MAY_END, "true"),
        (env::SHIELD, "true"),
        (env::OBSERVE, "watch"),
        (env::MARKS, "conditions"),
        (env::DEFAULTS, "core"),
        (env::PERIOD, "250ms"),
        (env::LOOK, "5m"),
        (env::RETRY_SPREAD, "40s"),
        (env::METRICS_PORT, "9100"),
        (env::EVENTS, "true"),
        (SERVICE_HOST, "[fd00::1]"),
        (SERVICE_PORT, "6443"),
    ])
    .expect("config");
    assert_eq!((config.plan.probes.len(), config.pod_ips.len(), config.startup_probes.len()), (1, 2, 2));
    assert_eq!((config.ports["c"]["http"], config.agent_keys["c"].as_str()), (8080, "secret"));
    assert!(config.is_native && config.may_end && config.look.has_shield && config.has_events);
    assert_eq!((config.observe, config.marks), (Observation::Watch, Marks::Conditions));
    assert_eq!((config.look.period, config.metrics_port), (Duration::from_secs(300), Some(9100)));
    assert_eq!(config.retry_spread, Duration::from_secs(40));
    assert_eq!(config.api, ApiHost { host: "fd00::1".into(), port: 6443 });
}

#[test]
fn all_errors_come_at_once_each_with_its_variable() {
    let text = errors(&[
        (env::POD_UID, ""),
        (env::PLAN, "[{}]"),
        (env::OBSERVE, "guess"),
        (env::LOOK, "soon"),
        (env::METRICS_PORT, "0"),
        (env::POD_IPS, "localhost"),
    ]);
    for expected in [
        "PROBELET_POD_UID: must be set",
        "PROBELET_PLAN: annotation kruise.io/podprobe: [0].",
        "PROBELET_OBSERVE: \"guess\"",
        "PROBELET_LOOK: \"soon\" is not allowed: must be a duration",
        "PROBELET_METRICS_PORT: \"0\"",
        "PROBELET_POD_IPS: \"localhost\" is not an IP address",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    assert!(errors(&[(env::POLICIES, "{")]).starts_with("PROBELET_MARKER_POLICIES: "));
}

#[test]
fn secrets_are_not_repeated_in_errors() {
    let text = errors(&[(env::AGENT_KEYS, r#"{"c":"hunter2"#)]);
    assert!(text.starts_with("PROBELET_AGENT_KEYS: ") && !text.contains("hunter2"), "{text}");
}

#[test]
fn help_explains_every_variable_that_is_read() {
    let help = help("1.2.3");
    let source = include_str!("../config.rs");
    let read = source
        .split("env::")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next());
    let mut count = 0;
    for constant in read.filter(|name| name.len() > 2) {
        count += 1;
        let suffix = constant.trim_start_matches("POD_");
        assert!(help.contains(suffix.split('_').next().expect("word")), "{constant}");
    }
    assert!(count >= SETTINGS.len() - 3, "{count}");
}
