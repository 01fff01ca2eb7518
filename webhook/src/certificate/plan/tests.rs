use super::*;
use crate::certificate::{CA_CERTIFICATE, CertificateError, SERVING_KEY, create, renew};
use std::time::UNIX_EPOCH;

const VALIDITY: Validity = Validity { serving: Duration::from_secs(60), authority: Duration::from_secs(120) };

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn after(seconds: u64) -> SystemTime {
    start() + Duration::from_secs(seconds)
}

fn names() -> Vec<String> {
    vec!["probelet-webhook.probelet-system.svc".into(), "127.0.0.1".into()]
}

fn material() -> Material {
    create(start(), &names(), VALIDITY).expect("certificates")
}

fn step(material: &Material, seconds: u64, installed: bool) -> Step {
    next(material, after(seconds), &names(), VALIDITY, installed)
}

fn take(material: &Material, step: Step, seconds: u64) -> Material {
    renew(material, step, after(seconds), &names(), VALIDITY).expect("renewed")
}

#[test]
fn fresh_certificates_are_kept_until_two_thirds_of_the_serving_life() {
    assert_eq!(step(&material(), 1, true), Step::Keep { until: after(40) });
    assert_eq!(step(&material(), 40, true), Step::SignServing);
}

#[test]
fn certificates_start_in_the_past_for_skewed_clocks() {
    let material = material();
    assert_eq!(material.serving.not_before, start() - SKEW);
    assert_eq!(material.newest().not_before, start() - SKEW);
}

const SKEW: Duration = Duration::from_secs(300);

#[test]
fn a_new_authority_is_trusted_before_it_signs_and_the_old_one_until_it_expires() {
    let first = material();
    let first = take(&first, Step::SignServing, 40);
    assert_eq!(step(&first, 60, true), Step::AddAuthority);
    let both = take(&first, Step::AddAuthority, 60);
    assert_eq!(both.authorities.len(), 2);
    assert_eq!(both.serving, first.serving, "the old serving certificate goes on");
    assert_eq!(step(&both, 61, false), Step::Keep { until: after(62) }, "not before the API server trusts it");
    assert_eq!(step(&both, 61, true), Step::Keep { until: after(70) }, "nor before it settled");
    assert_eq!(step(&both, 70, true), Step::SignServing);
    let second = take(&both, Step::SignServing, 70);
    assert!(second.is_signed_by_newest());
    assert_eq!(second.authorities.len(), 2, "replicas that still serve the old one stay trusted");
    let later = take(&second, Step::SignServing, 110);
    assert_eq!(step(&later, 121, true), Step::AddAuthority);
    let third = take(&later, Step::AddAuthority, 121);
    assert_eq!(third.authorities.len(), 2, "the expired one is gone");
}

#[test]
fn an_expired_authority_leaves_the_bundle() {
    let long = Validity { serving: Duration::from_secs(1000), authority: Duration::from_secs(2000) };
    let mut material = material();
    material = renew(&material, Step::AddAuthority, after(1), &names(), long).expect("authority");
    material = renew(&material, Step::SignServing, after(2), &names(), long).expect("serving");
    assert_eq!(next(&material, after(121), &names(), long, true), Step::DropExpired);
    let dropped = renew(&material, Step::DropExpired, after(121), &names(), long).expect("dropped");
    assert_eq!(dropped.authorities.len(), 1);
    assert_eq!(dropped.bundle.matches("BEGIN").count(), 1);
    assert!(matches!(next(&dropped, after(122), &names(), long, true), Step::Keep { .. }));
}

#[test]
fn after_a_long_stop_everything_is_made_anew_without_waiting() {
    let material = material();
    assert_eq!(step(&material, 500, false), Step::StartAnew);
    let material = take(&material, Step::StartAnew, 500);
    assert_eq!(material.authorities.len(), 1);
    assert!(Material::parse(&material.to_data()).is_ok());
    assert!(matches!(step(&material, 501, true), Step::Keep { .. }));
}

#[test]
fn a_changed_service_name_is_signed_at_once() {
    let other = vec!["other.probelet-system.svc".to_owned()];
    assert_eq!(next(&material(), after(1), &other, VALIDITY, true), Step::SignServing);
}

#[test]
fn a_serving_certificate_never_outlives_its_authority() {
    let validity = Validity { serving: Duration::from_secs(600), authority: Duration::from_secs(60) };
    let material = create(start(), &names(), validity).expect("certificates");
    assert_eq!(material.serving.not_after, material.newest().not_after);
}

#[test]
fn stored_material_reads_back_as_it_was() {
    let material = material();
    let read = Material::parse(&material.to_data()).expect("read");
    assert_eq!(read.serving, material.serving);
    assert_eq!(read.authorities, material.authorities);
    assert_eq!(read.serving.names, names());
}

#[test]
fn broken_material_is_refused_by_the_name_of_its_part() {
    let (one, two) = (material(), material());
    let mut torn = one.to_data();
    torn.insert(SERVING_KEY.into(), two.serving_key.clone().into_bytes());
    assert!(matches!(Material::parse(&torn), Err(CertificateError::Torn(_))));
    let mut foreign = one.to_data();
    foreign.insert(CA_CERTIFICATE.into(), two.bundle.clone().into_bytes());
    assert!(matches!(Material::parse(&foreign), Err(CertificateError::UnknownAuthority)));
    let mut missing = one.to_data();
    missing.remove(SERVING_KEY);
    assert!(matches!(Material::parse(&missing), Err(CertificateError::Missing(SERVING_KEY))));
    let mut garbage = one.to_data();
    garbage.insert(CA_CERTIFICATE.into(), b"garbage".to_vec());
    let error = Material::parse(&garbage).err().expect("refused").to_string();
    assert!(error.starts_with("ca.crt"), "{error}");
    let mut huge = one.to_data();
    huge.insert(SERVING_KEY.into(), vec![b'x'; super::super::PEM_BYTES + 1]);
    assert!(matches!(Material::parse(&huge), Err(CertificateError::TooLarge { .. })));
}
