//! The processes of this container, and one that never ends: what an exec probe that is too slow leaves behind is counted
//! here, since the image has no `ps`.

use std::process::{Command, Stdio};
use std::time::Duration;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// One line of JSON: how many processes there are, and how many of them have ended and were not reaped.
pub(crate) fn tell() -> Result<String, String> {
    let entries = std::fs::read_dir("/proc").map_err(|error| format!("cannot read /proc: {error}"))?;
    let (mut all, mut zombies) = (0, 0);
    for entry in entries.flatten() {
        let is_process = entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        let Some(stat) = is_process.then(|| std::fs::read_to_string(entry.path().join("stat")).ok()).flatten() else {
            continue;
        };
        all += 1;
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        zombies += usize::from(state == Some("Z"));
    }
    Ok(format!(r#"{{"processes":{all},"zombies":{zombies}}}"#))
}

/// Hangs, after it has started another of its kind; `is_alone` starts none.
pub(crate) fn hang(is_alone: bool) -> Result<(), String> {
    if !is_alone {
        let child = Command::new("/proc/self/exe").args(["hang", "--alone"]).stdin(Stdio::null()).spawn();
        child.map_err(|error| format!("cannot start a child: {error}"))?;
    }
    std::thread::sleep(LONG);
    Ok(())
}
