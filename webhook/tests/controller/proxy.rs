//! A way to the API server whose connections can fall silent, as behind a gateway that has forgotten them: no byte comes
//! through any more, and nobody is told. New connections are good.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    silenced: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a port of loopback; everything goes to that other port.
    pub(crate) fn start(target: u16) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").expect("port"), target)
    }

    /// The same for what comes in there, which may be in another network.
    pub(crate) fn start_on(listener: TcpListener, target: u16) -> Self {
        let port = listener.local_addr().expect("address").port();
        let silenced = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&silenced);
        // Both ends live as long as the process of the tests.
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let born = count.load(Ordering::SeqCst);
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().expect("socket"), to.try_clone().expect("socket"));
                    let count = Arc::clone(&count);
                    thread::spawn(move || carry(from, to, &|| count.load(Ordering::SeqCst) > born));
                }
            }
        });
        Self { port, silenced }
    }

    /// From now on nothing comes through the connections that there are.
    pub(crate) fn silence(&self) {
        self.silenced.fetch_add(1, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_silent: &dyn Fn() -> bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes) {
        if is_silent() {
            // Not even an end.
            if count == 0 {
                thread::park();
            }
        } else if count == 0 || to.write_all(&bytes[..count]).is_err() {
            let _ = to.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}
