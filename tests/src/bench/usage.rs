//! What a process of this machine uses, from `/proc`.

use anyhow::{Context, Result};
use std::time::Duration;

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

/// CPU time of a process of one thread, to the nanosecond: a process that has used less than a tick has used something.
pub fn on_cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanoseconds = stat.split_whitespace().next().and_then(|text| text.parse().ok());
    Ok(Duration::from_nanos(nanoseconds.context("schedstat")?))
}

/// Open file descriptors.
pub fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
