//! New keys and certificates: ECDSA P-256, which every API server verifies in well under a millisecond.

use super::plan::Step;
use super::{Certificate, CertificateError, Material, Validity, parse_bundle, parse_certificates};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::time::{Duration, SystemTime};

/// How far a certificate's start lies in the past: clocks of API servers differ by minutes (fault F6).
pub const SKEW: Duration = Duration::from_secs(5 * 60);

/// Makes everything: a CA, and a serving certificate for these names.
///
/// # Errors
/// [`CertificateError::Issue`] where a name is no DNS name or IP address, or the system gives no randomness.
pub fn create(now: SystemTime, names: &[String], validity: Validity) -> Result<Material, CertificateError> {
    let (bundle, authority_key, authority) = authority(now, validity)?;
    let (serving_chain, serving_key, serving) = serving(now, names, validity, &authority_key, &authority)?;
    Ok(Material { authorities: vec![authority], bundle, authority_key, serving, serving_chain, serving_key })
}

/// Takes one step of [`super::plan::next`]; `Keep` changes nothing.
///
/// # Errors
/// As [`create`].
pub fn renew(
    material: &Material,
    step: Step,
    now: SystemTime,
    names: &[String],
    validity: Validity,
) -> Result<Material, CertificateError> {
    let mut renewed = material.clone();
    match step {
        Step::Keep { .. } => {}
        Step::StartAnew => renewed = create(now, names, validity)?,
        Step::SignServing => {
            (renewed.serving_chain, renewed.serving_key, renewed.serving) =
                serving(now, names, validity, &material.authority_key, material.newest())?;
        }
        Step::AddAuthority => {
            let (pem, key, authority) = authority(now, validity)?;
            renewed.authorities.insert(0, authority);
            renewed.authorities.retain(|authority| authority.not_after > now);
            renewed.bundle = rebuild(&pem, &material.bundle, now)?;
            renewed.authority_key = key;
        }
        Step::DropExpired => {
            renewed.authorities.retain(|authority| authority.not_after > now);
            renewed.bundle = rebuild("", &material.bundle, now)?;
        }
    }
    Ok(renewed)
}

/// The PEM of a bundle: one more in front, expired ones gone.
fn rebuild(front: &str, bundle: &str, now: SystemTime) -> Result<String, CertificateError> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let mut rebuilt = front.to_owned();
    for block in bundle.replace("\r\n", "\n").split_inclusive(END) {
        if block.contains("BEGIN CERTIFICATE") && parse_bundle(block.as_bytes())?[0].not_after > now {
            rebuilt.push_str(block);
        }
    }
    Ok(rebuilt)
}

fn authority(now: SystemTime, validity: Validity) -> Result<(String, String, Certificate), CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = authority_params()?;
    params.not_before = (now - SKEW).into();
    params.not_after = (now + validity.authority).into();
    let pem = params.self_signed(&key)?.pem();
    let certificate = parse_bundle(pem.as_bytes())?.swap_remove(0);
    Ok((pem, key.serialize_pem(), certificate))
}

/// The same for every CA of ours, so that a signer is made again from its key alone.
fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = common_name("probelet-webhook-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn serving(
    now: SystemTime,
    names: &[String],
    validity: Validity,
    authority_key: &str,
    authority: &Certificate,
) -> Result<(String, String, Certificate), CertificateError> {
    let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(authority_key)?);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = common_name("probelet-webhook");
    params.not_before = (now - SKEW).into();
    params.not_after = (now + validity.serving).min(authority.not_after).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let pem = params.signed_by(&key, &issuer)?.pem();
    let certificate = parse_certificates(super::SERVING_CERTIFICATE, pem.as_bytes())?.swap_remove(0);
    Ok((pem, key.serialize_pem(), certificate))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
