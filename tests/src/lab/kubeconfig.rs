//! Kubeconfig files: who speaks to the API server, from where.

use crate::lab::certificate::Certificates;
use anyhow::Result;
use serde_json::json;
use std::path::Path;

/// Writes a kubeconfig that names the certificate `user` as files. JSON is YAML.
pub fn write(path: &Path, server: &str, certificates: &Certificates, user: &str) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "probelet-lab", "cluster": {
            "server": server,
            "certificate-authority": certificates.authority(),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate": certificates.certificate(user),
            "client-key": certificates.key(user),
        }}],
        "contexts": [{"name": "probelet-lab", "context": {"cluster": "probelet-lab", "user": user}}],
        "current-context": "probelet-lab",
    });
    let text = serde_json::to_string_pretty(&config)?;
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    Ok(std::fs::write(path, text)?)
}
