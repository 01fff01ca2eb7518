//! Fault F4: a mounted Secret is exchanged by a symbolic link, and a pair can be seen half.

use crate::harness::{material, parsed};
use crate::mount::Mount;
use probelet_webhook::certificate::directory::Directory;
use probelet_webhook::certificate::tls::Served;
use std::time::SystemTime;
use tokio::sync::watch;

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
    assert_eq!(bundle.borrow().as_deref(), Some(""), "they are somebody else's");
    let (bundle_out, bundle) = watch::channel(None);
    let (expiry_out, _expiry) = watch::channel(None);
    let directory = Directory::new(mount.path.clone(), Served::default(), bundle_out, expiry_out);
    directory.signed_by(Some("given".to_owned())).look().expect("served");
    assert_eq!(bundle.borrow().as_deref(), Some("given"));
}
