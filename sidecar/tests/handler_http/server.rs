//! Servers on loopback, good and ill. Each ends with its handle or with the test's runtime.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that answers each connection once and closes it.
pub(crate) struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) async fn new(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let server = Self { port, connections: connections.clone() };
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("accept");
                connections.fetch_add(1, Ordering::SeqCst);
                let request = request(&mut stream).await;
                // A client that went away has its reasons.
                let _ = stream.write_all(answer(&request).as_bytes()).await;
            }
        });
        server
    }

    pub(crate) async fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::new(move |_| answer.clone()).await
    }

    pub(crate) async fn echo() -> Self {
        Self::new(|request| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{request}", request.len())).await
    }

    pub(crate) async fn redirecting(status: u16, location: &str) -> Self {
        Self::answering(&format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nmoved"))
            .await
    }

    /// Sends the first text at once, then the cycle, byte for byte with a pause, for ever.
    pub(crate) async fn dripping(first: &str, cycle: &str, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let (first, cycle) = (first.to_owned(), cycle.to_owned());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let _ = stream.write_all(first.as_bytes()).await;
            for byte in cycle.bytes().cycle() {
                tokio::time::sleep(pause).await;
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
            std::future::pending::<()>().await;
        });
        Self { port, connections: Arc::default() }
    }

    /// Sends as fast as it can from a thread of its own, until the client goes away.
    pub(crate) fn flooding(first: &str, cycle: &str) -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let (first, cycle) = (first.to_owned(), cycle.to_owned());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let _ = stream.read(&mut [0; 1024]);
            let mut sent = stream.write_all(first.as_bytes());
            while sent.is_ok() {
                sent = stream.write_all(cycle.as_bytes());
            }
        });
        port
    }
}

async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A TLS server with a certificate that nobody signed, long expired; it answers with the name that it was asked for.
pub(crate) struct Tls {
    pub(crate) port: u16,
}

impl Tls {
    pub(crate) async fn new() -> Self {
        Self::closing(true).await
    }

    /// One that ends its answer by closing the connection, in TLS or without a word there.
    pub(crate) async fn closing(says_so: bool) -> Self {
        let mut params = rcgen::CertificateParams::new(vec!["other.example".into()]).expect("params");
        params.not_after = rcgen::date_time_ymd(2000, 1, 1);
        let key = rcgen::KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("certificate");
        let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("private key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("config");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 1024]).await;
                let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
                let length = format!("Content-Length: {}\r\n", name.len() + 5);
                let answer = format!("HTTP/1.1 200 OK\r\n{}\r\nname {name}", if says_so { &length } else { "" });
                let _ = stream.write_all(answer.as_bytes()).await;
                if says_so {
                    let _ = stream.shutdown().await;
                } else {
                    let _ = stream.get_mut().0.shutdown().await;
                }
            }
        });
        Self { port }
    }
}
