//! The lab's addresses, and the pair of interfaces between it and the host.

use crate::command;
use crate::lab::isolation::Isolation;
use crate::lab::layout::Layout;
use anyhow::{Context, Result, bail};
use std::process::Command;

/// How many labs fit side by side.
const LABS: u8 = 64;
/// The first address of the Service network: the API server as Pods see it.
pub const SERVICE_ADDRESS: &str = "10.96.0.1";
/// The Service network.
pub const SERVICES: &str = "10.96.0.0/16";
/// The network of the Pods of all nodes. It exists inside the lab only.
pub const PODS: &str = "10.244.0.0/16";

/// A link of four addresses out of 198.18.0.0/15, which is set aside for test networks (RFC 2544):
/// the host has the first, the lab the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    number: u8,
}

impl Network {
    /// The one this lab has already, or the first one whose addresses nobody has.
    pub fn choose(layout: &Layout) -> Result<Self> {
        let file = layout.path("network");
        if let Ok(text) = std::fs::read_to_string(&file) {
            let number = text.trim().parse();
            return Ok(Self { number: number.with_context(|| format!("{} is damaged", file.display()))? });
        }
        let addresses = command::run(Command::new("ip").args(["-4", "-o", "address", "show"]))?;
        let links = command::run(Command::new("ip").args(["-o", "link", "show"]))?;
        for number in 0..LABS {
            let network = Self { number };
            let prefix = format!(" 198.18.{number}.");
            let device = format!(" {}@", network.host_device());
            if !addresses.contains(&prefix) && !links.contains(&device) {
                std::fs::write(&file, number.to_string())?;
                return Ok(network);
            }
        }
        bail!(
            "no address is free for the lab: an interface of this host has an address in each of \
             198.18.0.0/24 to 198.18.{}.0/24; `ip -4 address` shows them, `make lab-down` removes a \
             lab's",
            LABS - 1
        )
    }

    /// The host's side of the link.
    pub fn host_address(self) -> String {
        format!("198.18.{}.1", self.number)
    }

    /// The lab's side: the API server and all kubelets listen here.
    pub fn lab_address(self) -> String {
        format!("198.18.{}.2", self.number)
    }

    /// The host's interface.
    pub fn host_device(self) -> String {
        format!("probelet{}", self.number)
    }

    /// Makes the link and its addresses, where they are not there yet.
    pub fn raise(self, isolation: &Isolation) -> Result<()> {
        let device = self.host_device();
        let here = command::run(Command::new("ip").args(["-4", "-o", "address", "show"]))?;
        let has = |text: &str, device: &str, address: &str| {
            text.lines().any(|line| line.contains(&format!(" {device} ")) && line.contains(address))
        };
        let inside = isolation.run("ip", &["-4", "-o", "address", "show"])?;
        let (host, lab) = (self.host_address() + "/30", self.lab_address() + "/30");
        let service = format!("{SERVICE_ADDRESS}/32");
        if has(&here, &device, &host) && has(&inside, "uplink", &lab) && has(&inside, "lo", &service) {
            return Ok(());
        }
        if let Some(line) = here.lines().find(|line| line.contains(&host) && !line.contains(&format!(" {device} "))) {
            bail!(
                "address {host} is taken by another interface of this host: {}; remove it there, \
                 or run `make lab-down` and `make lab`, which takes other addresses",
                line.trim()
            );
        }
        // Half a link, left by something that was stopped, is made anew.
        let _ = command::run(Command::new("ip").args(["link", "delete", &device]));
        let net = isolation.net_file().to_string_lossy().into_owned();
        let outside: [&[&str]; 3] = [
            &["link", "add", &device, "type", "veth", "peer", "name", "uplink", "netns", &net],
            &["address", "add", &host, "dev", &device],
            &["link", "set", &device, "up"],
        ];
        for arguments in outside {
            command::run(Command::new("ip").args(arguments))?;
        }
        let within: [&[&str]; 4] = [
            &["link", "set", "lo", "up"],
            &["link", "set", "uplink", "up"],
            &["address", "replace", &lab, "dev", "uplink"],
            &["address", "replace", &service, "dev", "lo"],
        ];
        for arguments in within {
            isolation.run("ip", arguments)?;
        }
        Ok(())
    }
}
