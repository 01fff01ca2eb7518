//! The control groups under one parent of the lab's own, in every hierarchy (version 1 has several,
//! version 2 one), and those of kubelet's containers beside them. All of the lab's processes are in
//! them, so they can be found and ended.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the lab's own processes are: the rest are containers.
const DAEMONS: &str = "daemons";
/// Hierarchies of version 1 in which daemons are counted. In the others (cpuset above all, which
/// must be filled in first) they stay where they were.
const COUNTED: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];

/// Without groups for classes of service, kubelet names no parent for its containers
/// (kubernetes/kubernetes:pkg/kubelet/cm/pod_container_manager_linux.go `podContainerManagerNoop`), and containerd takes
/// this one, under which every container has a group of its id.
const NAMELESS: &str = "k8s.io";
/// Where a containerd keeps a folder for each container that runs, below its state folder.
const TASKS: &str = "state/io.containerd.runtime.v2.task/k8s.io";

/// The lab's groups.
#[derive(Clone, Debug)]
pub struct ControlGroup {
    name: String,
    containerds: Vec<PathBuf>,
}

impl ControlGroup {
    /// The groups below `/NAME`, and those of the containers of these containerds, told by their folders.
    pub fn new(name: &str, containerds: Vec<PathBuf>) -> Self {
        Self { name: name.to_owned(), containerds }
    }

    /// The parent of an ordinary or virtual node's containers, as kubelet and CRI name it.
    pub fn of_node(&self, node: &str) -> String {
        format!("/{}/{node}", self.name)
    }

    /// Makes the daemons' group; the files that a process writes its id to, to join it.
    pub fn raise(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for hierarchy in hierarchies()? {
            if !hierarchy.counts {
                continue;
            }
            let dir = hierarchy.path.join(&self.name).join(DAEMONS);
            std::fs::create_dir_all(&dir)
                .with_context(|| format!("cannot make the control group {}", dir.display()))?;
            files.push(dir.join("cgroup.procs"));
        }
        if files.is_empty() {
            bail!("no control group file system is mounted at /sys/fs/cgroup");
        }
        Ok(files)
    }

    /// The processes of the lab, by id.
    pub fn processes(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for dir in self.groups() {
            let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        found
    }

    /// Ends every process in the groups, then removes the groups.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let processes = self.processes();
            for process in &processes {
                if let Some(id) = Pid::from_raw(*process) {
                    let _ = kill_process(id, Signal::KILL);
                }
            }
            // A group is busy until the last of its processes has been reaped.
            let left: Vec<PathBuf> =
                self.groups().into_iter().filter(|dir| std::fs::remove_dir(dir).is_err() && dir.exists()).collect();
            if processes.is_empty() && left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("control groups that cannot be removed: {left:?}, processes {processes:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The lab's folders in all hierarchies, the deepest first.
    fn groups(&self) -> Vec<PathBuf> {
        let containers: Vec<_> = self
            .containerds
            .iter()
            .filter_map(|dir| std::fs::read_dir(dir.join(TASKS)).ok())
            .flat_map(|entries| entries.flatten().map(|entry| entry.file_name()))
            .collect();
        let mut found = Vec::new();
        for hierarchy in hierarchies().unwrap_or_default() {
            for container in &containers {
                collect(&hierarchy.path.join(NAMELESS).join(container), &mut found);
            }
            collect(&hierarchy.path.join(&self.name), &mut found);
        }
        found
    }
}

struct Hierarchy {
    path: PathBuf,
    counts: bool,
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
    found.push(dir.to_owned());
}

/// Mounted hierarchies, from `/proc/self/mountinfo`: field 5 is the mount point, what follows the
/// dash is type, source and options.
fn hierarchies() -> Result<Vec<Hierarchy>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut found = Vec::new();
    let mut unified = None;
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(path) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
        let mut fields = right.split(' ');
        match fields.next() {
            Some("cgroup") => {
                let options = fields.nth(1).unwrap_or_default();
                let counts = options.split(',').any(|option| COUNTED.contains(&option));
                found.push(Hierarchy { path, counts });
            }
            Some("cgroup2") => unified = Some(path),
            _ => {}
        }
    }
    if let Some(path) = unified {
        // Beside version 1 it has no controllers; alone it is where everything is counted.
        let counts = found.is_empty();
        found.push(Hierarchy { path, counts });
    }
    Ok(found)
}
