//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler.

use crate::binary;
use crate::lab::certificate::Certificates;
use crate::lab::daemon::Daemon;
use crate::lab::daemon::health::Health;
use crate::lab::layout::Layout;
use crate::lab::network::{Network, SERVICES};
use anyhow::Result;

/// The port of the API server; 443, so that Pods reach it at the Service address without a proxy.
pub const PORT: u16 = 443;

const AUDIT_POLICY: &str = include_str!("audit-policy.yaml");

/// etcd. Without fsync: a lab's data is not worth the disk's time, and no process that is killed
/// loses any.
pub fn etcd(layout: &Layout) -> Result<Daemon> {
    let client = "http://127.0.0.1:2379";
    Ok(Daemon {
        name: "etcd".into(),
        program: binary::program("etcd")?,
        arguments: words(&[
            &format!("--data-dir={}", layout.text("etcd")),
            "--unsafe-no-fsync",
            "--log-level=warn",
            "--quota-backend-bytes=4294967296",
            &format!("--listen-client-urls={client}"),
            &format!("--advertise-client-urls={client}"),
            "--listen-peer-urls=http://127.0.0.1:2380",
        ]),
        environment: Vec::new(),
        files: Vec::new(),
        health: Health::Http { port: 2379, path: "/health" },
    })
}

/// kube-apiserver.
pub fn api_server(layout: &Layout, network: Network, pki: &Certificates) -> Result<Daemon> {
    let policy = layout.path("audit-policy.yaml");
    let arguments = words(&[
        "--etcd-servers=http://127.0.0.1:2379",
        &format!("--secure-port={PORT}"),
        &format!("--advertise-address={}", network.lab_address()),
        &format!("--service-cluster-ip-range={SERVICES}"),
        &format!("--client-ca-file={}", pki.authority()),
        &format!("--tls-cert-file={}", pki.certificate("kube-apiserver")),
        &format!("--tls-private-key-file={}", pki.key("kube-apiserver")),
        &format!("--kubelet-client-certificate={}", pki.certificate("kube-apiserver")),
        &format!("--kubelet-client-key={}", pki.key("kube-apiserver")),
        &format!("--kubelet-certificate-authority={}", pki.authority()),
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        &format!("--service-account-key-file={}", layout.text("pki/service-account.pub")),
        &format!("--service-account-signing-key-file={}", pki.key("service-account")),
        "--service-account-extend-token-expiration=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        // Webhooks behind Services are called at their endpoints: nothing here proxies Services.
        "--enable-aggregator-routing=true",
        "--feature-gates=MutatingAdmissionPolicy=true",
        "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
        &format!("--audit-policy-file={}", policy.display()),
        &format!("--audit-log-path={}", layout.audit_log().display()),
        // A reader keeps its place in the file, so it is not rotated.
        "--audit-log-maxsize=4096",
    ]);
    Ok(Daemon {
        name: "kube-apiserver".into(),
        program: binary::program("kube-apiserver")?,
        arguments,
        // Its heap is 130 MB of objects, so it would collect every 130 MB, and on two cores each request that meets a
        // collection takes 50 ms instead of 13; control planes have more cores.
        environment: vec![("GOGC", "400")],
        files: vec![(policy, AUDIT_POLICY.into())],
        health: Health::ApiServer { port: PORT, kubeconfig: layout.kubeconfig() },
    })
}

/// kube-controller-manager.
pub fn controller_manager(layout: &Layout, pki: &Certificates) -> Result<Daemon> {
    Ok(Daemon {
        name: "kube-controller-manager".into(),
        program: binary::program("kube-controller-manager")?,
        arguments: words(&[
            &format!("--kubeconfig={}", layout.text("kube-controller-manager.kubeconfig")),
            &format!("--service-account-private-key-file={}", pki.key("service-account")),
            &format!("--root-ca-file={}", pki.authority()),
            &format!("--cluster-signing-cert-file={}", pki.authority()),
            &format!("--cluster-signing-key-file={}", pki.key("ca")),
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--kube-api-qps=300",
            "--kube-api-burst=600",
        ]),
        environment: Vec::new(),
        files: Vec::new(),
        health: Health::Port(10257),
    })
}

/// kube-scheduler.
pub fn scheduler(layout: &Layout) -> Result<Daemon> {
    Ok(Daemon {
        name: "kube-scheduler".into(),
        program: binary::program("kube-scheduler")?,
        arguments: words(&[
            &format!("--kubeconfig={}", layout.text("kube-scheduler.kubeconfig")),
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--kube-api-qps=300",
            "--kube-api-burst=600",
        ]),
        environment: Vec::new(),
        files: Vec::new(),
        health: Health::Port(10259),
    })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
