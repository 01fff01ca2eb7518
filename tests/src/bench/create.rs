//! What the webhook adds to the creation of a Pod, each way in turn with all others.

use super::admission::Certificate;
use super::figure::Series;
use super::replica::{Cores, Replica};
use super::town::{MARKER, NAMESPACE, Town, pod};
use crate::plane::free_port;
use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

const PLAIN: &str = "plain";
const BARE: &str = "bare";

/// One way of creating a Pod.
struct Way {
    name: &'static str,
    namespace: &'static str,
    /// Value of the Pod's own label, where it has one.
    inject: Option<&'static str>,
    has_sidecar: bool,
}

const WAYS: [Way; 4] = [
    Way { name: "no webhook (namespace not opted in)", namespace: PLAIN, inject: None, has_sidecar: false },
    Way { name: "matchConditions say no", namespace: NAMESPACE, inject: Some("disabled"), has_sidecar: false },
    Way { name: "injected", namespace: NAMESPACE, inject: None, has_sidecar: true },
    Way { name: "bare server, fixed patch", namespace: BARE, inject: None, has_sidecar: false },
];

/// Prints how long the API server took for a Pod in each way, `rounds` times in turn.
///
/// # Errors
/// Where a Pod is not what its way makes of it.
pub async fn run(town: &Town, binary: &Path, rounds: usize) -> Result<()> {
    let (replica, _) = Replica::webhook(&town.plane, binary, Cores::First).await?;
    replica.register(&town.client).await?;
    let certificate = Certificate::new()?;
    let port = free_port()?;
    let _bare = Replica::bare(&certificate.arguments(port), port).await?;
    town.namespace(PLAIN, json!({})).await?;
    town.namespace(BARE, json!({})).await?;
    register_bare(town, port, &certificate.certificate).await?;
    let mut took = WAYS.map(|_| Vec::with_capacity(rounds));
    for round in 0..rounds + 10 {
        for (way, took) in WAYS.iter().zip(&mut took) {
            let api = Api::<Pod>::namespaced(town.client.clone(), way.namespace);
            let mut pod = pod(&format!("made-{round}-{}", way.inject.unwrap_or("plainly")), MARKER);
            if let Some(value) = way.inject {
                pod["metadata"]["labels"]["probelet.io/inject"] = value.into();
            }
            let begin = Instant::now();
            let created = api.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
            // The first ones open connections.
            if round >= 10 {
                took.push(begin.elapsed());
            }
            let containers = created.spec.map_or(0, |spec| spec.containers.len());
            ensure!(way.has_sidecar == (containers == 3), "{}: {containers} containers", way.name);
        }
    }
    println!("creation of a Pod, the ways in turn");
    let base = Series::new(took[0].clone()).quantile(0.5);
    for (way, took) in WAYS.iter().zip(took) {
        let series = Series::new(took);
        let more = (series.quantile(0.5).as_secs_f64() - base.as_secs_f64()) * 1e3;
        println!("  {:<36} {series}   median {more:+.2} ms", way.name);
    }
    for namespace in [PLAIN, BARE, NAMESPACE] {
        let api = Api::<Pod>::namespaced(town.client.clone(), namespace);
        api.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default()).await?;
    }
    Ok(())
}

async fn register_bare(town: &Town, port: u16, certificate: &[u8]) -> Result<()> {
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(certificate));
    let object = serde_json::from_value(json!({
        "metadata": {"name": "bare"},
        "webhooks": [{
            "name": "pods.bare.example", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "clientConfig": {"url": format!("https://127.0.0.1:{port}/mutate-pods"), "caBundle": STANDARD.encode(pem)},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": BARE}},
        }],
    }))?;
    Api::<MutatingWebhookConfiguration>::all(town.client.clone()).create(&PostParams::default(), &object).await?;
    Ok(())
}
