//! Whether this is the sidecar's first start in its Pod.
//!
//! A restarted sidecar looks at the Pod before it writes, so that nothing is sent that already holds and no
//! lastTransitionTime moves; a first start need not, which saves every Pod a request. The containers of a Pod share one
//! `/dev/shm` for the Pod's whole life, so an empty file there tells the two apart. Where it cannot be made (no such folder, or
//! read-only), every start counts as a restart. So does one in a Pod whose volumes are not new: some runtimes give each container a
//! `/dev/shm` of its own, and a sandbox that was made anew for the same Pod has a new one.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// For so many seconds a volume is new. It is set up before the Pod's sandbox; a Pod whose images or init containers take longer pays
/// for a look.
const NEW: u64 = 60;

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

/// Whether the volume that holds the token was set up just before `wall` (seconds since 1970). The link by which the CA is found in it is
/// made once, whatever rotates behind it (kubernetes/kubernetes:pkg/volume/util/atomic_writer.go `createUserVisibleFiles`). One that
/// cannot be read, or is from the future because the clock was set, says nothing, and counts as old.
pub fn is_new(token_dir: &Path, wall: u64) -> bool {
    let made = fs::symlink_metadata(token_dir.join("ca.crt")).and_then(|link| link.modified()).ok();
    let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok()).map(|made| made.as_secs());
    made.is_some_and(|made| (made..made + NEW).contains(&wall))
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
    #[test]
    fn a_volume_is_new_for_a_minute_by_its_link_and_not_by_what_rotates_behind_it() {
        let folder = std::env::temp_dir().join(format!("probelet-restart-volume-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        std::os::unix::fs::symlink("..data/ca.crt", folder.join("ca.crt")).expect("link");
        let made = fs::symlink_metadata(folder.join("ca.crt")).and_then(|link| link.modified()).expect("time");
        let made = made.duration_since(UNIX_EPOCH).expect("since 1970").as_secs();
        for (wall, expected) in [(made, true), (made + 59, true), (made + 60, false), (made - 1, false), (0, false)] {
            assert_eq!(is_new(&folder, wall), expected, "{wall} of {made}");
        }
        assert!(!is_new(&folder.join("missing"), made));
        fs::remove_dir_all(folder).expect("removed");
    }
}
