//! PEM and X.509 into values. Sizes are capped before anything is parsed.

use super::{
    CA_CERTIFICATE, CA_KEY, Certificate, CertificateError, Material, PEM_BYTES, SERVING_CERTIFICATE, SERVING_KEY,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A serving certificate with its key, known to be a pair.
#[derive(Debug)]
pub struct Parsed {
    /// Leaf first.
    pub chain: Vec<Certificate>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

impl Parsed {
    /// Reads a chain and its key, in PEM.
    ///
    /// # Errors
    /// [`CertificateError`], among them `Torn` where the two are not a pair.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = parse_certificates(SERVING_CERTIFICATE, chain)?;
        let key =
            PrivateKeyDer::from_pem_slice(capped(SERVING_KEY, key)?).map_err(|error| malformed(SERVING_KEY, error))?;
        let parsed = Self { chain, key };
        super::tls::certified_key(&parsed)?;
        Ok(parsed)
    }
}

impl Material {
    /// Reads a Secret's data and checks that its parts belong together.
    ///
    /// # Errors
    /// [`CertificateError`] with the key that is wrong.
    pub fn parse(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, CertificateError> {
        let get =
            |key: &'static str| data.get(key).filter(|value| !value.is_empty()).ok_or(CertificateError::Missing(key));
        let bundle = text(CA_CERTIFICATE, get(CA_CERTIFICATE)?)?;
        let authority_key = text(CA_KEY, get(CA_KEY)?)?;
        let serving_chain = text(SERVING_CERTIFICATE, get(SERVING_CERTIFICATE)?)?;
        let serving_key = text(SERVING_KEY, get(SERVING_KEY)?)?;
        let authorities = parse_bundle(bundle.as_bytes())?;
        let mut served = Parsed::new(serving_chain.as_bytes(), serving_key.as_bytes())?;
        let serving = served.chain.swap_remove(0);
        if !authorities.iter().any(|authority| authority.subject_key == serving.authority_key) {
            return Err(CertificateError::UnknownAuthority);
        }
        Ok(Self { authorities, bundle, authority_key, serving, serving_chain, serving_key })
    }
}

/// Reads the CAs of a bundle.
///
/// # Errors
/// [`CertificateError`] where there is none, or one is unreadable.
pub fn parse_bundle(pem: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    parse_certificates(CA_CERTIFICATE, pem)
}

/// Reads at least one certificate; `what` is for the error.
///
/// # Errors
/// [`CertificateError`] where there is none, or one is unreadable.
pub fn parse_certificates(what: &'static str, pem: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    let list = CertificateDer::pem_slice_iter(capped(what, pem)?)
        .map(|der| certificate(what, der.map_err(|error| malformed(what, error))?))
        .collect::<Result<Vec<_>, _>>()?;
    if list.is_empty() {
        return Err(malformed(what, "no CERTIFICATE section in it"));
    }
    Ok(list)
}

fn certificate(what: &'static str, der: CertificateDer<'static>) -> Result<Certificate, CertificateError> {
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| malformed(what, error))?;
    let (mut subject_key, mut authority_key, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(key) => subject_key = key.0.to_vec(),
            ParsedExtension::AuthorityKeyIdentifier(key) => {
                authority_key = key.key_identifier.as_ref().map(|key| key.0.to_vec()).unwrap_or_default();
            }
            ParsedExtension::SubjectAlternativeName(list) => {
                names = list.general_names.iter().filter_map(name).collect();
            }
            _ => {}
        }
    }
    let (not_before, not_after) =
        (time(parsed.validity().not_before.timestamp()), time(parsed.validity().not_after.timestamp()));
    Ok(Certificate { not_before, not_after, subject_key, authority_key, names, der })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn text(what: &'static str, bytes: &[u8]) -> Result<String, CertificateError> {
    String::from_utf8(capped(what, bytes)?.to_vec()).map_err(|error| malformed(what, error))
}

fn capped<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8], CertificateError> {
    if bytes.len() > PEM_BYTES {
        return Err(CertificateError::TooLarge { what, bytes: bytes.len() });
    }
    Ok(bytes)
}

fn malformed(what: &'static str, reason: impl std::fmt::Display) -> CertificateError {
    CertificateError::Malformed { what, reason: reason.to_string() }
}
