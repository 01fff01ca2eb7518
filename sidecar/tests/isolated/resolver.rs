//! Fault F29: the API server by address and by name, where /etc/resolv.conf names a resolver that never answers.

use super::app::{App, Folder};
use super::net::{alone, runtime};
use super::stub::{Reply, Stub, label, pod};
use probelet_protocol::environment;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NAME: &str = "kubernetes.default.svc";

/// The sidecar's program; killed when dropped.
struct Program {
    child: Child,
    folder: Folder,
}

impl Program {
    /// Marks the stub's Pod by the application's port every 50 ms.
    fn start(stub: &Stub, host: &str, app: &App) -> Self {
        let folder = Folder::new(&stub.ca, "token");
        let open = || std::fs::File::create(folder.0.join("log")).expect("log");
        let plan = format!(
            r#"[{{"name":"up","containerName":"game","probe":{{"tcpSocket":{{"port":{}}}}},"podConditionType":"x.io/Up"}}]"#,
            app.port
        );
        let policies = r#"[{"name":"up","containerName":"game","markerPolicy":[
            {"state":"Succeeded","labels":{"up":"yes"}},{"state":"Failed","labels":{"up":"no"}}]}]"#;
        let child = Command::new(env!("CARGO_BIN_EXE_probelet"))
            .env_clear()
            .env(environment::POD_NAME, "game-0")
            .env(environment::POD_NAMESPACE, "games")
            .env(environment::POD_UID, "u1")
            .env(environment::PLAN, plan)
            .env(environment::POLICIES, policies)
            .env(environment::PERIOD, "50ms")
            .env(environment::TOKEN_DIR, &folder.0)
            .env(environment::SHIELD, "true")
            .env(environment::LOG_LEVEL, "debug")
            .env("KUBERNETES_SERVICE_HOST", host)
            .env("KUBERNETES_SERVICE_PORT", stub.port.to_string())
            .stdin(Stdio::null())
            .stdout(open())
            .spawn()
            .expect("probelet");
        Self { child, folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("log")).expect("log")
    }

    /// Waits until so many lines of its log hold this.
    async fn says(&self, text: &str, count: usize) {
        let begin = Instant::now();
        while self.log().matches(text).count() < count {
            assert!(begin.elapsed() < Duration::from_secs(20), "{count} times {text:?} is not in\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM; how long it takes to end.
    async fn stop(&mut self) -> Duration {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("pid");
        kill_process(pid, Signal::TERM).expect("signal");
        let begin = Instant::now();
        while self.child.try_wait().expect("wait").is_none() {
            assert!(begin.elapsed() < Duration::from_secs(30), "it does not end\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        begin.elapsed()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The application fails and is marked, in one request more.
async fn follows(program: &Program, stub: &Stub, mut app: App) {
    stub.until("up", |pod| label(pod, "up") == Some("yes")).await;
    let begin = Instant::now();
    app.fail();
    stub.until("down", |pod| label(pod, "up") == Some("no")).await;
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}\n{}", begin.elapsed(), program.log());
    assert_eq!(stub.seen().len(), 2);
}

#[test]
fn an_api_server_by_address_needs_no_resolver() {
    alone("resolver::an_api_server_by_address_needs_no_resolver", |net| {
        runtime().block_on(async {
            for (address, host) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::1", "[::1]")] {
                let (app, stub) = (App::start().await, Stub::start_at(address, pod(), |_, _| Reply::Serve).await);
                let mut program = Program::start(&stub, host, &app);
                follows(&program, &stub, app).await;
                assert!(program.stop().await < Duration::from_secs(1));
                // The next one is another Pod's, whose memory is its own.
                std::fs::remove_file("/dev/shm/.probelet-u1")
                    .expect("a stopped sidecar may be started again, and knows it");
            }
            assert_eq!(net.left(), 0, "a resolver was asked");
        });
    });
}

#[test]
fn an_api_server_by_a_name_of_the_hosts_file_needs_no_resolver() {
    alone("resolver::an_api_server_by_a_name_of_the_hosts_file_needs_no_resolver", |net| {
        net.names(&format!("127.0.0.1 {NAME}"));
        runtime().block_on(async {
            let (app, stub) = (App::start().await, Stub::start(pod(), |_, _| Reply::Serve).await);
            let program = Program::start(&stub, NAME, &app);
            follows(&program, &stub, app).await;
            assert_eq!(net.left(), 0, "a resolver was asked");
        });
    });
}

/// Marks wait for the name and say so; probes do not, nor does the end. Once it is known the newest state is written.
#[test]
fn a_name_that_nobody_resolves_delays_marks_and_nothing_else() {
    alone("resolver::a_name_that_nobody_resolves_delays_marks_and_nothing_else", |net| {
        runtime().block_on(async {
            let (mut app, stub) = (App::start().await, Stub::start(pod(), |_, _| Reply::Serve).await);
            let text = format!("{NAME}:{}: no connection within 3s", stub.port);
            let program = Program::start(&stub, NAME, &app);
            // The second one takes itself for a restart of the first; that one must not.
            program.says("probelet starts", 1).await;
            let mut other = Program::start(&stub, NAME, &app);
            program.says(&text, 1).await;
            other.says(&text, 1).await;
            let took = other.stop().await;
            assert!(took < Duration::from_secs(1), "it took {took:?} to end\n{}", other.log());
            // Through the tries that follow.
            let (ran, begin) = (program.log().matches(" ran ").count(), Instant::now());
            program.says(" ran ", ran + 40).await;
            assert!(begin.elapsed() < Duration::from_secs(8), "40 runs took {:?}", begin.elapsed());
            assert!(net.left() > 0, "the resolver was never asked");

            app.fail();
            program.says("failure", 1).await;
            assert_eq!(stub.seen().len(), 0);
            net.names(&format!("127.0.0.1 {NAME}"));
            let begin = Instant::now();
            stub.until("down", |pod| label(pod, "up") == Some("no")).await;
            // A try that was under way ends after 3 s, and the next one is at most 4 s later.
            assert!(begin.elapsed() < Duration::from_secs(12), "{:?}\n{}", begin.elapsed(), program.log());
            assert_eq!(stub.seen().len(), 1, "{:#?}", stub.seen());
        });
    });
}
