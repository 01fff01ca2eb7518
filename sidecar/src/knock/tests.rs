use super::*;
use std::os::unix::net::UnixDatagram as Sender;
use std::path::PathBuf;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("probelet-knock-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("folder");
        Self(path)
    }

    fn knock(&self, payload: &[u8]) {
        let sender = Sender::unbound().expect("socket");
        sender.send_to(payload, self.0.join(LOOK_SOCKET)).expect("knock");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn probes(names: &[&str]) -> Knock {
    Knock::Probes(names.iter().map(|name| (*name).to_owned()).collect())
}

#[tokio::test]
async fn a_knock_is_taken_at_once_and_later_ones_together_after_the_pause() {
    let folder = Folder::new("together");
    let mut door = Door::open(&folder.0).expect("door");
    let begin = Instant::now();
    folder.knock(b"health");
    assert_eq!(door.next().await.expect("knock"), probes(&["health"]));
    for name in ["idle", "health", "idle\n"] {
        folder.knock(name.as_bytes());
    }
    assert_eq!(door.next().await.expect("knock"), probes(&["health", "idle"]));
    assert!(begin.elapsed() >= PAUSE);
    folder.knock(b"health");
    folder.knock(b"");
    assert_eq!(door.next().await.expect("knock"), Knock::All);
}

#[tokio::test]
async fn what_is_no_name_is_passed_over() {
    let folder = Folder::new("names");
    let mut door = Door::open(&folder.0).expect("door");
    for payload in [&[b'x'; limit::NAME + 1][..], &[b'x'; 4000], &[0xff, 0xfe]] {
        folder.knock(payload);
    }
    folder.knock(b"\n");
    assert_eq!(door.next().await.expect("knock"), Knock::All);
    folder.knock(&[b'x'; limit::NAME + 1]);
    folder.knock(&[b'y'; limit::NAME]);
    assert_eq!(door.next().await.expect("knock"), probes(&[&"y".repeat(limit::NAME)]));
}

#[tokio::test]
async fn a_new_sidecar_opens_its_own_door() {
    let folder = Folder::new("again");
    drop(Door::open(&folder.0).expect("door"));
    let mut door = Door::open(&folder.0).expect("second door");
    folder.knock(b"");
    assert_eq!(door.next().await.expect("knock"), Knock::All);
}
