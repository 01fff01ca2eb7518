//! The exec agent as a real process tree, and the sidecar's end of it: faults F16, F17; threats T6, T7.

#[path = "agent_exec/pod.rs"]
mod pod;

use pod::{AGENT, Pod, until};
use probelet_protocol::agent::{Hook, SOCKET};
use probelet_sidecar::frame::{Ending, Frame, VERSION};
use probelet_sidecar::handler::{Handler, ProbeError};
use probelet_sidecar::knock::{Door, Knock};
use probelet_sidecar::outcome::Outcome::{self, Failure, Success};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const LONG: Duration = Duration::from_secs(10);
/// What a busy machine may add; without a timeout these runs would not end.
const BUSY: Duration = Duration::from_secs(5);

fn shell(script: &str) -> Vec<&str> {
    vec!["sh", "-c", script]
}

#[tokio::test]
async fn a_command_counts_by_its_exit_code_and_tells_the_output_that_fits() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    assert!(pod.start("main", None).0.success());
    sidecar.connected("main").await;
    for (command, expected) in [
        (vec!["true"], Success(String::new())),
        (vec!["false"], Failure(String::new())),
        (shell("echo out; echo err >&2"), Success("out\n".into())),
        (shell("echo out; echo err >&2; exit 3"), Failure("err\n".into())),
        (shell("exit 127"), Failure(String::new())),
        (shell("kill -TERM $$$$"), Failure("command was killed by signal 15".into())),
        (shell("echo why >&2; kill -9 $$$$"), Failure("why\n".into())),
        // The container's environment, as kubelet expands it, and its working directory.
        (
            vec!["echo", "$(GREETING) $$(GREETING) $(NOBODY) $GREETING"],
            Success("hello $(GREETING) $(NOBODY) $GREETING\n".into()),
        ),
        (shell("echo $GREETING $$$$ $(GREETING) | sed 's/[0-9]//g'"), Success("hello  hello\n".into())),
        (vec!["pwd"], Success("/usr\n".into())),
        (shell("cat; echo no input"), Success("no input\n".into())),
        (shell("printf 'a\\377b'"), Success("a\u{fffd}b".into())),
        (shell("head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero >&2"), Success("x".repeat(1024))),
    ] {
        assert_eq!(sidecar.exec(&command, LONG).await, Ok(expected), "{command:?}");
    }
}

#[tokio::test]
async fn a_command_that_cannot_start_is_no_result() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    let missing = sidecar.exec(&["true"], LONG).await.expect_err("no agent yet");
    assert_eq!(
        (missing.reason(), missing.to_string().as_str()),
        ("ExecAgentMissing", "no exec agent of container \"main\" is connected")
    );
    pod.start("main", None);
    sidecar.connected("main").await;
    let error = sidecar.exec(&["/no/such/program"], LONG).await.expect_err("no program");
    assert_eq!(error.reason(), "ExecCannotStart");
    assert!(error.to_string().contains("/no/such/program: No such file or directory"), "{error}");
    let error = sidecar.exec(&["/etc/passwd"], LONG).await.expect_err("no program");
    assert!(error.to_string().contains("Permission denied"), "{error}");
    let other = sidecar.exec_in("other", &["true"], LONG).await.expect_err("has no agent");
    assert_eq!(other.reason(), "ExecAgentMissing");
}

/// Fault F17.
#[tokio::test]
async fn a_timeout_kills_the_whole_group_and_leaves_no_zombie() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    pod.start("main", None);
    sidecar.connected("main").await;
    let limit = Duration::from_millis(200);
    for _ in 0..5 {
        let begin = Instant::now();
        let outcome = sidecar.exec(&shell("sleep 999 & sleep 999"), limit).await;
        let took = begin.elapsed();
        let message = "command timed out: \"sh -c sleep 999 & sleep 999\" timed out after 200ms";
        assert_eq!(outcome, Ok(Failure(message.into())));
        assert!(took >= limit && took < limit + BUSY, "{took:?}");
    }
    until("only the agent lives", || pod.processes().len() == 1).await;
    until("no zombie is left", || pod.zombies() == 0).await;
    assert_eq!(sidecar.exec(&["true"], LONG).await, Ok(Success(String::new())));
}

