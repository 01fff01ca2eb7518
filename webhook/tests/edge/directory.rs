//! Fault F4: a mounted Secret is exchanged by a symbolic link, and a pair can be seen half.

use crate::harness::{material, parsed};
use probelet_webhook::certificate::directory::Directory;
use probelet_webhook::certificate::tls::Served;
use probelet_webhook::certificate::{CA_CERTIFICATE, Material, SERVING_CERTIFICATE, SERVING_KEY};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::sync::watch;

/// A folder as kubelet mounts a Secret.
struct Mount {
    path: PathBuf,
    generation: u32,
}

impl Mount {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("probelet-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("folder");
        for file in [CA_CERTIFICATE, SERVING_CERTIFICATE, SERVING_KEY] {
            symlink(Path::new("..data").join(file), path.join(file)).expect("link");
        }
        Self { path, generation: 0 }
    }

    /// Exchanges all files at once, by renaming a link.
    fn swap(&mut self, chain: &str, key: &str, bundle: &str) {
        self.generation += 1;
        let folder = format!("..{}", self.generation);
        fs::create_dir(self.path.join(&folder)).expect("folder");
        for (file, text) in [(SERVING_CERTIFICATE, chain), (SERVING_KEY, key), (CA_CERTIFICATE, bundle)] {
            fs::write(self.path.join(&folder).join(file), text).expect("file");
        }
        symlink(&folder, self.path.join("..data_tmp")).expect("link");
        fs::rename(self.path.join("..data_tmp"), self.path.join("..data")).expect("swap");
    }

    fn swap_to(&mut self, material: &Material) {
        self.swap(&material.serving_chain, &material.serving_key, &material.bundle);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[test]
fn files_that_are_swapped_by_a_link_are_read_again_and_half_a_pair_is_not_taken() {
    let (first, second) = (material(), material());
    let mut mount = Mount::new("swap");
    let (bundle_out, bundle) = watch::channel(None);
    let (expiry_out, expiry) = watch::channel(None);
    let mut directory = Directory::new(mount.path.clone(), Served::default(), bundle_out, expiry_out);
    directory.look().expect_err("nothing is there yet");
    mount.swap_to(&first);
    directory.look().expect("first");
    assert_eq!(bundle.borrow().as_deref(), Some(first.bundle.as_str()));
    assert_eq!(*expiry.borrow(), Some(first.serving.not_after));
    mount.swap(&second.serving_chain, &first.serving_key, &second.bundle);
    let error = directory.look().expect_err("torn").to_string();
    assert!(error.contains("do not belong together"), "{error}");
    assert_eq!(bundle.borrow().as_deref(), Some(first.bundle.as_str()), "the bundle stays with its certificate");
    mount.swap(&second.serving_chain, &second.serving_key, "garbage");
    let error = directory.look().expect_err("no bundle").to_string();
    assert!(error.starts_with("ca.crt"), "{error}");
    mount.swap_to(&second);
    directory.look().expect("second");
    assert_eq!(bundle.borrow().as_deref(), Some(second.bundle.as_str()));
    assert!(parsed(&second).chain[0].not_after > SystemTime::now());
}

#[test]
fn a_folder_without_ca_serves_and_leaves_the_registrations_alone() {
    let material = material();
    let mut mount = Mount::new("no-ca");
    mount.swap(&material.serving_chain, &material.serving_key, "");
    let (bundle_out, bundle) = watch::channel(None);
    let (expiry_out, _expiry) = watch::channel(None);
    Directory::new(mount.path.clone(), Served::default(), bundle_out, expiry_out).look().expect("served");
    assert_eq!(*bundle.borrow(), None);
}
