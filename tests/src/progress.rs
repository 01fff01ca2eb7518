//! What a person sees while the lab works: lines on standard error, standard output is for results.

use std::time::Instant;

/// Prints one line.
pub fn say(line: impl AsRef<str>) {
    eprintln!("lab: {}", line.as_ref());
}

/// Tells how long `work` took, where it took longer than a moment or always if it failed.
pub fn timed<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    say(format!("{what} ..."));
    let begin = Instant::now();
    let result = work();
    let end = if result.is_ok() { "done" } else { "failed" };
    say(format!("{what}: {end} after {:.1} s", begin.elapsed().as_secs_f64()));
    result
}