#[tokio::test]
async fn what_a_command_leaves_behind_lives_on_and_is_reaped() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    pod.start("main", None);
    sidecar.connected("main").await;
    assert_eq!(sidecar.exec(&shell("sleep 3 & echo done"), LONG).await, Ok(Success("done\n".into())));
    assert_eq!(pod.processes().len(), 2, "it was not waited for");
    until("the one left behind has ended", || pod.processes().len() == 1).await;
    until("no zombie is left", || pod.zombies() == 0).await;
}

#[tokio::test]
async fn many_commands_run_at_once() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    pod.start("main", None);
    sidecar.connected("main").await;
    let begin = Instant::now();
    let names: Vec<String> = (0..32).map(|n| format!("sleep 0.5; echo {n}")).collect();
    let mut runs = tokio::task::JoinSet::new();
    let sidecar = std::sync::Arc::new(sidecar);
    for (n, script) in names.into_iter().enumerate() {
        let sidecar = sidecar.clone();
        runs.spawn(async move { (n, sidecar.exec(&shell(&script), LONG).await) });
    }
    for (n, outcome) in runs.join_all().await {
        assert_eq!(outcome, Ok(Success(format!("{n}\n"))));
    }
    // One after the other they take 16 s.
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

/// The first run that an agent answers which goes on again: until the one that it has in hand has ended it is silent.
async fn goes_on(probe: &Handler) -> Result<Outcome, ProbeError> {
    let begin = Instant::now();
    loop {
        match probe.run(LONG).await {
            Err(ProbeError::AgentSilent(_)) if begin.elapsed() < BUSY => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
            result => return result,
        }
    }
}

/// A container whose processes are stopped for a while, as by a freezer or a debugger.
#[tokio::test]
async fn an_agent_that_stood_still_has_one_run_of_a_probe_to_make_up_for() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    pod.start("main", None);
    sidecar.connected("main").await;
    let runs = pod.dir.join("runs");
    let counting = format!("echo x >> {}", runs.display());
    let probe = sidecar.probe("main", &shell(&counting));
    let agent = pod.agents()[0].to_string();
    let kill = |signal: &str| assert!(Command::new("kill").args([signal, &agent]).status().expect("kill").success());
    kill("-STOP");
    let begin = Instant::now();
    for _ in 0..20 {
        let error = probe.run(Duration::from_millis(100)).await.expect_err("it stands still");
        assert_eq!(error.reason(), "ExecAgentSilent");
    }
    // Only the first one is waited for.
    assert!(begin.elapsed() < BUSY, "{:?}", begin.elapsed());
    kill("-CONT");
    let count = || std::fs::read_to_string(&runs).unwrap_or_default().lines().count();
    assert_eq!(goes_on(&probe).await, Ok(Success(String::new())));
    // The first one may have been too late for its timeout.
    assert!((1..=2).contains(&count()), "{} runs", count());
    // Other probes have a run of their own each, up to as many as a Pod may have.
    kill("-STOP");
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let other = sidecar.probe("main", &shell(&counting));
        others.spawn(async move { other.run(Duration::from_millis(100)).await });
    }
    assert!(others.join_all().await.iter().all(Result::is_err));
    kill("-CONT");
    assert_eq!(goes_on(&probe).await, Ok(Success(String::new())));
    assert!(count() <= 3 + 64, "{} runs", count());
}

#[tokio::test]
async fn agents_come_back_to_a_new_sidecar_and_drop_what_ran_for_the_old_one() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    pod.start("main", None);
    pod.start("other", None);
    sidecar.connected("main").await;
    sidecar.connected("other").await;
    assert_eq!(pod.agents().len(), 2);
    let agents = sidecar.agents.clone();
    let run = tokio::spawn(async move { sidecar.exec(&["sleep", "999"], LONG).await });
    until("the command runs", || pod.processes().len() == 3).await;
    run.abort();
    drop(agents);
    until("the command has ended", || pod.processes().len() == 2).await;
    let sidecar = pod.sidecar();
    sidecar.connected("main").await;
    sidecar.connected("other").await;
    assert_eq!(sidecar.agents.refused(), 0);
}

