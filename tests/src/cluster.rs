//! The cluster under test: the one that `PROBELET_KUBECONFIG` names, else the lab. The user's
//! current context is never used.

use crate::image::Image;
use crate::lab::{Lab, api};
use anyhow::{Context, Result, ensure};
use kube::Client;
use std::path::{Path, PathBuf};

/// A cluster that answers.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    kubeconfig: PathBuf,
    /// None for a cluster that the user named.
    lab: Option<Lab>,
}

/// The cluster that was named explicitly.
pub fn named() -> Option<PathBuf> {
    std::env::var_os("PROBELET_KUBECONFIG").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The kubeconfig of the named cluster, else of the lab, which must be up.
pub fn kubeconfig(lab: &Lab) -> Result<PathBuf> {
    if let Some(path) = named() {
        return Ok(path);
    }
    ensure!(
        lab.exists(),
        "{} is not up: run `make lab` (as root), or name a cluster by PROBELET_KUBECONFIG",
        lab.layout().name()
    );
    Ok(lab.kubeconfig())
}

/// An error that names the file and says what to do, unless the cluster answers.
pub fn reachable(kubeconfig: &Path) -> Result<()> {
    let advice = if named().is_some() {
        "check the server and the credentials in the file that PROBELET_KUBECONFIG names"
    } else {
        "`make lab` starts again what has ended of the lab"
    };
    api::check(kubeconfig)
        .with_context(|| format!("the cluster of {} cannot be reached; {advice}", kubeconfig.display()))
}

impl Cluster {
    /// Connects, and asks for the version, so that a cluster that is not there is told at once.
    pub async fn connect() -> Result<Self> {
        let lab = Lab::from_env()?;
        let kubeconfig = kubeconfig(&lab)?;
        let client = api::client(&kubeconfig).await?;
        reachable(&kubeconfig)?;
        Ok(Self { client, kubeconfig, lab: named().is_none().then_some(lab) })
    }

    /// A client with the administrator's rights.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Address and credentials, for clients of other identities.
    pub async fn config(&self) -> Result<kube::Config> {
        api::config(&self.kubeconfig).await
    }

    /// The file it was connected by, for kubectl and helm.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The lab, where the cluster is one: its audit log, nodes and switches are there only.
    pub fn lab(&self) -> Option<&Lab> {
        self.lab.as_ref()
    }

    /// The reference by which Pods of this cluster name an image.
    pub fn image(&self, image: Image) -> Result<String> {
        match &self.lab {
            Some(lab) => image.provided(lab),
            None => from_registry(image),
        }
    }
}

/// `PROBELET_IMAGES` is `PREFIX` or `PREFIX:TAG`, as in `registry.example.com/team:v1`; then an image is
/// `registry.example.com/team/probelet-sidecar:v1`. Without a tag it is `latest`.
pub fn from_registry(image: Image) -> Result<String> {
    let value = std::env::var("PROBELET_IMAGES").unwrap_or_default();
    ensure!(
        !value.is_empty(),
        "PROBELET_KUBECONFIG names a cluster, so PROBELET_IMAGES must say where its images come from: \
         PREFIX or PREFIX:TAG"
    );
    Ok(reference(&value, &image.repository()))
}

fn reference(source: &str, repository: &str) -> String {
    // A colon before the last slash belongs to a port.
    let (prefix, tag) = match source.rsplit_once(':') {
        Some((prefix, tag)) if !tag.contains('/') => (prefix, tag),
        _ => (source, "latest"),
    };
    format!("{}/{repository}:{tag}", prefix.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn tag_is_told_from_a_port() {
        let of = |source| reference(source, "probelet-webhook");
        assert_eq!(of("r.example:5000/a:v1"), "r.example:5000/a/probelet-webhook:v1");
        assert_eq!(of("r.example:5000/a"), "r.example:5000/a/probelet-webhook:latest");
        assert_eq!(of("ghcr.io/p/"), "ghcr.io/p/probelet-webhook:latest");
    }
}
