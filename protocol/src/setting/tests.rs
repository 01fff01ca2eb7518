use super::*;
use crate::name;

fn parse(pairs: &[(&str, &str)]) -> Result<Settings, Vec<SettingError>> {
    Settings::parse(&pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect())
}

#[test]
fn settings_are_read_and_foreign_and_own_annotations_passed_over() {
    let settings = parse(&[
        ("example.com/x", "y"),
        (name::WRITES_ANNOTATION, "c:a"),
        (name::PLAN_ANNOTATION, "[]"),
        ("probelet.io/observe", "watch"),
        ("probelet.io/period", "1s, health=250ms"),
        ("probelet.io/probe-host", "::1"),
        ("probelet.io/look", "30m"),
        ("probelet.io/retry-spread", "40s"),
        ("probelet.io/native-sidecar", "true"),
        ("probelet.io/metrics-port", "9900"),
    ])
    .expect("settings");
    assert_eq!(settings.observe, Some(Observation::Watch));
    assert_eq!(settings.period.get("health"), Some(Duration::from_millis(250)));
    assert_eq!(settings.period.get("other"), Some(Duration::from_secs(1)));
    assert_eq!(settings.timeout.get("other"), None);
    assert_eq!(settings.look, Some(Duration::from_secs(1800)));
    assert_eq!(settings.retry_spread, Some(Duration::from_secs(40)));
    assert_eq!((settings.native_sidecar, settings.metrics_port), (Some(true), Some(9900)));
}

#[test]
fn text_forms_are_read_back() {
    for text in ["1s,health=250ms", "health=250ms,idle=5s", "2m"] {
        assert_eq!(text.parse::<ByProbe>().expect(text).to_string(), text);
    }
    for text in ["auto", "pod-ip", "127.0.0.1", "::1"] {
        assert_eq!(text.parse::<ProbeHost>().expect(text).to_string(), text);
    }
}

#[test]
fn every_bad_setting_is_refused_by_key_with_what_is_allowed() {
    for (key, text, message) in [
        ("probelet.io/peroid", "1s", "no such setting; known are cpu-limit"),
        ("probelet.io/period", "fast", "from 50ms to 1day"),
        ("probelet.io/period", "1ms", "from 50ms to 1day"),
        ("probelet.io/period", "1s,2s", "at most one duration"),
        ("probelet.io/period", "a=1s,a=2s", r#"probe "a" is named twice"#),
        ("probelet.io/observe", "poll", "must be one of patch, watch"),
        ("probelet.io/marks", "", "must be one of all, conditions"),
        ("probelet.io/probe-host", "169.254.169.254", "a loopback address"),
        ("probelet.io/probe-host", "example.com", "a loopback address"),
        ("probelet.io/native-sidecar", "yes", "must be true or false"),
        ("probelet.io/metrics-port", "0", "between 1 and 65535"),
        ("probelet.io/look", "1s", "from 1m"),
        ("probelet.io/retry-spread", "10ms", "from 1s"),
        ("probelet.io/image", " ", "must not be empty"),
    ] {
        let errors = parse(&[(key, text)]).expect_err(key);
        let error = errors[0].to_string();
        assert!(error.starts_with(&format!("annotation {key}: ")), "{error}");
        assert!(error.contains(message), "{error:?} should contain {message:?}");
    }
}

#[test]
fn all_errors_come_at_once() {
    assert_eq!(parse(&[("probelet.io/marks", "x"), ("probelet.io/observe", "y")]).expect_err("two").len(), 2);
}

#[test]
fn every_known_key_is_a_setting() {
    for key in KEYS {
        let outcome = Settings::default().set(key, "\u{0}");
        assert!(outcome.is_some(), "{key}");
    }
    assert!(Settings::default().set("writes", "x").is_none());
}