/// Fault F16: whatever is wrong, the container is not held up.
#[tokio::test]
async fn start_returns_at_once_with_success() {
    let soon = Duration::from_secs(1);
    let pod = Pod::new();
    // No socket.
    let (status, took) = pod.start("main", None);
    assert!(status.success() && took < soon, "{status} {took:?}");
    // A sidecar that does not move.
    let silent = std::os::unix::net::UnixListener::bind(pod.dir.join(SOCKET)).expect("bind");
    let (status, took) = pod.start("main", None);
    assert!(status.success() && took < soon, "{status} {took:?}");
    drop(silent);
    std::fs::remove_file(pod.dir.join(SOCKET)).expect("remove");
    // A socket that is none.
    std::fs::write(pod.dir.join(SOCKET), "full").expect("file");
    let (status, took) = pod.start("main", None);
    assert!(status.success() && took < soon, "{status} {took:?}");
    until("three agents wait", || pod.agents().len() == 3).await;
}

#[tokio::test]
async fn the_agent_leaves_the_session_and_the_output_of_whoever_started_it() {
    let pod = Pod::new();
    pod.start("main", None);
    until("it runs", || pod.agents().len() == 1).await;
    let pid = pod.agents()[0];
    let field = |index: usize| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        stat.rsplit(')').next().expect("fields").split_whitespace().nth(index).expect("field").to_owned()
    };
    until("it leads a session", || field(3) == pid.to_string()).await;
    for fd in [1, 2] {
        let target = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).expect("link");
        assert_eq!(target.to_str(), Some("/dev/null"));
    }
    // The key is not among what everybody may read.
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).expect("cmdline");
    assert!(!String::from_utf8_lossy(&arguments).contains("key-main"));
}

