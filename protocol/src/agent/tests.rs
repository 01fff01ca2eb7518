use super::*;

fn start(hook: Option<Hook>) -> AgentStart {
    AgentStart { container: "game".into(), key: "k3y".into(), dir: "/.probelet".into(), hook }
}

#[test]
fn arguments_are_read_back() {
    let http = |host: Option<&str>| Hook::HttpGet {
        port: 8080,
        path: "/a b?c".into(),
        host: host.map(str::to_owned),
        headers: vec![("X".into(), "--key".into()), ("Y".into(), String::new())],
    };
    for hook in [
        None,
        Some(Hook::Exec(vec!["sh".into(), "-c".into(), "--key x -- y".into(), "--".into()])),
        Some(http(None)),
        Some(http(Some("--"))),
        Some(Hook::Sleep(5)),
        Some(Hook::TcpSocket),
    ] {
        let start = start(hook);
        let arguments = start.to_arguments();
        assert_eq!(arguments[0], "start");
        assert_eq!(AgentStart::parse(arguments.into_iter().skip(1)), Ok(start));
    }
}

#[test]
fn what_is_not_of_the_grammar_is_named() {
    const BASE: &str = "--container c --key k --dir d ";
    for (rest, expected) in [
        ("--host x", "argument --host: only one hook is allowed, and --host and --header only after --http-get"),
        ("--sleep 1 --tcp-socket", "argument --tcp-socket: only one hook"),
        ("--sleep 1 -- x", "argument --: only one hook"),
        ("--sleep -1", "argument --sleep: \"-1\" is not a number between 0 and 86400"),
        ("--http-get 70000 /", "argument --http-get: \"70000\" is not a number between 1 and 65535"),
        ("--http-get 80", "argument --http-get: its value is missing"),
        ("--", "argument COMMAND is missing"),
        ("--what", "argument \"--what\" is not known; allowed are --container"),
    ] {
        let arguments = format!("{BASE}{rest}");
        let error = AgentStart::parse(arguments.split(' ').map(str::to_owned)).expect_err(rest).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = AgentStart::parse(["--key", "k", "--dir", "d"].map(str::to_owned)).expect_err("no container");
    assert_eq!(error.to_string(), "argument --container is missing");
}
