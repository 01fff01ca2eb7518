//! Images: static programs from this work tree, packed by the Dockerfiles that users build from.

use crate::lab::{Lab, node};
use crate::{command, key::Key, progress, work_tree};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One image and where its programs come from.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Short name: `probelet-NAME` is the repository.
    name: &'static str,
    dockerfile: &'static str,
    package: &'static str,
    programs: &'static [&'static str],
    profile: &'static str,
    /// A fixed tag; the others are tagged by content.
    tag: Option<&'static str>,
}

/// The sidecar, and the exec agent beside it.
pub const SIDECAR: Image = Image {
    name: "sidecar",
    dockerfile: "Dockerfile.sidecar",
    package: "probelet-sidecar",
    programs: &["probelet", "probelet-agent"],
    profile: "image",
    tag: None,
};

/// The webhook.
pub const WEBHOOK: Image = Image {
    name: "webhook",
    dockerfile: "Dockerfile.webhook",
    package: "probelet-webhook",
    programs: &["probelet-webhook"],
    profile: "image-webhook",
    tag: None,
};

/// The application that tests and demo probe.
pub const TEST_APP: Image = Image {
    name: "test-app",
    dockerfile: "tests/app/Dockerfile",
    package: "probelet-test-app",
    programs: &["test-app"],
    profile: "image",
    tag: None,
};

/// What holds a Pod's namespaces on the lab's nodes.
pub const PAUSE: Image = Image {
    name: "pause",
    dockerfile: "tests/app/Dockerfile.pause",
    package: "probelet-test-app",
    programs: &["pause"],
    profile: "image",
    tag: Some("lab"),
};

impl Image {
    /// The repository's last part.
    pub fn repository(&self) -> String {
        format!("probelet-{}", self.name)
    }

    /// Builds the image and puts it on the lab's nodes, unless it is there; its reference.
    pub fn provide(&self, lab: &Lab) -> Result<String> {
        let marker = lab.layout().path("images").join(self.name);
        // The pause program is asked for at every `make lab`: its sources are read, not built.
        let sources = match self.tag {
            Some(_) => Some(self.source_key()?),
            None => None,
        };
        if let (Some(key), Ok(text)) = (&sources, std::fs::read_to_string(&marker))
            && let Some((reference, old)) = text.split_once(' ')
            && old == key
        {
            return Ok(reference.to_owned());
        }
        let stage = self.stage(lab)?;
        let tag = match self.tag {
            Some(tag) => tag.to_owned(),
            None => Key::default().path(&stage)?.finish(),
        };
        let reference = format!("localhost/{}:{tag}", self.repository());
        let content = format!("{reference} {}", sources.unwrap_or_default());
        if std::fs::read_to_string(&marker).is_ok_and(|old| old == content) {
            return Ok(reference);
        }
        progress::timed(&format!("image {reference}"), || self.pack(lab, &stage, &reference))?;
        std::fs::write(marker, content)?;
        Ok(reference)
    }

    /// The reference of the image that was provided last.
    pub fn provided(&self, lab: &Lab) -> Result<String> {
        let marker = lab.layout().path("images").join(self.name);
        let text = std::fs::read_to_string(&marker)
            .with_context(|| format!("the lab has no image {}; `make deploy` builds it", self.name))?;
        Ok(text.split(' ').next().unwrap_or_default().to_owned())
    }