#[tokio::test]
async fn an_original_hook_runs_as_before_and_its_result_is_the_result() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    let exec = |command: &[&str]| Some(Hook::Exec(command.iter().map(|word| (*word).to_owned()).collect()));
    let out = pod.dir.join("out");
    let script = format!("echo \"$0 $1\" > {}; exit 7", out.display());
    let (status, _) = pod.start("main", exec(&["sh", "-c", &script, "--key", "$(GREETING)"]));
    assert_eq!(status.code(), Some(7));
    // A hook's arguments are not expanded.
    assert_eq!(std::fs::read_to_string(out).expect("out"), "--key $(GREETING)\n");
    sidecar.connected("main").await;
    assert_eq!(pod.start("other", exec(&["sh", "-c", "kill -9 $$"])).0.signal(), Some(9));
    assert_eq!(pod.start("other", exec(&["/no/such"])).0.code(), Some(127));
    assert_eq!(pod.start("other", exec(&["/etc/passwd"])).0.code(), Some(126));
    assert_eq!(pod.start("other", Some(Hook::TcpSocket)).0.code(), Some(1));
    let (status, took) = pod.start("other", Some(Hook::Sleep(1)));
    assert!(status.success() && took >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_original_http_hook_succeeds_with_any_answer() {
    let pod = Pod::new();
    let hook = |port: u16| Hook::HttpGet {
        port,
        path: "/ready?x=y".into(),
        host: None,
        headers: vec![("x-a".into(), "1".into())],
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let served = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().expect("accept");
        let mut request = [0; 1024];
        let count = stream.read(&mut request).expect("read");
        stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno").expect("write");
        // The connection stays open: this server does not care for `Connection: close`.
        (String::from_utf8_lossy(&request[..count]).into_owned(), stream)
    });
    assert!(pod.start("main", Some(hook(port))).0.success());
    let (request, _stream) = served.join().expect("request");
    assert!(request.starts_with("GET /ready?x=y HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
    assert!(request.contains("User-Agent: kube-lifecycle/") && request.contains("X-A: 1\r\n"), "{request}");
    assert_eq!(pod.start("main", Some(hook(port))).0.code(), Some(1));
}

/// Threat T6.
#[tokio::test]
async fn nobody_else_can_speak_for_a_container() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    pod.start("main", None);
    sidecar.connected("main").await;
    let hello = |container: &str, key: &str, version| {
        Frame::Hello { version, container: container.into(), key: key.into() }.encode()
    };
    for bytes in [
        hello("other", "key-main", VERSION),
        hello("other", "", VERSION),
        hello("nobody", "key-main", VERSION),
        hello("other", "key-other", VERSION + 1),
        // The right key, but the container has an agent.
        hello("main", "key-main", VERSION),
        Frame::Run { id: 1, timeout: 1, command: vec!["true".into()] }.encode(),
        Frame::Result { id: 1, ending: Ending::TimedOut }.encode(),
        vec![0xff; 64],
        vec![0; 64],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let before = sidecar.agents.refused();
        let mut stream = UnixStream::connect(pod.dir.join(SOCKET)).await.expect("connect");
        stream.write_all(&bytes).await.expect("write");
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0, "closed");
        until("it is counted", || sidecar.agents.refused() == before + 1).await;
    }
    // An agent that is one cannot end the runs of another, nor send anything but results.
    let mut other = UnixStream::connect(pod.dir.join(SOCKET)).await.expect("connect");
    other.write_all(&hello("other", "key-other", VERSION)).await.expect("write");
    let forged = |ids: std::ops::Range<u32>| -> Vec<u8> {
        ids.flat_map(|id| {
            let ending = Ending::Exited { code: 0, stdout: b"forged".to_vec(), stderr: Vec::new() };
            Frame::Result { id, ending }.encode()
        })
        .collect()
    };
    let command = shell("sleep 0.3; echo mine");
    let (outcome, ()) = tokio::join!(sidecar.exec(&command, LONG), async {
        other.write_all(&forged(0..16)).await.expect("write");
    });
    assert_eq!(outcome, Ok(Success("mine\n".into())));
    let asked = sidecar.exec_in("other", &["true"], Duration::from_millis(50));
    let (outcome, _) = tokio::join!(asked, async {
        let mut frame = [0; 64];
        let _ = other.read(&mut frame).await.expect("run");
        other.write_all(&[9; 64]).await.expect("write");
    });
    assert_eq!(outcome.expect_err("garbage is no result").reason(), "ExecAgentSilent");
    // Nor does one stay that goes on sending what nobody asked for.
    let before = sidecar.agents.refused();
    let mut other = UnixStream::connect(pod.dir.join(SOCKET)).await.expect("connect");
    let _ = other.write_all(&[hello("other", "key-other", VERSION), forged(0..2000)].concat()).await;
    let closed = tokio::time::timeout(LONG, other.read(&mut [0; 16])).await.expect("closed in time");
    assert_eq!(closed.unwrap_or(0), 0);
    until("it is counted", || sidecar.agents.refused() == before + 1).await;
}

/// With a period of minutes the first result would else be that late: the probe begins before its container.
#[tokio::test]
async fn an_agent_that_comes_asks_for_its_containers_probes() {
    let pod = Pod::new();
    let (knocks, mut heard) = tokio::sync::broadcast::channel(4);
    let begin = Instant::now();
    let sidecar = pod.sidecar_telling(Some(knocks));
    pod.start("other", None);
    let first = heard.recv().await;
    // It may have waited for this sidecar, unless the machine is very slow.
    assert!(first == Ok(Knock::Container("other".into())) || begin.elapsed() > Duration::from_secs(2), "{first:?}");
    sidecar.connected("other").await;
    let agent = pod.agents()[0].to_string();
    assert!(Command::new("kill").args(["-9", &agent]).status().expect("kill").success());
    // One that goes asks for nothing, and one that is refused is nobody's.
    let mut stream = UnixStream::connect(pod.dir.join(SOCKET)).await.expect("connect");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("write");
    until("it is refused", || sidecar.agents.refused() == 1).await;
    assert!(heard.try_recv().is_err());
    // The next one says that its container has been started.
    pod.start("other", None);
    assert_eq!(heard.recv().await, Ok(Knock::Started("other".into())));
}

