use super::*;
use serde::Deserialize;

/// What Go's own net/url makes of the same texts.
#[derive(Deserialize)]
struct Go {
    paths: Vec<(String, String, Option<String>)>,
    joins: Vec<(String, String, Option<String>)>,
}

fn go() -> Go {
    serde_json::from_str(include_str!("go.json")).expect("table")
}

fn parse(text: &str) -> Url {
    let reference = Reference::parse(text).expect(text);
    reference.on("http", reference.authority.clone().expect("authority"))
}

#[test]
fn paths_are_sent_as_go_sends_them() {
    for (path, target, whole) in go().paths {
        let reference = Reference::from_path(&path);
        let Some(whole) = whole else {
            assert!(reference.is_opaque(), "{path}");
            continue;
        };
        let url = reference.on("http", "127.0.0.1:8080".into());
        assert_eq!((url.request_target(), url.to_string()), (target, whole), "{path}");
    }
}

#[test]
fn locations_lead_where_go_is_led() {
    for (base, location, expected) in go().joins {
        let joined = Reference::parse(&location).map(|reference| parse(&base).join(&reference));
        match expected {
            // Without a host the text form differs, and nothing is followed anyway.
            Some(expected) if !expected.contains("://") => {
                assert_eq!(joined.expect(&location).host(), "", "{location}");
            }
            expected => assert_eq!(joined.ok().map(|url| url.to_string()), expected, "{base} {location}"),
        }
    }
}

#[test]
fn hosts_and_ports_are_read() {
    for (text, host, port) in [
        ("http://localhost", "localhost", Some(80)),
        ("http://[::1]:8080/x", "::1", Some(8080)),
        ("http://[::1]/x", "::1", Some(80)),
        ("http://127.0.0.1:/x", "127.0.0.1", Some(80)),
        ("http://user:pw@127.0.0.1:1/x", "127.0.0.1", Some(1)),
        ("http://127.0.0.1:99999/x", "127.0.0.1", None),
    ] {
        let url = parse(text);
        assert_eq!((url.host(), url.port()), (host, port), "{text}");
    }
}
