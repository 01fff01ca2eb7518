//! The lab's certificate authority and what it signs. Made once for a lab, kept in its folder.

use crate::lab::layout::Layout;
use crate::lab::network::{Network, SERVICE_ADDRESS};
use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Who a certificate is for.
struct Subject<'a> {
    file: &'a str,
    user: &'a str,
    group: &'a str,
    addresses: Vec<String>,
}

/// The files of the authority and its certificates.
#[derive(Clone, Debug)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Those of that lab; made if they are not there.
    pub fn raise(layout: &Layout, network: Network) -> Result<Self> {
        let certificates = Self { dir: layout.path("pki") };
        if !certificates.dir.is_dir() {
            let draft = layout.path(".pki");
            let _ = std::fs::remove_dir_all(&draft);
            std::fs::create_dir_all(&draft)?;
            make(&draft, network).context("cannot make the lab's certificates")?;
            std::fs::rename(&draft, &certificates.dir)?;
        }
        Ok(certificates)
    }

    /// The certificate of the authority.
    pub fn authority(&self) -> String {
        self.file("ca.crt")
    }

    /// The certificate of that name.
    pub fn certificate(&self, name: &str) -> String {
        self.file(&format!("{name}.crt"))
    }

    /// The key of that name.
    pub fn key(&self, name: &str) -> String {
        self.file(&format!("{name}.key"))
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }
}

fn make(dir: &Path, network: Network) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.distinguished_name.push(DnType::CommonName, "probelet-lab");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    write(&dir.join("ca.crt"), &parameters.self_signed(&key)?.pem())?;
    write(&dir.join("ca.key"), &key.serialize_pem())?;
    let issuer = Issuer::new(parameters, key);
    for subject in subjects(network) {
        sign(dir, &issuer, subject)?;
    }
    let account = KeyPair::generate()?;
    write(&dir.join("service-account.key"), &account.serialize_pem())?;
    write(&dir.join("service-account.pub"), &account.public_key_pem())
}

fn subjects(network: Network) -> Vec<Subject<'static>> {
    let lab = network.lab_address();
    let client = |file, user, group| Subject { file, user, group, addresses: Vec::new() };
    let node = |file, user, group| Subject { file, user, group, addresses: vec![lab.clone()] };
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
    let mut addresses: Vec<String> = names.map(str::to_owned).to_vec();
    addresses.push("kubernetes.default.svc.cluster.local".into());
    addresses.extend([lab.clone(), SERVICE_ADDRESS.into(), "127.0.0.1".into()]);
    vec![
        Subject { file: "kube-apiserver", user: "kube-apiserver", group: "system:masters", addresses },
        client("admin", "lab-admin", "system:masters"),
        client("kube-controller-manager", "system:kube-controller-manager", ""),
        client("kube-scheduler", "system:kube-scheduler", ""),
        node("kubelet", "system:node:node-1", "system:nodes"),
        node("virtual-push", "virtual-node:virtual-push", "probelet-lab:virtual-nodes"),
        node("virtual-poll", "virtual-node:virtual-poll", "probelet-lab:virtual-nodes"),
    ]
}

fn sign(dir: &Path, issuer: &Issuer<'_, KeyPair>, subject: Subject<'_>) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(subject.addresses)?;
    parameters.distinguished_name.push(DnType::CommonName, subject.user);
    if !subject.group.is_empty() {
        parameters.distinguished_name.push(DnType::OrganizationName, subject.group);
    }
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = parameters.signed_by(&key, issuer)?;
    write(&dir.join(format!("{}.crt", subject.file)), &certificate.pem())?;
    write(&dir.join(format!("{}.key", subject.file)), &key.serialize_pem())
}

/// Keys are for root alone.
fn write(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    Ok(options.open(path)?.write_all(text.as_bytes())?)
}
