//! The cluster-wide configuration of injection. Typed here; read from flags, environment and ConfigMap at the edge.

use probelet_protocol::name;
use probelet_protocol::setting::Settings;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod virtual_node;
pub use virtual_node::{KeyValue, NodeProfile, PodRule, TaintPattern, VirtualNodes};

/// What injection needs to know besides the Pod and the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Config {
    /// The sidecar's image; should be given by digest.
    pub image: String,
    /// The sidecar's `imagePullPolicy`; unset: the API server's default.
    pub image_pull_policy: Option<String>,
    /// Names of Secrets that Pods get in `imagePullSecrets`, in their own namespaces.
    pub image_pull_secrets: Vec<String>,
    /// What the annotation `probelet.io/image` may begin with; empty: the annotation may only name [`Config::image`].
    pub allowed_image_prefixes: Vec<String>,
    /// Per-Pod settings for all Pods, by their names without prefix (`observe: watch`); a Pod's own annotations win.
    pub settings: BTreeMap<String, String>,
    /// The cluster's shield is installed, so sidecars need not look at their Pods.
    pub shield: bool,
    /// Revision of the installation, written beside the version onto injected Pods; empty: none.
    pub revision: String,
    /// The namespace that probelet runs in; never injected.
    pub install_namespace: String,
    /// Further namespaces that are never injected, besides kube-system and kube-node-lease.
    pub exempt_namespaces: BTreeSet<String>,
    /// How virtual nodes, and Pods bound for them, are told.
    pub virtual_nodes: VirtualNodes,
}

/// All that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {}", problems.join("; "))]
pub struct ConfigError {
    /// Each names its field and what is allowed.
    pub problems: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            image: concat!("ghcr.io/probelet/probelet-sidecar:", env!("CARGO_PKG_VERSION")).to_owned(),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            allowed_image_prefixes: Vec::new(),
            settings: BTreeMap::new(),
            shield: false,
            revision: String::new(),
            install_namespace: name::INSTALL_NAMESPACE.to_owned(),
            exempt_namespaces: BTreeSet::new(),
            virtual_nodes: VirtualNodes::default(),
        }
    }
}

impl Config {
    /// Looks for everything that could not work.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        if let Err(problem) = crate::image::check(&self.image) {
            problems.push(format!("image: {problem}"));
        }
        if let Some(policy) = &self.image_pull_policy
            && !["Always", "IfNotPresent", "Never"].contains(&policy.as_str())
        {
            problems.push(format!("imagePullPolicy: {policy:?} must be one of Always, IfNotPresent, Never"));
        }
        for (index, prefix) in self.allowed_image_prefixes.iter().enumerate() {
            if prefix.trim().is_empty() {
                problems.push(format!("allowedImagePrefixes[{index}]: must not be empty, it would allow every image"));
            }
        }
        for (index, secret) in self.image_pull_secrets.iter().enumerate() {
            if let Some(problem) = crate::syntax::dns_subdomain(secret) {
                problems.push(format!("imagePullSecrets[{index}]: {secret:?} {problem}"));
            }
        }
        if let Some(problem) = crate::syntax::dns_label(&self.install_namespace) {
            problems.push(format!("installNamespace: {:?} {problem}", self.install_namespace));
        }
        self.check_settings(&mut problems);
        self.virtual_nodes.check(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    fn check_settings(&self, problems: &mut Vec<String>) {
        if self.settings.contains_key("image") {
            problems.push("settings.image: set the field image instead".to_owned());
        }
        let annotations = self.setting_annotations();
        match Settings::parse(&annotations) {
            Ok(settings) => problems.extend(
                crate::resource::Wanted::of(&settings)
                    .err()
                    .into_iter()
                    .flatten()
                    .map(|error| format!("settings: {error}")),
            ),
            Err(errors) => problems.extend(errors.into_iter().map(|error| format!("settings: {error}"))),
        }
    }

    /// [`Config::settings`] as a Pod would carry them.
    pub fn setting_annotations(&self) -> BTreeMap<String, String> {
        self.settings.iter().map(|(key, value)| (format!("{}{key}", name::OWN_PREFIX), value.clone())).collect()
    }

    /// Whether Pods of this namespace are never touched.
    pub fn is_exempt(&self, namespace: &str) -> bool {
        ["kube-system", "kube-node-lease"].contains(&namespace)
            || namespace == self.install_namespace
            || namespace == name::INSTALL_NAMESPACE
            || self.exempt_namespaces.contains(namespace)
    }

    /// Value of [`name::INJECTED_ANNOTATION`].
    pub fn injected(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        if self.revision.is_empty() { version.to_owned() } else { format!("{version}/{}", self.revision) }
    }
}

#[cfg(test)]
mod tests;