#[tokio::test]
async fn a_crowd_of_connections_is_refused() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(UnixStream::connect(pod.dir.join(SOCKET)).await.expect("connect"));
    }
    until("the crowd is refused", || sidecar.agents.refused() == 40).await;
    drop(crowd);
    pod.start("main", None);
    sidecar.connected("main").await;
}

/// Threat T6: whatever one container does, the agents of the others come through.
#[tokio::test]
async fn a_crowd_that_comes_again_and_again_keeps_no_agent_out() {
    let pod = Pod::new();
    let sidecar = pod.sidecar();
    let socket = pod.dir.join(SOCKET);
    let crowd = tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            silent.extend(UnixStream::connect(&socket).await);
            silent.drain(..silent.len().saturating_sub(200));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    until("the crowd is there", || sidecar.agents.refused() > 0).await;
    for container in ["main", "other"] {
        let begin = Instant::now();
        pod.start(container, None);
        sidecar.connected(container).await;
        // The crowd may be silent for five seconds each.
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    }
    crowd.abort();
}

#[tokio::test]
async fn an_application_asks_for_a_look() {
    let pod = Pod::new();
    let look = |probe: &str| Command::new(AGENT).args(["look", probe]).arg(&pod.dir).output().expect("look");
    let failed = look("health");
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("/look.sock: No such file or directory"));
    let mut door = Door::open(&pod.dir).expect("door");
    assert!(look("health").status.success());
    assert_eq!(door.next().await.expect("knock"), Knock::Probes(["health".to_owned()].into()));
    assert!(look("").status.success());
    assert_eq!(door.next().await.expect("knock"), Knock::All);
}

#[tokio::test]
async fn a_look_that_finds_the_queue_full_is_not_lost_in_silence() {
    let pod = Pod::new();
    let mut door = Door::open(&pod.dir).expect("door");
    let sender = std::os::unix::net::UnixDatagram::unbound().expect("socket");
    sender.set_nonblocking(true).expect("socket");
    let fill = || while sender.send_to(b"a", pod.dir.join("look.sock")).is_ok() {};
    let look = || Command::new(AGENT).args(["look", "b"]).arg(&pod.dir).output().expect("look");
    fill();
    let begin = Instant::now();
    let failed = look();
    assert!(begin.elapsed() < BUSY, "{:?}", begin.elapsed());
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("/look.sock: full"), "{failed:?}");
    // A sidecar that listens makes room in time.
    let (names, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let listens = tokio::spawn(async move {
        while let Ok(Knock::Probes(probes)) = door.next().await {
            let _ = probes.into_iter().try_for_each(|name| names.send(name));
        }
    });
    fill();
    let looked = tokio::task::spawn_blocking({
        let dir = pod.dir.clone();
        move || Command::new(AGENT).args(["look", "b"]).arg(dir).status().expect("look")
    });
    assert!(looked.await.expect("look").success());
    while heard.recv().await.expect("knock") != "b" {}
    listens.abort();
}

/// Threat T7.
#[test]
fn install_leaves_a_program_that_nobody_can_write() {
    let pod = Pod::new();
    for _ in 0..2 {
        let status = Command::new(AGENT).arg("install").arg(&pod.dir).status().expect("install");
        assert!(status.success());
    }
    let program = pod.dir.join("probelet-agent");
    let mode = std::fs::metadata(&program).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o7777, 0o555);
    assert_eq!(std::fs::read_dir(&pod.dir).expect("folder").count(), 1);
    let version = Command::new(program).arg("--version").output().expect("version");
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("probelet-agent "));
    let failed = Command::new(AGENT).args(["install", "/no/such/folder"]).output().expect("install");
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("cannot install to /no/such/folder/probelet-agent"));
}

#[test]
fn bad_arguments_are_named() {
    for (arguments, expected) in [
        (&[][..], "unknown command"),
        (&["what"], "unknown command \"what\""),
        (&["install"], "install: argument DIR is missing"),
        (&["start", "--key", "k"], "start: argument --container is missing"),
        (&["start", "--what"], "start: argument \"--what\" is not known"),
    ] {
        let output = Command::new(AGENT).args(arguments).output().expect("run");
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(expected), "{text}");
    }
}
