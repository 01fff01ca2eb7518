//! Copies the program to the volume that the target containers mount read-only (threat T7).

use probelet_protocol::name::AGENT_BINARY;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Copies the running program to `dir`, mode 0555. The file appears whole or not at all; one that is there is replaced.
pub(super) fn install(dir: &Path) -> Result<(), String> {
    let target = dir.join(AGENT_BINARY.trim_start_matches('/'));
    let partial = dir.join(".partial");
    let copy = || -> io::Result<()> {
        let mut from = File::open("/proc/self/exe")?;
        if let Err(error) = fs::remove_file(&partial)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o500).open(&partial)?;
        io::copy(&mut from, &mut to)?;
        // After the open, so that no umask takes from it: the containers run as other users.
        to.set_permissions(Permissions::from_mode(0o555))?;
        to.sync_all()?;
        fs::rename(&partial, &target)
    };
    copy().map_err(|error| format!("cannot install to {}: {error}", target.display()))
}
