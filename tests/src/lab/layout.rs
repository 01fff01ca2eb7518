//! Where a lab keeps its things: one folder, one name.

use anyhow::{Result, ensure};
use std::path::PathBuf;

/// The folders and files of a lab, by its name.
#[derive(Clone, Debug)]
pub struct Layout {
    name: String,
}

impl Layout {
    /// The lab that `PROBELET_LAB` names; without it the default one.
    pub fn from_env() -> Result<Self> {
        Self::try_new(&std::env::var("PROBELET_LAB").unwrap_or_default())
    }

    /// A lab of that name; empty for the default one.
    pub fn try_new(name: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            name.len() <= 20 && name.chars().all(fits) && !name.starts_with('-'),
            "PROBELET_LAB: {name:?} is not allowed; up to 20 of a-z, 0-9 and -, not beginning with -"
        );
        let suffix = if name.is_empty() { String::new() } else { format!("-{name}") };
        Ok(Self { name: format!("probelet-lab{suffix}") })
    }

    /// `probelet-lab`, or `probelet-lab-NAME`: also the name of the lab's control group.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that holds everything.
    pub fn dir(&self) -> PathBuf {
        PathBuf::from("/var/lib").join(&self.name)
    }

    /// A file or folder below [`Self::dir`].
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The same as text, for arguments of programs.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// The API server's audit log.
    pub fn audit_log(&self) -> PathBuf {
        self.path("log/audit.log")
    }

    /// What a process wrote to its standard output and error.
    pub fn log(&self, process: &str) -> PathBuf {
        self.path("log").join(format!("{process}.log"))
    }

    /// The sockets of the two containerds: the ordinary node's and the virtual nodes'. Each kubelet
    /// removes containers that it does not know, so it cannot share one with them.
    pub fn containerd_sockets(&self) -> [PathBuf; 2] {
        self.containerds().map(|dir| dir.join("containerd.sock"))
    }

    /// Their folders.
    pub fn containerds(&self) -> [PathBuf; 2] {
        ["containerd", "containerd-virtual"].map(|name| self.path(name))
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn name_decides_the_folder() {
        let of = |name| Layout::try_new(name).map(|layout| layout.dir());
        assert_eq!(of("").ok(), Some("/var/lib/probelet-lab".into()));
        assert_eq!(of("dev").ok(), Some("/var/lib/probelet-lab-dev".into()));
    }

    #[test]
    fn name_that_could_leave_the_folder_is_refused() {
        for name in ["../x", "A", "-x", "a b", "abcdefghijklmnopqrstuvwxyz"] {
            let refused = Layout::try_new(name).map_err(|error| error.to_string());
            assert!(refused.is_err_and(|text| text.starts_with("PROBELET_LAB:")), "{name}");
        }
    }
}
