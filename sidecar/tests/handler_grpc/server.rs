//! A real HTTP/2 server on loopback whose answers are scripted.

use bytes::Bytes;
use tokio::net::TcpListener;

/// What a server does with one call.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) trailers: Option<Vec<(&'static str, String)>>,
    pub(crate) reset: Option<h2::Reason>,
    pub(crate) is_silent: bool,
}

impl Script {
    pub(crate) fn grpc() -> Self {
        Self { status: 200, headers: vec![("content-type", "application/grpc".into())], ..Self::default() }
    }

    /// A message and status 0.
    pub(crate) fn message(message: &[u8]) -> Self {
        let mut data = vec![0, 0, 0, 0, message.len() as u8];
        data.extend(message);
        Self { data: Some(data), trailers: Some(vec![("grpc-status", "0".into())]), ..Self::grpc() }
    }

    /// A status without a message, as grpc-go sends it: trailers only.
    pub(crate) fn status(code: &str, message: &str) -> Self {
        let mut script = Self::grpc();
        script.headers.extend([("grpc-status", code.to_owned()), ("grpc-message", message.to_owned())]);
        script
    }
}

/// Serves every call by the script; returns the port and the requests that came.
pub(crate) async fn serve(
    script: Script,
) -> (u16, tokio::sync::mpsc::UnboundedReceiver<(http::request::Parts, Bytes)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            let Ok(mut connection) = h2::server::handshake(stream).await else { continue };
            let (script, sender) = (script.clone(), sender.clone());
            tokio::spawn(async move {
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(script.clone(), request, respond, sender.clone()));
                }
            });
        }
    });
    (port, requests)
}

pub(crate) async fn answer(
    script: Script,
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    sender: tokio::sync::mpsc::UnboundedSender<(http::request::Parts, Bytes)>,
) {
    let (parts, mut body) = request.into_parts();
    let mut message = Vec::new();
    while let Some(Ok(part)) = body.data().await {
        message.extend_from_slice(&part);
    }
    let _ = sender.send((parts, message.into()));
    if script.is_silent {
        std::future::pending::<()>().await;
    }
    if let Some(reason) = script.reset {
        return respond.send_reset(reason);
    }
    let mut response = http::Response::builder().status(script.status);
    for (name, value) in &script.headers {
        response = response.header(*name, value);
    }
    let is_end = script.data.is_none() && script.trailers.is_none();
    let mut stream = respond.send_response(response.body(()).expect("response"), is_end).expect("send");
    if let Some(data) = script.data {
        stream.send_data(data.into(), script.trailers.is_none()).expect("data");
    }
    if let Some(trailers) = script.trailers {
        let trailers = trailers.into_iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_str(&value).expect("value"))
        });
        stream.send_trailers(trailers.collect()).expect("trailers");
    }
}
