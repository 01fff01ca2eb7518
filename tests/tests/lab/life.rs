//! A whole life of a lab of its own: up, crashed, up again, down.

use anyhow::{Context, Result, ensure};
use probelet_tests::command;
use probelet_tests::lab::node::PAUSE_IMAGE;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const NAME: &str = "life";

#[test]
fn lab_comes_back_after_a_crash_and_leaves_nothing() -> Result<()> {
    if !rustix::process::geteuid().is_root() || probelet_tests::cluster::named().is_some() {
        eprintln!("skipped: needs root and no named cluster");
        return Ok(());
    }
    lab("down")?;
    let before = traces()?;
    ensure!(before.is_empty(), "left by an earlier run: {before:?}");
    let path = lab("up")?;
    ensure!(Path::new(path.trim()).is_file(), "up printed {path:?}");
    ensure!(!traces()?.is_empty(), "a lab that is up has traces");
    let number = std::fs::read_to_string("/var/lib/probelet-lab-life/network")?;
    let device = Path::new("/sys/class/net").join(format!("probelet{}", number.trim()));
    ensure!(device.exists(), "{} is missing", device.display());

    let folder = Path::new("/var/lib/probelet-lab-life/process");
    let ids = processes(folder)?;
    for id in ids.values() {
        command::run(Command::new("kill").args(["-9", &id.to_string()]))?;
    }
    lab("up").context("the crashed lab does not come up again")?;
    for (name, id) in processes(folder)? {
        ensure!(ids.get(&name) != Some(&id), "{name} was not started again");
    }
    let containers = run_pod()?;
    ensure!(containers.len() == 2, "one container and what holds its Pod's namespaces: {containers:?}");
    for id in &containers {
        ensure!(!groups(id)?.is_empty(), "no group of a container that runs: {id}");
    }

    lab("down")?;
    let after = traces()?;
    ensure!(after.is_empty(), "left behind: {after:?}");
    for id in containers {
        let left = groups(&id)?;
        ensure!(left.is_empty(), "left behind of a container: {left:?}");
    }
    ensure!(!device.exists(), "left behind: {}", device.display());
    Ok(())
}

/// Runs the lab's program for that lab; its standard output.
fn lab(action: &str) -> Result<String> {
    command::run(Command::new(env!("CARGO_BIN_EXE_lab")).env("PROBELET_LAB", NAME).arg(action))
}

/// A Pod that kubelet runs; the ids of its containers.
fn run_pod() -> Result<Vec<String>> {
    const POD: &str =
        r#"{"spec": {"nodeName": "node-1", "enableServiceLinks": false, "automountServiceAccountToken": false}}"#;
    let kubectl = |words: &[&str]| {
        command::run(Command::new(env!("CARGO_BIN_EXE_lab")).env("PROBELET_LAB", NAME).arg("kubectl").args(words))
    };
    kubectl(&["wait", "--for=create", "--timeout=60s", "serviceaccount/default"])?;
    let image = format!("--image={PAUSE_IMAGE}");
    kubectl(&["run", "held", &image, "--image-pull-policy=Never", "--overrides", POD])?;
    kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "pod/held"])?;
    let folder = format!("/var/lib/probelet-lab-{NAME}/containerd/state/io.containerd.runtime.v2.task/k8s.io");
    let entries = std::fs::read_dir(folder)?.flatten();
    Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// Control groups of a container, and processes that are in one.
fn groups(id: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")?.flatten() {
        let group = hierarchy.path().join("k8s.io").join(id);
        found.extend(group.exists().then(|| group.display().to_string()));
    }
    for process in std::fs::read_dir("/proc")?.flatten() {
        let text = |file| std::fs::read_to_string(process.path().join(file)).unwrap_or_default();
        // One that has ended and that nobody has asked for yet has no command line.
        let is_left = text("cgroup").contains(id) && !text("cmdline").is_empty();
        found.extend(is_left.then(|| process.path().display().to_string()));
    }
    Ok(found)
}

fn processes(folder: &Path) -> Result<std::collections::BTreeMap<String, u64>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let identity: serde_json::Value = serde_json::from_slice(&std::fs::read(entry.path())?)?;
        let id = identity["id"].as_u64().context("a process file has no id")?;
        found.insert(entry.file_name().to_string_lossy().into_owned(), id);
    }
    Ok(found)
}

/// Everything on the host that bears the lab's name: folder, mounts, control groups, processes.
fn traces() -> Result<BTreeSet<String>> {
    let name = format!("probelet-lab-{NAME}");
    let mut found = BTreeSet::new();
    if Path::new("/var/lib").join(&name).exists() {
        found.insert("folder".to_owned());
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    found.extend(mounts.lines().filter(|line| line.contains(&name)).map(|line| format!("mount {line}")));
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup")?.flatten().map(|entry| entry.path().join(&name));
    let groups = hierarchies.chain([Path::new("/sys/fs/cgroup").join(&name)]);
    found.extend(groups.filter(|group| group.exists()).map(|group| format!("control group {}", group.display())));
    for process in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&name) {
            found.insert(format!("process {}", process.path().display()));
        }
    }
    Ok(found)
}
