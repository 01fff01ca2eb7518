//! What runs, and what it costs.

use crate::lab::Lab;
use crate::lab::daemon::identity::Identity;
use anyhow::Result;
use std::fmt::Write;

/// A table of the lab's daemons, with their memory, and the sum for all processes of the lab.
pub fn table(lab: &Lab) -> Result<String> {
    let mut text = String::new();
    if !lab.exists() {
        writeln!(text, "{}: down", lab.layout.name())?;
        return Ok(text);
    }
    writeln!(text, "{:<26} {:>8} {:>10}", "process", "id", "resident")?;
    let mut entries = std::fs::read_dir(lab.layout.path("process"))?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        match Identity::load(&entry.path()) {
            Some(process) if process.is_alive() => {
                let memory = resident(process.id()) / 1024;
                writeln!(text, "{name:<26} {:>8} {memory:>6} MiB", process.id())?;
            }
            _ => writeln!(text, "{name:<26}    ended: `make lab` starts it again")?,
        }
    }
    let processes = lab.group.processes();
    let sum: u64 = processes.iter().filter_map(|id| u32::try_from(*id).ok()).map(resident).sum();
    writeln!(text, "all {} processes, Pods included: {} MiB", processes.len(), sum / 1024)?;
    Ok(text)
}

/// KiB that a process has in memory and shares with nobody's other mapping of the same count:
/// `Pss`, so that a sum over processes counts shared pages once.
fn resident(id: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
