//! The certificates that the API server meets: what is stored, when to renew it, and where it is read and written.

use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use thiserror::Error;

pub mod bundle;
pub mod directory;
mod issue;
mod parse;
pub mod plan;
pub mod secret;
pub mod tls;

pub use issue::{SKEW, create, renew};
pub use parse::{Parsed, parse_bundle, parse_certificates};

/// Key of the CA bundle in a Secret, and its file name: newest CA first.
pub const CA_CERTIFICATE: &str = "ca.crt";
/// Key of the newest CA's private key; never in a mounted directory.
pub const CA_KEY: &str = "ca.key";
/// Key and file name of the serving certificate.
pub const SERVING_CERTIFICATE: &str = "tls.crt";
/// Key and file name of the serving certificate's private key.
pub const SERVING_KEY: &str = "tls.key";

/// Largest PEM text that is read: nothing of ours comes near, and a hostile Secret must not cost memory.
pub const PEM_BYTES: usize = 256 * 1024;

/// How long new certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Of a serving certificate.
    pub serving: Duration,
    /// Of a certificate authority.
    pub authority: Duration,
}

/// One CA or serving certificate, reduced to what decisions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    /// Start of its validity.
    pub not_before: SystemTime,
    /// End of its validity.
    pub not_after: SystemTime,
    /// Subject key identifier, empty where the certificate has none.
    pub subject_key: Vec<u8>,
    /// Authority key identifier, empty where the certificate has none.
    pub authority_key: Vec<u8>,
    /// DNS names and IP addresses it is for, as text.
    pub names: Vec<String>,
}

/// All that is stored: the CAs to trust, the newest CA's key, and what is served.
#[derive(Clone)]
pub struct Material {
    /// CAs that the API server has to trust, newest first; never empty.
    pub authorities: Vec<Certificate>,
    /// PEM of `authorities`.
    pub bundle: String,
    /// PEM of the newest CA's key.
    pub authority_key: String,
    /// The serving certificate.
    pub serving: Certificate,
    /// PEM of the serving certificate.
    pub serving_chain: String,
    /// PEM of the serving key.
    pub serving_key: String,
}

/// Why certificates cannot be used or made.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A key of the Secret or a file of the directory is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Too large to be a certificate or key.
    #[error("{what} has {bytes} bytes, at most {PEM_BYTES} are read")]
    TooLarge {
        /// Which one.
        what: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// Not PEM, or PEM of something else.
    #[error("{what} holds no usable PEM: {reason}")]
    Malformed {
        /// Which one.
        what: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// The certificate and the key are not a pair: half of a renewal has been seen.
    #[error("tls.crt and tls.key do not belong together: {0}")]
    Torn(String),
    /// The serving certificate was signed by none of the CAs in the bundle.
    #[error("tls.crt was not signed by a certificate authority in ca.crt")]
    UnknownAuthority,
    /// Keys or certificates could not be made.
    #[error("making certificates: {0}")]
    Issue(#[from] rcgen::Error),
}

// === impl Material ===

impl Material {
    /// The Secret's data.
    pub fn to_data(&self) -> BTreeMap<String, Vec<u8>> {
        [
            (CA_CERTIFICATE, &self.bundle),
            (CA_KEY, &self.authority_key),
            (SERVING_CERTIFICATE, &self.serving_chain),
            (SERVING_KEY, &self.serving_key),
        ]
        .map(|(key, text)| (key.to_owned(), text.clone().into_bytes()))
        .into()
    }

    /// The newest CA, which signs new serving certificates.
    pub fn newest(&self) -> &Certificate {
        &self.authorities[0]
    }

    /// Whether the newest CA signed the serving certificate.
    pub fn is_signed_by_newest(&self) -> bool {
        self.serving.authority_key == self.newest().subject_key
    }
}

impl Certificate {
    /// How much of its life is over, from 0 to 1 and more. The skew before its making does not count.
    pub fn age(&self, now: SystemTime) -> f64 {
        let made = self.not_before + SKEW;
        let life = self.not_after.duration_since(made).unwrap_or_default().as_secs_f64();
        let lived = now.duration_since(made).unwrap_or_default().as_secs_f64();
        if life > 0.0 { lived / life } else { f64::INFINITY }
    }

    /// When a share of its life will be over.
    pub fn at_age(&self, share: f64) -> SystemTime {
        let made = self.not_before + SKEW;
        made + self.not_after.duration_since(made).unwrap_or_default().mul_f64(share)
    }
}
