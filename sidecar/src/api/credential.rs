//! Token and CA of the Pod's own ServiceAccount. Both rotate: kubelet swaps a symlink, so they are read by content
//! before each request instead of being watched; two small files of a memory volume.

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// What proves who is who.
pub(super) struct Credentials {
    server: ServerName<'static>,
    token_dir: PathBuf,
    ca: Vec<u8>,
    connector: Option<TlsConnector>,
}

/// Token or CA cannot be used. Never holds the token.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file that cannot be read.
    #[error("reading {0:?}: {1}")]
    Read(PathBuf, io::Error),
    /// No certificate in it.
    #[error("reading {0:?}: no certificate in PEM form")]
    NoCertificate(PathBuf),
    /// Not a certificate.
    #[error("reading {0:?}: {1}")]
    Certificate(PathBuf, rustls::Error),
    /// TLS cannot be set up.
    #[error("setting up TLS: {0}")]
    Tls(rustls::Error),
    /// The API server's host is neither an address nor a name.
    #[error("KUBERNETES_SERVICE_HOST: {0:?} is neither an IP address nor a host name")]
    Host(String, InvalidDnsNameError),
}

impl Credentials {
    pub(super) fn try_new(host: &str, token_dir: PathBuf) -> Result<Self, CredentialError> {
        let server =
            ServerName::try_from(host.to_owned()).map_err(|error| CredentialError::Host(host.into(), error))?;
        Ok(Self { server, token_dir, ca: Vec::new(), connector: None })
    }

    /// Reads the CA again; true when it changed, so that connections made before are of no use.
    pub(super) fn refresh(&mut self) -> Result<bool, CredentialError> {
        let path = self.token_dir.join("ca.crt");
        let ca = fs::read(&path).map_err(|error| CredentialError::Read(path.clone(), error))?;
        if self.connector.is_some() && ca == self.ca {
            return Ok(false);
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&ca) {
            let certificate = certificate.map_err(|_| CredentialError::NoCertificate(path.clone()))?;
            roots.add(certificate).map_err(|error| CredentialError::Certificate(path.clone(), error))?;
        }
        if roots.is_empty() {
            return Err(CredentialError::NoCertificate(path));
        }
        self.connector = Some(TlsConnector::from(Arc::new(client(roots).map_err(CredentialError::Tls)?)));
        self.ca = ca;
        Ok(true)
    }

    pub(super) fn token(&self) -> Result<String, CredentialError> {
        let path = self.token_dir.join("token");
        let token = fs::read_to_string(&path).map_err(|error| CredentialError::Read(path, error))?;
        Ok(token.trim().to_owned())
    }

    pub(super) fn server(&self) -> &ServerName<'static> {
        &self.server
    }

    /// For connections; there from the first [`Self::refresh`] on.
    pub(super) fn connector(&self) -> io::Result<&TlsConnector> {
        self.connector.as_ref().ok_or_else(|| io::Error::other("no CA was read yet"))
    }
}

fn client(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // One server: a few tickets are enough to resume with.
    config.resumption = Resumption::in_memory_sessions(4);
    Ok(config)
}
