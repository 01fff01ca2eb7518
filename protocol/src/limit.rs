//! Bounds on what a Pod's plan may hold, checked at admission and again by the sidecar (threat T14).

use std::time::Duration;

/// Most probes that one Pod may have.
pub const PROBES: usize = 64;
/// Most bytes of a plan annotation; the API server allows 256 KiB for all annotations together.
pub const PLAN_BYTES: usize = 64 * 1024;
/// Most characters of a probe's name.
pub const NAME: usize = 63;
/// Most arguments of an exec probe.
pub const COMMAND_ARGUMENTS: usize = 128;
/// Most bytes of an exec probe's command, all arguments together.
pub const COMMAND_BYTES: usize = 8 * 1024;
/// Most headers of an httpGet probe.
pub const HEADERS: usize = 32;
/// Longest period, timeout and initial delay.
pub const SECONDS: i32 = 24 * 60 * 60;
/// Shortest period that the sub-second setting may ask for.
pub const SHORTEST_PERIOD: Duration = Duration::from_millis(50);
/// Most bytes of a condition's message (openkruise/kruise:pkg/daemon/podprobe/prober.go `maxProbeMessageLength`).
pub const MESSAGE_BYTES: usize = 1024;

/// Cuts a message to [`MESSAGE_BYTES`] at a character border.
pub fn cut_message(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_cut_between_characters() {
        let long = "é".repeat(MESSAGE_BYTES);
        assert_eq!(cut_message(&long).len(), MESSAGE_BYTES);
        let odd = format!("x{long}");
        assert_eq!(cut_message(&odd).len(), MESSAGE_BYTES - 1);
        assert_eq!(cut_message("short"), "short");
    }
}
