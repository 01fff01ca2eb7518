//! A server of ours on loopback, with limits short enough to be met in a test, and clients that trust it.

use axum::Router;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use probelet_webhook::certificate::tls::{Served, server_config};
use probelet_webhook::certificate::{Material, Parsed, Validity, create};
use probelet_webhook::server::{Limits, Phase, Server};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// Nothing here takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    pub(crate) served: Served,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) serving: JoinHandle<()>,
    pub(crate) material: Material,
}

pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

pub(crate) fn limits() -> Limits {
    Limits {
        connections: 64,
        handshake: Duration::from_millis(300),
        header: Duration::from_millis(300),
        request: Duration::from_secs(1),
        idle: Duration::from_millis(700),
        body: 256 * 1024,
        bodies: 1024 * 1024,
    }
}

pub(crate) fn material() -> Material {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    create(SystemTime::now(), &names, Validity { serving: HOUR, authority: HOUR }).expect("certificates")
}

pub(crate) fn parsed(material: &Material) -> Parsed {
    Parsed::new(material.serving_chain.as_bytes(), material.serving_key.as_bytes()).expect("pair")
}

impl Edge {
    pub(crate) async fn start(limits: Limits, router: Router) -> Self {
        let material = material();
        let served = Served::default();
        served.set(&parsed(&material)).expect("served");
        let tls = server_config(&served, None).expect("tls");
        Self::with(material, served, tls, limits, router).await
    }

    pub(crate) async fn with(
        material: Material,
        served: Served,
        tls: rustls::ServerConfig,
        limits: Limits,
        router: Router,
    ) -> Self {
        let loopback = "127.0.0.1:0".parse().expect("address");
        let server = Server::bind("listen", loopback, Some(tls), limits).await.expect("listens");
        let address = server.address().expect("address");
        let (phase, following) = watch::channel(Phase::Open);
        let serving = tokio::spawn(server.serve(router, following));
        Self { address, served, phase, serving, material }
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    pub(crate) async fn tls(&self, protocol: &str) -> TlsStream<TcpStream> {
        connect(self.tcp().await, client(&[&self.material], protocol)).await.expect("handshake")
    }

    /// A connection as an API server holds it.
    pub(crate) async fn connect(&self) -> Sender {
        speak(self.tls("http/1.1").await).await
    }

    /// Sends bytes over HTTP/1 and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.tls("http/1.1").await;
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        read_to_end(&mut stream).await
    }
}

pub(crate) async fn speak(stream: TlsStream<TcpStream>) -> Sender {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP handshake");
    tokio::spawn(connection);
    sender
}

pub(crate) fn client(trusted: &[&Material], protocol: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for authority in trusted.iter().flat_map(|material| &material.authorities) {
        roots.add(authority.der.clone()).expect("root");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config
}

pub(crate) async fn connect(stream: TcpStream, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

pub(crate) async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the server closes in time");
    // A close without TLS' own goodbye is a close too.
    let _ = read;
    String::from_utf8_lossy(&text).into_owned()
}

pub(crate) async fn post(sender: &mut Sender, body: impl Into<Bytes>) -> hyper::Result<(u16, String)> {
    let request = http::Request::post("https://localhost/echo").body(Full::new(body.into())).expect("request");
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
