//! The Go programs that the lab runs, built from module sources and kept outside the work tree.

use crate::{command, key::Key, work_tree};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A Go module of `tests/lab` and the programs that are built from it.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    name: &'static str,
    flags: &'static str,
    /// Program and the package it is built from.
    programs: &'static [(&'static str, &'static str)],
}

const STRIP: &str = "-s -w";

/// kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kubectl.
pub const KUBERNETES: Module = Module {
    name: "kubernetes",
    flags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.3",
    programs: &[
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ],
};

/// etcd.
pub const ETCD: Module = Module { name: "etcd", flags: STRIP, programs: &[("etcd", "go.etcd.io/etcd/server/v3")] };

/// helm and kubeconform.
pub const HELM: Module = Module {
    name: "helm",
    // As helm's own build does: without them `helm template` takes the cluster for version 1.20.
    flags: "-s -w -X helm.sh/helm/v3/internal/version.version=v3.19.0 \
            -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 \
            -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34",
    programs: &[("helm", "helm.sh/helm/v3/cmd/helm"), ("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")],
};

/// The virtual node over CRI.
pub const VIRTUAL_NODE: Module = Module { name: "virtual-node", flags: STRIP, programs: &[("virtual-node", ".")] };

/// kubelet's own httpGet prober, which the bench compares with.
pub const PROBER: Module = Module { name: "prober", flags: STRIP, programs: &[("prober", ".")] };

/// Where built programs are kept: `PROBELET_CACHE`, else `probelet` in the user's cache folder.
pub fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = variable("PROBELET_CACHE") {
        return PathBuf::from(dir);
    }
    let base = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(variable("HOME").unwrap_or_else(|| "/root".into()));
    base.unwrap_or_else(|| home().join(".cache")).join("probelet")
}

/// The path of one program, built if it is not there yet. Where `KUBEBUILDER_ASSETS` names a folder
/// that holds kube-apiserver or etcd, that one is taken.
pub fn program(name: &str) -> Result<PathBuf> {
    if let (Some(assets), "kube-apiserver" | "etcd") = (std::env::var_os("KUBEBUILDER_ASSETS"), name) {
        let path = Path::new(&assets).join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let module = [KUBERNETES, ETCD, HELM, VIRTUAL_NODE, PROBER]
        .into_iter()
        .find(|module| module.programs.iter().any(|(program, _)| *program == name))
        .with_context(|| format!("no module of the lab builds {name}"))?;
    module.build(name)
}

// === impl Module ===

impl Module {
    /// True when the module's sources are in the work tree.
    pub fn exists(&self) -> bool {
        ["main.go", "tools.go"].iter().any(|file| self.source().join(file).is_file())
    }

    fn source(&self) -> PathBuf {
        work_tree().join("tests/lab").join(self.name)
    }

    /// Keyed by everything that decides the program: sources, pins, compiler, platform, flags.
    fn folder(&self) -> Result<PathBuf> {
        let key = Key::default().path(&self.source())?.text(go_version()?).text(self.flags).finish();
        Ok(cache().join(format!("{}-{key}", self.name)))
    }

    /// Builds one program beside its place and moves it there at the end, so that a build that was
    /// stopped leaves nothing that looks like a program.
    fn build(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder()?;
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
        let package = self
            .programs
            .iter()
            .find(|(program, _)| *program == name)
            .map(|(_, package)| *package)
            .with_context(|| format!("{} does not build {name}", self.name))?;
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let draft = folder.join(format!(".{name}.{}", std::process::id()));
        command::run_long(
            &format!("building {name} (kept in {})", folder.display()),
            Command::new("go")
                .current_dir(self.source())
                .env("CGO_ENABLED", "0")
                .args(["build", "-trimpath", "-ldflags", self.flags, "-o"])
                .arg(&draft)
                .arg(package),
        )
        .with_context(|| {
            format!(
                "cannot build {name} from {}; the Go module proxy must be reachable for the first \
                 build",
                self.source().display()
            )
        })?;
        std::fs::rename(&draft, &path).with_context(|| format!("cannot put {name} into {}", folder.display()))?;
        Ok(path)
    }
}

/// What `go version` says, asked once.
fn go_version() -> Result<&'static str> {
    static VERSION: OnceLock<String> = OnceLock::new();
    if let Some(version) = VERSION.get() {
        return Ok(version);
    }
    let advice = "Go 1.24 or newer builds the lab's programs; install it and put it on the PATH";
    ensure!(command::exists("go"), "go was not found. {advice}");
    let version = command::run(Command::new("go").arg("version")).context(advice)?;
    ensure!(version.starts_with("go version"), "`go version` said {version:?}. {advice}");
    Ok(VERSION.get_or_init(|| version))
}
