//! Whether this is the sidecar's first start in its Pod.
//!
//! A restarted sidecar looks at the Pod before it writes, so that nothing is sent that already holds and no
//! lastTransitionTime moves; a first start need not, which saves every Pod a request. The containers of a Pod share one
//! `/dev/shm` for the Pod's whole life, so an empty file there tells the two apart. Where it cannot be made (no such folder, or
//! read-only), every start counts as a restart.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Memory that a Pod's containers share.
pub const SHARED_MEMORY: &str = "/dev/shm";

/// The file that says that a sidecar was here.
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
}

impl Trace {
    /// For the Pod with this UID: with the host's IPC namespace, Pods share the folder.
    pub fn new(folder: &Path, uid: &str) -> Self {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        Self { path: folder.join(format!(".probelet-{}", uid.chars().filter(is_plain).collect::<String>())) }
    }

    /// True at the first start only; leaves the file.
    pub fn is_first_start(&self) -> bool {
        match OpenOptions::new().write(true).create_new(true).open(&self.path) {
            Ok(_) => true,
            Err(error) => {
                if error.kind() != ErrorKind::AlreadyExists {
                    tracing::debug!(%error, "whether this is a restart cannot be told; taken for one");
                }
                false
            }
        }
    }

    /// The Pod has ended: leaves nothing behind. SIGTERM alone does not say so, this container may be started again.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_start_in_a_pod_is_a_restart() {
        let folder = std::env::temp_dir().join(format!("probelet-restart-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        let starts = ["a", "a", "../b"].map(|uid| Trace::new(&folder, uid).is_first_start());
        assert_eq!(starts, [true, false, true]);
        Trace::new(&folder, "a").remove();
        assert!(Trace::new(&folder, "a").is_first_start());
        assert!(!Trace::new(&folder.join("missing"), "a").is_first_start());
        fs::remove_dir_all(folder).expect("removed");
    }
}
