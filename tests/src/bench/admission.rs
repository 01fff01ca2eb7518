//! The handler over TLS: the webhook's binary beside a bare server, both on one core, in turn.

use super::bare;
use super::caller::{Burst, Callee};
use super::figure::Series;
use super::replica::{CONFIGURATION, Cores, Replica};
use super::review::review;
use super::town::Town;
use crate::plane::free_port;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::path::Path;

/// Calls a second of the paced series.
const RATE: f64 = 500.0;
const CONNECTIONS: usize = 4;
/// Starts that are measured.
const STARTS: usize = 10;

/// The bare server's certificate and key, DER.
pub struct Certificate {
    /// Signs itself.
    pub certificate: Vec<u8>,
    /// PKCS#8.
    pub key: Vec<u8>,
}

// === impl Certificate ===

impl Certificate {
    /// One for loopback.
    ///
    /// # Errors
    /// Where no key can be made.
    pub fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        Ok(Self { certificate: made.cert.der().to_vec(), key: made.signing_key.serialize_der() })
    }

    /// What [`serve_bare`] takes.
    pub fn arguments(&self, port: u16) -> Vec<String> {
        vec!["--bare".into(), format!("{port},{},{}", STANDARD.encode(&self.certificate), STANDARD.encode(&self.key))]
    }
}

/// Is the bare server: `port,certificate,key`, both in base64.
///
/// # Errors
/// Where the argument is something else, or the port is taken.
pub async fn serve_bare(argument: &str) -> Result<()> {
    let mut parts = argument.split(',');
    let mut part = || parts.next().context("--bare takes port,certificate,key");
    let port = part()?.parse()?;
    bare::serve(port, STANDARD.decode(part()?)?, STANDARD.decode(part()?)?).await
}

/// Prints both series for both servers.
///
/// # Errors
/// Where one does not come up or gives no patch.
pub async fn run(town: &Town, binary: &Path, count: usize) -> Result<()> {
    // The very first one makes the certificates.
    drop(Replica::webhook(&town.plane, binary, Cores::First).await?);
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(Replica::webhook(&town.plane, binary, Cores::First).await?.1);
    }
    let (replica, _) = Replica::webhook(&town.plane, binary, Cores::First).await?;
    let certificate = Certificate::new()?;
    let port = free_port()?;
    let bare = Replica::bare(&certificate.arguments(port), port).await?;
    let ours = Callee::new(replica.port, authorities(town).await?)?;
    let other = Callee::new(port, [certificate.certificate])?;
    let body = Bytes::from(review()?);
    println!(
        "admission: review of {} bytes, over TLS, HTTP/1.1; each server on the first core, the caller on the last, in turn",
        body.len()
    );
    println!("  start -> ready    {}", Series::new(starts));
    let (resident, file) = replica.resident()?;
    println!("  resident {resident} KiB ({file} of it the program), nothing asked yet");
    on_last_core(move || async move {
        for callee in [&ours, &other] {
            callee.without_pause(&body, 1, count / 4).await?;
        }
        let both = [("probelet-webhook", &ours), ("bare server", &other)];
        for (name, callee) in both {
            tell(name, "one connection, no pause", &callee.without_pause(&body, 1, count).await?);
        }
        for (name, callee) in both {
            tell(name, "500 a second", &callee.at_rate(&body, CONNECTIONS, count / 2, RATE).await?);
        }
        for (name, callee) in both {
            tell(name, "4 connections, no pause", &callee.without_pause(&body, CONNECTIONS, count * 2).await?);
        }
        Ok(())
    })
    .await?;
    println!(
        "  resident afterwards: probelet-webhook {} KiB, bare server {} KiB",
        replica.resident()?.0,
        bare.resident()?.0
    );
    Ok(())
}

/// The server under measurement has the first core; who calls it must not be there.
async fn on_last_core<F: Future<Output = Result<()>>>(work: impl FnOnce() -> F + Send + 'static) -> Result<()> {
    let thread = move || -> Result<()> {
        let mut cores = CpuSet::new();
        cores.set(std::thread::available_parallelism()?.get() - 1);
        sched_setaffinity(None, &cores)?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work())
    };
    tokio::task::spawn_blocking(thread).await?
}

fn tell(name: &str, what: &str, burst: &Burst) {
    println!("  {name:<17} {what:<24} {:6.0} a second   {}", burst.rate, burst.took);
}

/// The certificates (DER) that the API server trusts for the webhook.
async fn authorities(town: &Town) -> Result<Vec<Vec<u8>>> {
    let api = Api::<MutatingWebhookConfiguration>::all(town.client.clone());
    let hooks = api.get(CONFIGURATION).await?.webhooks.unwrap_or_default();
    let bundle = hooks.into_iter().find_map(|hook| hook.client_config.ca_bundle).context("no caBundle yet")?;
    let text = String::from_utf8(bundle.0)?;
    let blocks =
        text.split("-----END CERTIFICATE-----").filter_map(|block| block.split_once("-----BEGIN CERTIFICATE-----"));
    blocks.map(|(_, body)| Ok(STANDARD.decode(body.split_whitespace().collect::<String>())?)).collect()
}
