//! Minutes of trouble for the sidecar's own binary, as a process of this machine that marks a Pod of the real API server. All
//! of it is ignored by default; run one by its name, alone:
//!
//! ```text
//! make deploy && cargo test -p probelet-tests --test soak -- --ignored --nocapture --test-threads=1 NAME
//! ```

#[path = "soak/herd.rs"]
mod herd;
#[path = "soak/hostile.rs"]
mod hostile;
#[path = "soak/load.rs"]
mod load;
#[path = "soak/long.rs"]
mod long;
#[path = "soak/outage.rs"]
mod outage;
#[path = "soak/proxy.rs"]
mod proxy;
#[path = "soak/token.rs"]
mod token;

use anyhow::{Context, Result, ensure};
use probelet_tests::bench::application::free_ports;
use probelet_tests::bench::local::{Identity, LocalSidecar};
use probelet_tests::bench::plan::LocalPlan;
use probelet_tests::bench::usage;
use probelet_tests::space::Space;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The binaries of the images in the lab, and the way to its API server.
struct Ground {
    space: Space,
    config: kube::Config,
    sidecar: PathBuf,
    application: PathBuf,
}

/// A sidecar that runs, and marks its Pod.
struct Marked {
    sidecar: LocalSidecar,
}

impl Ground {
    async fn of(space: &Space) -> Result<Self> {
        let lab = space.cluster().lab().context("soak tests run on the lab: its images' programs are at hand")?;
        let staged = |path: &str| lab.layout().path("stage").join(path);
        Ok(Self {
            config: space.cluster().config().await?,
            sidecar: staged("sidecar/build/out/probelet"),
            application: staged("test-app/build/out/test-app"),
            space: space.clone(),
        })
    }

    async fn sidecar(&self, name: &str, plan: &LocalPlan, extra: &[(&str, &str)]) -> Result<Marked> {
        let identity = Identity::create(&self.space.cluster().client(), self.space.name(), name, plan).await?;
        let sidecar = identity.sidecar(&self.sidecar, &self.config, extra)?;
        Ok(Marked { sidecar })
    }
}

impl Marked {
    fn pid(&self) -> u32 {
        self.sidecar.child.id()
    }

    fn memory(&self, name: &str) -> Result<u64> {
        usage::memory(self.pid(), name).with_context(|| self.sidecar.log())
    }

    /// Lines of the log that hold this text.
    fn lines(&self, text: &str) -> Vec<String> {
        self.sidecar.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    fn ensure_no(&self, text: &str) -> Result<()> {
        let found = self.lines(text);
        ensure!(found.is_empty(), "{} lines of the log hold {text:?}:\n{}", found.len(), found.join("\n"));
        Ok(())
    }
}

fn free_port() -> Result<u16> {
    let [port] = free_ports()?;
    Ok(port)
}

/// How many runs the sidecar has counted, by its metrics.
async fn runs(port: u16) -> Result<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let counted = text.lines().filter(|line| line.starts_with("probelet_probe_total{"));
    let numbers = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(numbers.sum::<f64>() as u64)
}
