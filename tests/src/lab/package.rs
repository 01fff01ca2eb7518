//! What the lab needs of the distribution. On Debian and its kin it is installed when missing.

use crate::lab::node;
use crate::{command, progress};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// A program and the Debian package that has it.
const PROGRAMS: [(&str, &str); 10] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("buildah", "buildah"),
    ("musl-gcc", "musl-tools"),
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
];

/// Refuses to start services while packages are installed (101 is "forbidden by policy").
const POLICY_FILE: &str = "/usr/sbin/policy-rc.d";
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Installs what is missing, or says what is.
pub fn ensure() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !command::exists("apt-get") {
        bail!(
            "the lab needs programs that are not installed: {list} (names of Debian packages). \
             Install them with this system's package manager and run `make lab` again"
        );
    }
    progress::say(format!("installing Debian packages: {list}"));
    let guard = Policy::raise();
    let installed = install(&missing);
    drop(guard);
    installed
        .with_context(|| format!("cannot install {list}; `apt-get update && apt-get install {list}` shows more"))?;
    let still = self::missing();
    if !still.is_empty() {
        bail!("still not there after `apt-get install`: {}", still.join(" "));
    }
    Ok(())
}

fn missing() -> Vec<&'static str> {
    let mut packages: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !command::exists(program)).map(|(_, package)| *package).collect();
    if !node::cni_plugins().join("bridge").is_file() {
        packages.push("containernetworking-plugins");
    }
    packages.dedup();
    packages
}

fn install(packages: &[&str]) -> Result<()> {
    let get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        command
    };
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    // Where the package lists are fresh this is all; a new machine has none.
    if command::run_long("apt-get install", &mut get(&arguments)).is_ok() {
        return Ok(());
    }
    command::run_long("apt-get update", &mut get(&["update"]))?;
    command::run_long("apt-get install", &mut get(&arguments))?;
    Ok(())
}

/// Keeps the distribution's own containerd from being started, as long as it lives.
struct Policy {
    made: bool,
}

impl Policy {
    fn raise() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let file = Path::new(POLICY_FILE);
        let made = !file.exists()
            && std::fs::write(file, POLICY).is_ok()
            && std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).is_ok();
        Self { made }
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.made {
            let _ = std::fs::remove_file(POLICY_FILE);
        }
    }
}
