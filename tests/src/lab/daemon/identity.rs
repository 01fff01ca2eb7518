//! Which process a program is: its id alone is not enough, the kernel gives ids again.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// A process, told apart from later ones of the same id by its start, in ticks since the boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    id: u32,
    start: u64,
    description: String,
}

impl Identity {
    /// The running process of that id, started as `description` says.
    pub fn new(id: u32, description: &str) -> Result<Self> {
        let start = start(id).with_context(|| format!("process {id} ended at once"))?;
        Ok(Self { id, start, description: description.to_owned() })
    }

    /// What [`Self::store`] wrote; none where there is nothing or it cannot be read.
    pub fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Writes it to a file.
    pub fn store(&self, path: &Path) -> Result<()> {
        Ok(std::fs::write(path, serde_json::to_vec(self)?)?)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// True while this very process runs.
    pub fn is_alive(&self) -> bool {
        start(self.id) == Some(self.start)
    }

    /// True when it was started from the same description.
    pub fn is_of(&self, description: &str) -> bool {
        self.description == description
    }

    /// Ends the process, and waits until it is gone. Another process that has its id now is left
    /// alone.
    pub fn kill(&self) {
        let Some(id) = i32::try_from(self.id).ok().and_then(Pid::from_raw) else { return };
        let begin = Instant::now();
        while self.is_alive() && begin.elapsed() < Duration::from_secs(10) {
            let polite = begin.elapsed() < Duration::from_secs(3);
            let signal = if polite { Signal::TERM } else { Signal::KILL };
            let _ = kill_process(id, signal);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Field 22 of `/proc/ID/stat`, counted after the name in parentheses, which may hold anything.
/// None where there is no such process, or where it has ended and was only not reaped yet.
fn start(id: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn later_process_of_the_same_id_is_a_stranger() {
        let own = Identity::new(std::process::id(), "x").expect("this process runs");
        assert!(own.is_alive());
        let stranger = Identity { start: own.start + 1, ..own };
        assert!(!stranger.is_alive());
    }

    #[test]
    fn half_written_file_is_no_process() {
        let path = std::env::temp_dir().join(format!("identity-{}", std::process::id()));
        std::fs::write(&path, "{\"id\":1").expect("a temporary file");
        assert_eq!(Identity::load(&path), None);
        std::fs::remove_file(path).expect("the file is there");
    }
}
