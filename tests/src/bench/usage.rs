//! What a process of this machine uses, from `/proc`.

use anyhow::{Context, Result};

/// A memory figure of `/proc/PID/status` in KiB, such as `VmRSS` or `RssAnon`.
pub fn memory(pid: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')));
    let line = line.with_context(|| format!("process {pid} has no {name}"))?;
    line.split_whitespace().nth(1).context("no number")?.parse().with_context(|| name.to_owned())
}

/// CPU time used so far in clock ticks of 10 ms, user and system.
pub fn ticks(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).context("stat");
    Ok(field(11)? + field(12)?)
}

/// Open file descriptors.
pub fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
