//! The order in which a lab comes up. Each step looks first whether it has been done.

use crate::lab::certificate::Certificates;
use crate::lab::daemon::{Daemon, Host};
use crate::lab::network::Network;
use crate::lab::{Lab, api, control_plane, kubeconfig, node, package};
use crate::{binary, command, image, key::Key, progress};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a node may take to be Ready once its program is healthy.
const NODE_READY: Duration = Duration::from_secs(90);

/// What the virtual nodes may do: what providers grant a virtual-kubelet.
const RIGHTS: &str = include_str!("rights.yaml");

pub(crate) fn run(lab: &Lab) -> Result<()> {
    let begin = Instant::now();
    package::ensure()?;
    build()?;
    for dir in ["log", "process", "tmp", "images", "done", node::STATIC_PODS] {
        let path = lab.layout.path(dir);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    let network = Network::choose(&lab.layout)?;
    lab.isolation.raise(&lab.layout)?;
    network.raise(&lab.isolation)?;
    let pki = Certificates::raise(&lab.layout, network)?;
    write_kubeconfigs(lab, network, &pki)?;

    start(lab, &[control_plane::etcd(&lab.layout)?])?;
    start(lab, &[control_plane::api_server(&lab.layout, network, &pki)?])?;
    let mut second =
        vec![control_plane::controller_manager(&lab.layout, &pki)?, control_plane::scheduler(&lab.layout)?];
    for name in ["containerd", "containerd-virtual"] {
        second.push(node::containerd(&lab.layout, name));
    }
    start(lab, &second)?;
    image::PAUSE.provide(lab)?;
    grant(lab)?;
    let nodes = nodes(lab, network, &pki)?;
    start(lab, &nodes)?;
    wait_for_nodes(lab, &nodes)?;
    progress::say(format!("up ({:.1} s)", begin.elapsed().as_secs_f64()));
    Ok(())
}

/// Programs first: that is what can take minutes, and nothing runs yet that could end meanwhile.
fn build() -> Result<()> {
    for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"] {
        binary::program(name)?;
    }
    if binary::VIRTUAL_NODE.exists() {
        binary::program("virtual-node")?;
    }
    Ok(())
}

fn write_kubeconfigs(lab: &Lab, network: Network, pki: &Certificates) -> Result<()> {
    let server = format!("https://{}", network.lab_address());
    kubeconfig::write(&lab.kubeconfig(), &server, pki, "admin")?;
    for user in ["kube-controller-manager", "kube-scheduler", "kubelet", "virtual-push", "virtual-poll"] {
        let file = lab.layout.path(&format!("{user}.kubeconfig"));
        kubeconfig::write(&file, &server, pki, user)?;
    }
    Ok(())
}

fn nodes(lab: &Lab, network: Network, pki: &Certificates) -> Result<Vec<Daemon>> {
    let mut nodes = vec![node::kubelet(&lab.layout, network, pki, &lab.group)?];
    if !binary::VIRTUAL_NODE.exists() {
        progress::say("tests/lab/virtual-node has no main.go: the lab comes up without virtual nodes");
        return Ok(nodes);
    }
    for kind in node::VIRTUAL {
        nodes.push(node::virtual_node(&lab.layout, network, pki, &lab.group, kind)?);
    }
    Ok(nodes)
}

/// Starts daemons that do not need each other, then waits for all of them.
fn start(lab: &Lab, daemons: &[Daemon]) -> Result<()> {
    let host = Host { layout: &lab.layout, isolation: &lab.isolation, group: &lab.group };
    let mut started = Vec::new();
    for daemon in daemons {
        if daemon.start(&host)? {
            started.push(daemon);
        }
    }
    started.into_iter().try_for_each(|daemon| daemon.wait(&host))
}

/// Gives the virtual nodes their rights, once for each text of them.
fn grant(lab: &Lab) -> Result<()> {
    let done = lab.layout.path("done/rights");
    let key = Key::default().text(RIGHTS).finish();
    if std::fs::read_to_string(&done).is_ok_and(|old| old == key) {
        return Ok(());
    }
    let file = lab.layout.path("rights.yaml");
    std::fs::write(&file, RIGHTS)?;
    command::run(
        Command::new(binary::program("kubectl")?)
            .arg("--kubeconfig")
            .arg(lab.kubeconfig())
            .args(["apply", "--server-side", "--force-conflicts", "-f"])
            .arg(&file),
    )
    .context("cannot give the virtual nodes their rights")?;
    Ok(std::fs::write(done, key)?)
}

/// Waits until every node is Ready and Pods can be created.
fn wait_for_nodes(lab: &Lab, daemons: &[Daemon]) -> Result<()> {
    let deadline = Instant::now() + NODE_READY;
    let kubeconfig = lab.kubeconfig();
    loop {
        let ready = api::ready_nodes(&kubeconfig).unwrap_or_default();
        let late = daemons.iter().find(|daemon| !ready.contains(node_name(daemon)));
        let account = api::has_default_account(&kubeconfig).unwrap_or(false);
        match late {
            None if account => return Ok(()),
            None if Instant::now() > deadline => bail!(
                "kube-controller-manager has not made the default ServiceAccount within {} s; its \
                 log is {}",
                NODE_READY.as_secs(),
                lab.layout.log("kube-controller-manager").display()
            ),
            Some(daemon) if Instant::now() > deadline || !daemon.is_alive(&lab.layout) => {
                let known: BTreeSet<String> = ready;
                let what =
                    format!("runs a node that is not Ready within {} s (Ready are: {known:?})", NODE_READY.as_secs());
                bail!("{}", daemon.failure(&lab.layout, &what));
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn node_name(daemon: &Daemon) -> &str {
    if daemon.name == "kubelet" { node::ORDINARY } else { &daemon.name }
}
