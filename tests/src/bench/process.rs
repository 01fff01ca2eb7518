//! What `/proc` tells of another process.

use anyhow::{Context, Result};

/// Resident memory in KiB, and how much of it is mapped from files (the program itself).
///
/// # Errors
/// Where the process has ended.
pub fn resident(process: u32) -> Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = |name: &str| -> Result<u64> {
        let line = status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
        line.split_whitespace().nth(1).context("no number")?.parse().with_context(|| format!("{name}: no number"))
    };
    Ok((value("VmRSS:")?, value("RssFile:")?))
}
