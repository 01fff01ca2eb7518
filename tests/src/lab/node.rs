//! The nodes: containerd and kubelet for the ordinary one, a containerd and a virtual-kubelet each
//! for the virtual ones.

use crate::binary;
use crate::lab::certificate::Certificates;
use crate::lab::cgroup::ControlGroup;
use crate::lab::daemon::Daemon;
use crate::lab::daemon::health::Health;
use crate::lab::layout::Layout;
use crate::lab::network::{Network, PODS};
use anyhow::{Context, Result};
use serde_json::json;
use std::path::PathBuf;

/// The ordinary node.
pub const ORDINARY: &str = "node-1";
/// The virtual nodes: name, way of reporting status, port.
pub const VIRTUAL: [(&str, &str, u16); 2] = [("virtual-push", "push", 10260), ("virtual-poll", "poll", 10261)];

/// Pods in this folder of the lab's are run by the ordinary node's kubelet, whatever the API server says.
pub const STATIC_PODS: &str = "static-pods";

/// The image of the program that holds a Pod's namespaces.
pub const PAUSE_IMAGE: &str = "localhost/probelet-pause:lab";

const CONTAINERD: &str = include_str!("containerd.toml");

/// The containerd of that name; see [`Layout::containerd_sockets`].
pub fn containerd(layout: &Layout, name: &str) -> Daemon {
    let dir = layout.path(name);
    let config = dir.join("config.toml");
    let text = CONTAINERD
        .replace("{dir}", &dir.to_string_lossy())
        .replace("{cni}", &layout.text("cni"))
        .replace("{cni_plugins}", &cni_plugins().to_string_lossy())
        .replace("{pause}", PAUSE_IMAGE);
    let network = json!({
        "cniVersion": "1.0.0",
        "name": "probelet-lab",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": layout.text("cni/addresses"),
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    });
    Daemon {
        name: name.into(),
        program: PathBuf::from("containerd"),
        arguments: vec![format!("--config={}", config.display())],
        environment: Vec::new(),
        files: vec![(config, text), (layout.path("cni/net.d/10-lab.conflist"), network.to_string())],
        health: Health::Socket(dir.join("containerd.sock")),
    }
}

/// The kubelet of the ordinary node.
pub fn kubelet(layout: &Layout, network: Network, pki: &Certificates, group: &ControlGroup) -> Result<Daemon> {
    let config = layout.path("kubelet.yaml");
    let [socket, _] = layout.containerd_sockets();
    let text = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.authority()},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.certificate("kubelet"),
        "tlsPrivateKeyFile": pki.key("kubelet"),
        "containerRuntimeEndpoint": format!("unix://{}", socket.display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": group.of_node(ORDINARY),
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        // Where there is no /dev/kmsg and sysctls cannot be written, as in a container.
        "featureGates": {"KubeletInUserNamespace": true},
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": false,
        "enableControllerAttachDetach": false,
        "localStorageCapacityIsolation": false,
        "evictionHard": {
            "memory.available": "1Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        // Images cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "resolvConf": layout.text("resolv.conf"),
        "podLogsDir": "/var/log/pods",
        "staticPodPath": layout.text(STATIC_PODS),
        "fileCheckFrequency": "1s",
        "volumePluginDir": layout.text("kubelet/plugins"),
        "maxPods": 250,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "registryPullQPS": 0,
        "readOnlyPort": 0,
    });
    Ok(Daemon {
        name: "kubelet".into(),
        program: binary::program("kubelet")?,
        arguments: vec![
            format!("--config={}", config.display()),
            format!("--kubeconfig={}", layout.text("kubelet.kubeconfig")),
            format!("--root-dir={}", layout.text("kubelet")),
            format!("--node-ip={}", network.lab_address()),
            format!("--hostname-override={ORDINARY}"),
        ],
        environment: Vec::new(),
        files: vec![(config, serde_json::to_string_pretty(&text)?), (layout.path("resolv.conf"), String::new())],
        health: Health::Http { port: 10248, path: "/healthz" },
    })
}

/// One of [`VIRTUAL`].
pub fn virtual_node(
    layout: &Layout,
    network: Network,
    pki: &Certificates,
    group: &ControlGroup,
    (name, status, port): (&str, &str, u16),
) -> Result<Daemon> {
    let [_, socket] = layout.containerd_sockets();
    let mut arguments = vec![
        format!("--node-name={name}"),
        format!("--kubeconfig={}", layout.text(&format!("{name}.kubeconfig"))),
        format!("--cri-endpoint=unix://{}", socket.display()),
        format!("--root-dir={}", layout.text(name)),
        format!("--node-ip={}", network.lab_address()),
        format!("--listen-port={port}"),
        format!("--status={status}"),
        format!("--cgroup-parent={}", group.of_node(name)),
        format!("--tls-cert-file={}", pki.certificate(name)),
        format!("--tls-private-key-file={}", pki.key(name)),
        format!("--client-ca-file={}", pki.authority()),
    ];
    if let Some(list) = disabled(name) {
        arguments.push(format!("--disable={list}"));
    }
    Ok(Daemon {
        name: name.into(),
        program: binary::program("virtual-node")?,
        arguments,
        environment: Vec::new(),
        files: Vec::new(),
        health: Health::Port(port),
    })
}

/// What a virtual node shall lack: `PROBELET_LAB_DISABLE_PUSH` and `PROBELET_LAB_DISABLE_POLL`, lists
/// with commas as the virtual node's `--disable` takes them.
fn disabled(node: &str) -> Option<String> {
    let suffix = node.strip_prefix("virtual-")?.to_uppercase();
    std::env::var(format!("PROBELET_LAB_DISABLE_{suffix}")).ok().filter(|list| !list.is_empty())
}

/// Debian's folder of CNI plugins, or the one upstream uses.
pub fn cni_plugins() -> PathBuf {
    let dirs = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"].map(PathBuf::from);
    let found = dirs.iter().find(|dir| dir.join("bridge").is_file());
    found.unwrap_or(&dirs[0]).clone()
}

/// The containerd client's command line for one of the lab's sockets.
pub fn ctr(socket: &std::path::Path) -> Result<std::process::Command> {
    let mut command = std::process::Command::new("ctr");
    let socket = socket.to_str().context("a path that is not UTF-8")?;
    command.args(["--address", socket, "--namespace", "k8s.io"]);
    Ok(command)
}
