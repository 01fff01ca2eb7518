//! The lab's own network and mount namespaces. What its programs would leave in `/var/lib`,
//! `/var/log` and `/run` of the host (kubelet, the CNI plugins and containerd's shims have fixed
//! paths there) goes into the lab's folder instead, and no mount of theirs is seen outside.

use crate::lab::layout::Layout;
use crate::{binary, command, namespace};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders of the host that the lab's programs see as empty folders of their own.
const HIDDEN: [&str; 3] = ["/var/lib", "/var/log", "/run"];
/// The kind of file system that a pinned namespace shows as (linux/magic.h, NSFS_MAGIC).
const NAMESPACE_FILES: i64 = 0x6e73_6673;

/// Two namespaces, pinned by files so that they outlive every process in them.
#[derive(Clone, Debug)]
pub struct Isolation {
    dir: PathBuf,
}

impl Isolation {
    /// The namespaces of that lab, whether they exist or not.
    pub fn of(layout: &Layout) -> Self {
        Self { dir: layout.path("namespace") }
    }

    /// The pinned network namespace.
    pub fn net_file(&self) -> PathBuf {
        self.dir.join("net")
    }

    fn mount_file(&self) -> PathBuf {
        self.dir.join("mount")
    }

    /// True when both namespaces stand.
    pub fn is_up(&self) -> bool {
        is_pinned(&self.net_file()) && is_pinned(&self.mount_file())
    }

    /// Makes the namespaces.
    pub fn raise(&self, layout: &Layout) -> Result<()> {
        if self.is_up() {
            return Ok(());
        }
        self.remove();
        std::fs::create_dir_all(&self.dir)?;
        // A mount namespace can only be pinned where mounts are not shared with others.
        mount(&["--no-mtab", "--bind"], &self.dir, &self.dir)?;
        mount(&["--no-mtab", "--make-private"], Path::new(""), &self.dir)?;
        for file in [self.net_file(), self.mount_file()] {
            std::fs::write(&file, "")?;
        }
        let mut command = Command::new("unshare");
        command
            .arg(format!("--net={}", self.net_file().display()))
            .arg(format!("--mount={}", self.mount_file().display()))
            .args(["--propagation", "private", "sh", "-euc", ENTER_SCRIPT, "sh"])
            .arg(layout.path("host"));
        // These must be seen at their own paths also where those are in a hidden folder.
        let kept = [layout.dir(), binary::cache()];
        for dir in kept {
            std::fs::create_dir_all(&dir)?;
            command.arg(dir.canonicalize()?);
        }
        command.env("HIDDEN", HIDDEN.join(" "));
        command::run(&mut command).context("cannot make the lab's namespaces; this needs root and CAP_SYS_ADMIN")?;
        Ok(())
    }

    /// A command that will run in both namespaces.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.arguments()).arg("--").arg(program);
        command
    }

    /// The arguments of nsenter that enter both namespaces.
    pub fn arguments(&self) -> [String; 2] {
        [format!("--net={}", self.net_file().display()), format!("--mount={}", self.mount_file().display())]
    }

    /// Runs a program in both namespaces; its standard output.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        command::run(self.command(program).args(arguments))
    }

    /// Does `work` on a thread of the lab's network namespace: its 127.0.0.1 is the lab's.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        namespace::within(&self.net_file(), work)
    }

    /// Lets go of the namespaces; they end with the last process in them.
    pub fn remove(&self) {
        for path in [self.mount_file(), self.net_file(), self.dir.clone()] {
            // More than once where an earlier attempt was stopped half-way.
            while command::run(Command::new("umount").args(["--lazy", "--no-mtab"]).arg(&path)).is_ok() {}
        }
    }
}

/// Fills the new mount namespace: `$1` is the folder that takes what goes into hidden folders,
/// the other arguments are folders to keep.
const ENTER_SCRIPT: &str = r#"
host=$1
shift
for hidden in $HIDDEN; do
    mkdir -p "$host$hidden"
    for keep in "$@"; do
        case "$keep" in
            "$hidden"/*) mkdir -p "$host$keep"; mount --bind "$keep" "$host$keep" ;;
        esac
    done
done
for hidden in $HIDDEN; do
    mount --rbind "$host$hidden" "$hidden"
done
ip link set lo up
"#;

fn is_pinned(file: &Path) -> bool {
    rustix::fs::statfs(file).is_ok_and(|system| system.f_type == NAMESPACE_FILES)
}

fn mount(options: &[&str], from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("mount");
    command.args(options);
    if !from.as_os_str().is_empty() {
        command.arg(from);
    }
    if let Err(error) = command::run(command.arg(to)) {
        bail!("cannot mount {}: {error:#}", to.display());
    }
    Ok(())
}