    /// A folder with what the Dockerfile's stage `build` would have made, and the Dockerfile.
    fn stage(&self, lab: &Lab) -> Result<PathBuf> {
        let built = build(self.package, self.programs, self.profile)?;
        let stage = lab.layout().path("stage").join(self.name);
        let _ = std::fs::remove_dir_all(&stage);
        let out = stage.join("build/out");
        std::fs::create_dir_all(&out)?;
        for program in self.programs {
            let from = built.join(program);
            std::fs::copy(&from, out.join(program)).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        std::fs::copy(work_tree().join(self.dockerfile), stage.join("Dockerfile"))
            .with_context(|| format!("cannot copy {}", self.dockerfile))?;
        Ok(stage)
    }

    /// The builder keeps its things in the lab's folder, and sees no others'.
    fn pack(&self, lab: &Lab, stage: &Path, reference: &str) -> Result<()> {
        let storage = lab.layout().path("buildah");
        let buildah = || {
            let mut command = lab.isolation().command("buildah");
            command.env("TMPDIR", lab.layout().path("tmp"));
            command.args(["--storage-driver", "vfs", "--root"]).arg(storage.join("root"));
            command.arg("--runroot").arg(storage.join("run"));
            command
        };
        let context = stage.join("context");
        std::fs::create_dir_all(&context)?;
        command::run(
            buildah()
                .args(["bud", "--isolation", "chroot", "--pull-never", "--tag", reference])
                .arg(format!("--build-context=build={}", stage.join("build").display()))
                .arg("--file")
                .arg(stage.join("Dockerfile"))
                .arg(&context),
        )?;
        let archive = stage.with_extension("tar");
        let _ = std::fs::remove_file(&archive);
        let target = format!("oci-archive:{}:{reference}", archive.display());
        command::run(buildah().args(["push", "--quiet", reference, &target]))?;
        for socket in lab.layout().containerd_sockets() {
            command::run(node::ctr(&socket)?.args(["images", "import"]).arg(&archive))
                .with_context(|| format!("cannot import {reference} into {}", socket.display()))?;
        }
        std::fs::remove_file(archive)?;
        Ok(())
    }

    fn source_key(&self) -> Result<String> {
        let tests = work_tree().join("tests/app");
        Ok(Key::default().path(&tests)?.finish())
    }
}

/// Builds static programs; the folder they are in.
fn build(package: &str, programs: &[&str], profile: &str) -> Result<PathBuf> {
    let target = Target::find();
    let mut command = Command::new("cargo");
    command.current_dir(work_tree()).args(["build", "--quiet", "--locked", "--package", package]).args([
        "--profile",
        profile,
        "--target",
        &target.triple,
    ]);
    for program in programs {
        command.args(["--bin", program]);
    }
    if let Some(flags) = target.flags {
        command.env("RUSTFLAGS", flags);
    }
    command::run_long(&format!("building {} ({})", programs.join(", "), target.triple), &mut command)?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or(work_tree().join("target"), PathBuf::from);
    let built = folder.join(&target.triple).join(profile);
    for program in programs {
        if !built.join(program).is_file() {
            bail!("cargo built no {} for package {package}", built.join(program).display());
        }
    }
    Ok(built)
}

/// What static programs are built for.
struct Target {
    triple: String,
    flags: Option<&'static str>,
}

impl Target {
    /// musl, whose programs are half the size; where rustup cannot bring it, glibc linked statically.
    fn find() -> Self {
        let architecture = std::env::consts::ARCH;
        let musl = format!("{architecture}-unknown-linux-musl");
        if is_installed(&musl) || add(&musl) {
            return Self { triple: musl, flags: None };
        }
        progress::say(format!(
            "no Rust target {musl} here: static glibc programs instead (they run the same, and are \
             larger)"
        ));
        Self { triple: format!("{architecture}-unknown-linux-gnu"), flags: Some("-C target-feature=+crt-static") }
    }
}

fn is_installed(triple: &str) -> bool {
    let query = ["--print", "target-libdir", "--target", triple];
    command::run(Command::new("rustc").args(query).current_dir(work_tree()))
        .is_ok_and(|dir| Path::new(dir.trim()).is_dir())
}

fn add(triple: &str) -> bool {
    command::exists("rustup")
        && command::run_long(
            &format!("adding Rust target {triple}"),
            Command::new("rustup").args(["target", "add", triple]).current_dir(work_tree()),
        )
        .is_ok()
}
