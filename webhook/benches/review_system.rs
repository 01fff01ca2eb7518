//! The review with the system's allocator.

#[path = "review/measure.rs"]
mod measure;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    measure::run(if cfg!(target_env = "musl") { "musl's own allocator" } else { "glibc's allocator" })
}
