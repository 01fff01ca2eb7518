//! What any admission webhook in Rust costs at least: axum and rustls, a review that is parsed, a fixed patch as the answer.

use anyhow::Result;
use axum::Router;
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Adds one annotation, so that the API server has a patch to apply.
const PATCH: &str = r#"[{"op":"add","path":"/metadata/labels","value":{"bench.example/bare":"true"}}]"#;

/// Parses the review and answers [`PATCH`].
pub fn router() -> Router {
    Router::new().route("/mutate-pods", post(answer))
}

/// Serves [`router`] over TLS with that certificate and key (DER) until the process ends.
///
/// # Errors
/// Where it cannot listen, or the certificate cannot be used.
pub async fn serve(port: u16, certificate: Vec<u8>, key: Vec<u8>) -> Result<()> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![CertificateDer::from(certificate)], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, router) = (acceptor.clone(), router());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = TowerToHyperService::new(router);
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(body: axum::body::Bytes) -> Result<String, String> {
    let review: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let patch = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, PATCH);
    let response = json!({"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch});
    Ok(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).to_string())
}
