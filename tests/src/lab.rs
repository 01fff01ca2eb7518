//! A real Kubernetes cluster on this machine: control plane, one ordinary node, two virtual nodes.
//!
//! It lives in a folder, a pair of namespaces and a control group of its own, and in one network
//! interface on the host. `PROBELET_LAB=NAME` gives a second one beside it.

pub mod api;
pub mod certificate;
pub mod cgroup;
pub mod control_plane;
pub mod daemon;
pub mod isolation;
pub mod kubeconfig;
pub mod layout;
pub mod network;
pub mod node;
pub mod package;
pub mod status;
mod up;

use crate::progress;
use anyhow::{Context, Result, ensure};
use cgroup::ControlGroup;
use isolation::Isolation;
use layout::Layout;
use std::path::PathBuf;
use std::process::Command;

/// A lab, up or not.
#[derive(Clone, Debug)]
pub struct Lab {
    layout: Layout,
    isolation: Isolation,
    group: ControlGroup,
}

impl Lab {
    /// The lab that `PROBELET_LAB` names; without it the default one.
    pub fn from_env() -> Result<Self> {
        let layout = Layout::from_env()?;
        Ok(Self {
            isolation: Isolation::of(&layout),
            group: ControlGroup::new(layout.name(), layout.containerds().into()),
            layout,
        })
    }

    /// Where its things are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its namespaces.
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// True when the lab was brought up and not taken down. Whether all of it works is what
    /// [`Self::up`] finds out.
    pub fn exists(&self) -> bool {
        self.kubeconfig().is_file() && self.isolation.is_up()
    }

    /// Brings up what is not up: all of it, or what has ended since.
    pub fn up(&self) -> Result<()> {
        require_root("make lab")?;
        let _lock = self.lock()?;
        up::run(self)
    }

    /// Ends and removes everything but the programs built from source.
    pub fn down(&self) -> Result<()> {
        require_root("make lab-down")?;
        let _lock = self.lock()?;
        self.group.remove()?;
        if let Ok(network) = std::fs::read_to_string(self.layout.path("network")) {
            // The interface goes with the namespace too, but not at once.
            let device = format!("probelet{}", network.trim());
            let _ = crate::command::run(Command::new("ip").args(["link", "delete", &device]));
        }
        self.isolation.remove();
        let dir = self.layout.dir();
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        progress::say("down; nothing of it is left but the built programs");
        Ok(())
    }

    /// Keeps two runs from working on the same lab at once; held until dropped. The file is beside
    /// the built programs, because the lab's own folder comes and goes.
    fn lock(&self) -> Result<std::fs::File> {
        let dir = crate::binary::cache();
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the cache folder {}", dir.display()))?;
        let file = std::fs::File::create(dir.join(format!("{}.lock", self.layout.name())))?;
        if file.try_lock().is_err() {
            progress::say("another run works on this lab; waiting for it");
            file.lock()?;
        }
        Ok(file)
    }
}

/// An error unless this process is root's.
pub fn require_root(command: &str) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "`{command}` must run as root: the lab makes namespaces, control groups and mounts. Run \
         `sudo --preserve-env=PATH {command}`, or name a cluster of yours by PROBELET_KUBECONFIG"
    );
    Ok(())
}
