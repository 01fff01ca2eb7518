//! A Secret's volume without a kubelet.

use probelet_webhook::certificate::{CA_CERTIFICATE, Material, SERVING_CERTIFICATE, SERVING_KEY};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A folder as kubelet mounts a Secret.
pub(crate) struct Mount {
    pub(crate) path: PathBuf,
    generation: u32,
}

impl Mount {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("probelet-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("folder");
        for file in [CA_CERTIFICATE, SERVING_CERTIFICATE, SERVING_KEY] {
            symlink(Path::new("..data").join(file), path.join(file)).expect("link");
        }
        Self { path, generation: 0 }
    }

    /// Exchanges all files at once, by renaming a link.
    pub(crate) fn swap(&mut self, chain: &str, key: &str, bundle: &str) {
        self.generation += 1;
        let folder = format!("..{}", self.generation);
        fs::create_dir(self.path.join(&folder)).expect("folder");
        for (file, text) in [(SERVING_CERTIFICATE, chain), (SERVING_KEY, key), (CA_CERTIFICATE, bundle)] {
            fs::write(self.path.join(&folder).join(file), text).expect("file");
        }
        symlink(&folder, self.path.join("..data_tmp")).expect("link");
        fs::rename(self.path.join("..data_tmp"), self.path.join("..data")).expect("swap");
    }

    pub(crate) fn swap_to(&mut self, material: &Material) {
        self.swap(&material.serving_chain, &material.serving_key, &material.bundle);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
