//! One long-running program of the lab: how it is started, known again and ended.

pub mod health;
pub mod identity;

use crate::lab::cgroup::ControlGroup;
use crate::lab::isolation::Isolation;
use crate::lab::layout::Layout;
use crate::{command, key::Key, progress};
use anyhow::{Context, Result, bail};
use health::Health;
use identity::Identity;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take until it is healthy; on a machine that is busy with something else.
const START: Duration = Duration::from_secs(90);
/// How long a running program may be silent before it is replaced.
const SILENCE: Duration = Duration::from_secs(10);

/// A program and everything that decides how it runs.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Its name in messages, of its log and of its process file.
    pub name: String,
    /// What is run.
    pub program: PathBuf,
    /// With these arguments.
    pub arguments: Vec<String>,
    /// And these variables, beside those that all have.
    pub environment: Vec<(&'static str, &'static str)>,
    /// Files that it reads, written before it starts.
    pub files: Vec<(PathBuf, String)>,
    /// How it shows that it works.
    pub health: Health,
}

/// What the lab's daemons share.
#[derive(Clone, Debug)]
pub struct Host<'a> {
    /// Where things are.
    pub layout: &'a Layout,
    /// The namespaces they run in.
    pub isolation: &'a Isolation,
    /// The group they are counted in.
    pub group: &'a ControlGroup,
}

impl Daemon {
    /// Starts the program unless it runs already, as it is described here, and is healthy. True
    /// when it was started: [`Self::wait`] is due then.
    pub fn start(&self, host: &Host<'_>) -> Result<bool> {
        let file = self.process_file(host.layout);
        let description = self.description();
        if let Some(identity) = Identity::load(&file) {
            if !identity.is_alive() {
                progress::say(format!("{} had ended; starting it again", self.name));
            } else if !identity.is_of(&description) {
                progress::say(format!("{} has changed; starting it anew", self.name));
                identity.kill();
            } else if self.is_healthy_within(host, SILENCE) {
                return Ok(false);
            } else {
                progress::say(format!("{} does not answer; starting it again", self.name));
                identity.kill();
            }
        }
        self.health.assert_free(host.isolation, &self.name)?;
        for (path, text) in &self.files {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let id = self.spawn(host)?;
        Identity::new(id, &description)?.store(&file)?;
        Ok(true)
    }

    /// Waits until a started program is healthy.
    pub fn wait(&self, host: &Host<'_>) -> Result<()> {
        let begin = Instant::now();
        if self.is_healthy_within(host, START) {
            progress::say(format!("{} is up after {:.1} s", self.name, begin.elapsed().as_secs_f64()));
            return Ok(());
        }
        let ended = !self.is_alive(host.layout);
        let what = if ended {
            "ended before it was healthy".to_owned()
        } else {
            format!("runs, but {} within {} s", self.health.complaint(), START.as_secs())
        };
        bail!("{}", self.failure(host.layout, &what))
    }

    /// True when the process that was started last still runs.
    pub fn is_alive(&self, layout: &Layout) -> bool {
        self.identity(layout).is_some_and(|identity| identity.is_alive())
    }

    /// The process that was started last.
    pub fn identity(&self, layout: &Layout) -> Option<Identity> {
        Identity::load(&self.process_file(layout))
    }

    /// A message that names the program, shows the end of its log and says what to do.
    pub fn failure(&self, layout: &Layout, what: &str) -> String {
        let log = layout.log(&self.name);
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        format!(
            "{} {what}.\n  Its last log lines ({}):\n{}  What to do: mend what the log complains of \
             and run `make lab` again, which starts only what is missing. If that does not help, \
             `make lab-down` and `make lab` begin anew; built programs are kept.",
            self.name,
            log.display(),
            command::tail(&text, 15),
        )
    }

    fn is_healthy_within(&self, host: &Host<'_>, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if self.health.is_good(host.isolation) {
                return true;
            }
            if Instant::now() > deadline || !self.is_alive(host.layout) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The shell joins the control groups and then becomes the program, so that no process of it is
    /// ever outside of them; its id stays the same all the way.
    fn spawn(&self, host: &Host<'_>) -> Result<u32> {
        let log = host.layout.log(&self.name);
        let open = || {
            let mut options = std::fs::OpenOptions::new();
            options.append(true).create(true).mode(0o600).open(&log)
        };
        let join: String = host.group.raise()?.iter().map(|file| format!("echo $$ > '{}'\n", file.display())).collect();
        let mut command = Command::new("setsid");
        command
            .args(["sh", "-euc", &format!("{join}exec nsenter \"$@\""), "sh"])
            .args(host.isolation.arguments())
            .arg("--")
            .arg(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", command::search_path().join(":"))
            .env("HOME", host.layout.dir())
            .env("TMPDIR", host.layout.path("tmp"))
            .envs(self.environment.iter().copied())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        Ok(child.id())
    }

    fn process_file(&self, layout: &Layout) -> PathBuf {
        layout.path("process").join(&self.name)
    }

    fn description(&self) -> String {
        let mut key = Key::default().text(self.program.as_os_str().as_encoded_bytes());
        for argument in &self.arguments {
            key = key.text(argument);
        }
        for (name, value) in &self.environment {
            key = key.text(name).text(value);
        }
        for (path, text) in &self.files {
            key = key.text(path.as_os_str().as_encoded_bytes()).text(text);
        }
        key.finish()
    }
}
