//! Another team's mutating webhook: it adds a container of its own to Pods and writes their annotations anew.

use anyhow::{Context, Result};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use probelet_tests::lab::network::Network;
use probelet_tests::space::Space;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// The container that it adds.
pub(crate) const PROXY: &str = "proxy";
/// The annotation by which it knows a Pod that it has seen.
pub(crate) const SEEN: &str = "meddler.example/seen";

/// It, while it listens.
pub(crate) struct Hook {
    url: String,
    authority: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Hook {
    /// Listens where the lab's API server reaches it; `container` is what it adds, to the init containers where it is a
    /// native sidecar. None where there is no lab.
    pub(crate) async fn start(space: &Space, container: Value) -> Result<Option<Self>> {
        let Some(lab) = space.cluster().lab() else { return Ok(None) };
        let host = Network::choose(lab.layout())?.host_address();
        let listener = TcpListener::bind((host.as_str(), 0)).await?;
        let url = format!("https://{}/mutate", listener.local_addr()?);
        let (tls, authority) = certificate(&host)?;
        let answer = async move |Json(review): Json<Value>| Json(answer(&review, &container));
        let serving = tokio::spawn(serve(listener, tls, Router::new().route("/mutate", post(answer))));
        Ok(Some(Self { url, authority: STANDARD.encode(authority), serving }))
    }

    /// Registers it under a name that decides whether it is called before ours or after. `again`: whether it wants to be called
    /// once more where others have changed the Pod since.
    pub(crate) async fn register(&self, space: &Space, name: &str, again: bool) -> Result<()> {
        let configuration = json!({"metadata": {"name": name}, "webhooks": [{
            "name": "meddler.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": self.url, "caBundle": self.authority},
            "reinvocationPolicy": if again { "IfNeeded" } else { "Never" },
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name()}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
        }]});
        configurations(space).create(&PostParams::default(), &serde_json::from_value(configuration)?).await?;
        Ok(())
    }
}

/// Takes the registration away.
pub(crate) async fn remove(space: &Space, name: &str) -> Result<()> {
    configurations(space).delete(name, &DeleteParams::default()).await?;
    Ok(())
}

fn configurations(space: &Space) -> Api<MutatingWebhookConfiguration> {
    Api::all(space.cluster().client())
}

/// A server's configuration for that address, and the PEM of whom to trust.
fn certificate(host: &str) -> Result<(TlsAcceptor, String)> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&key)?;
    let issuer = Issuer::new(parameters, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![host.to_owned()])?.signed_by(&key, &issuer)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key.into())?;
    Ok((TlsAcceptor::from(Arc::new(config)), authority.pem()))
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            let stream = tls.accept(stream).await.context("handshake")?;
            let connection = auto::Builder::new(TokioExecutor::new());
            connection.serve_connection(TokioIo::new(stream), service).await.map_err(anyhow::Error::msg)
        });
    }
}

fn answer(review: &Value, container: &Value) -> Value {
    let request = &review["request"];
    let patch = Value::Array(meddle(&request["object"], container)).to_string();
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
        "uid": request["uid"], "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch)}})
}

/// Writes all annotations as one, the owner's `note` in capitals; and adds its container where that is missing.
fn meddle(pod: &Value, container: &Value) -> Vec<Value> {
    let mut patch = Vec::new();
    let mut annotations = pod["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    if annotations.insert(SEEN.to_owned(), json!("yes")).is_none() {
        if let Some(note) = annotations.get_mut("note") {
            *note = json!(note.as_str().unwrap_or_default().to_uppercase());
        }
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": annotations}));
    }
    let list = if container["restartPolicy"] == "Always" { "initContainers" } else { "containers" };
    let present = pod["spec"][list].as_array();
    if present.is_none() {
        patch.push(json!({"op": "add", "path": format!("/spec/{list}"), "value": [container]}));
    } else if !present.into_iter().flatten().any(|found| found["name"] == PROXY) {
        patch.push(json!({"op": "add", "path": format!("/spec/{list}/-"), "value": container}));
    }
    patch
}
