//! Other programs, run to their end.

use crate::progress;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How often a long command says that it is still at work.
const BEAT: Duration = Duration::from_secs(10);

/// Runs the command; its standard output. A failure carries the command line and what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{line}`"))?;
    check(&line, &output)
}

/// As [`run`], with a line every ten seconds that says what is being waited for.
pub fn run_long(what: &str, command: &mut Command) -> Result<String> {
    let line = line(command);
    let begin = Instant::now();
    progress::say(format!("{what} ..."));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let (done, ended) = mpsc::channel();
    let mut error = child.stderr.take().context("no standard error")?;
    // Both pipes are read at once: a program blocks when either is full.
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let result = error.read_to_end(&mut text);
        result.map(|_| text)
    });
    let waiter = std::thread::spawn(move || {
        let output = child.wait_with_output();
        let _ = done.send(());
        output
    });
    while ended.recv_timeout(BEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
        progress::say(format!("{what} ... {} s", begin.elapsed().as_secs()));
    }
    let mut output = waiter.join().map_err(|_| anyhow::anyhow!("lost `{line}`"))??;
    output.stderr = reader.join().map_err(|_| anyhow::anyhow!("lost `{line}`"))??;
    let text = check(&line, &output)?;
    progress::say(format!("{what}: done after {} s", begin.elapsed().as_secs()));
    Ok(text)
}

/// True when a program of that name can be run.
pub fn exists(program: &str) -> bool {
    search_path().iter().any(|dir| std::path::Path::new(dir).join(program).is_file())
}

/// The folders programs are looked for in. Those of the administrator are always among them: a
/// plain user's PATH lacks them, and `su` keeps it.
pub fn search_path() -> Vec<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut dirs: Vec<String> = path.split(':').map(str::to_owned).collect();
    for dir in ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"] {
        if !dirs.iter().any(|known| known == dir) {
            dirs.push(dir.to_owned());
        }
    }
    dirs
}

/// The end of a text, at most `lines` lines, each indented.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    all[from..].iter().map(|line| format!("    {line}\n")).collect()
}

fn check(line: &str, output: &Output) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    let said = if error.trim().is_empty() { &text } else { &*error };
    bail!("`{line}` failed ({}):\n{}", output.status, tail(said, 40).trim_end());
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
