//! The served certificate, exchanged under running connections: each handshake takes the newest, none is dropped.

use super::{Certificate, CertificateError, Parsed};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::sync::{Arc, PoisonError, RwLock};

/// What is served now. Clones share it.
#[derive(Clone, Default)]
pub struct Served {
    current: Arc<RwLock<Option<Arc<CertifiedKey>>>>,
}

/// A chain and its key in the form that rustls signs with.
///
/// # Errors
/// [`CertificateError::Torn`] where they are not a pair.
pub fn certified_key(parsed: &Parsed) -> Result<CertifiedKey, CertificateError> {
    let chain = parsed.chain.iter().map(|certificate| certificate.der.clone()).collect();
    CertifiedKey::from_der(chain, parsed.key.clone_key(), &provider())
        .map_err(|error| CertificateError::Torn(error.to_string()))
}

/// The one crypto provider of this process.
pub fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// TLS 1.2 and 1.3 with the served certificate; HTTP/1.1 only. With `clients`, callers need a certificate that one
/// of these CAs signed (threat T9).
///
/// # Errors
/// Where the provider lacks a protocol version, or a CA cannot be used.
pub fn server_config(served: &Served, clients: Option<&[Certificate]>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority.der.clone())?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(served.clone()));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

// === impl Served ===

impl Served {
    /// Serves this from the next handshake on.
    ///
    /// # Errors
    /// [`CertificateError::Torn`]; then the one before stays.
    pub fn set(&self, parsed: &Parsed) -> Result<(), CertificateError> {
        let key = Arc::new(certified_key(parsed)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
        Ok(())
    }

    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("present", &self.get().is_some()).finish()
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get()
    }
}
