//! What a sidecar finds in its Pod: an application, and a folder with token and CA.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A port of the application, open or closed.
pub(crate) struct App {
    task: JoinHandle<()>,
    pub(crate) port: u16,
}

impl App {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        Self { task: tokio::spawn(accept(listener)), port }
    }

    pub(crate) fn fail(&mut self) {
        self.task.abort();
    }

    pub(crate) async fn heal(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.expect("bind again");
        self.task = tokio::spawn(accept(listener));
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream);
    }
}

/// Folder with token and CA, removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(ca: &str, token: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("probelet-reporter-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("folder");
        let folder = Self(path);
        folder.write("ca.crt", ca);
        folder.write("token", token);
        folder
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let next = self.0.join(format!("{name}.next"));
        std::fs::write(&next, text).expect("written");
        std::fs::rename(next, self.0.join(name)).expect("swapped");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
