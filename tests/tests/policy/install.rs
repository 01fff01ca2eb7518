//! The policies of the work tree, put into the cluster under test as the rendered files have them.

use crate::request;
use anyhow::{Context, Result, ensure};
use kube::Client;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// How long the API server may take to act by a policy that it has stored.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What the rendered files are for.
const NAMESPACE: &str = "probelet-system";

const ADMISSION: &str = "/apis/admissionregistration.k8s.io";

/// One document of a rendered file.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    kind: String,
    name: String,
    yaml: String,
}

/// Documents of a file below `manifests/`.
pub(crate) fn rendered(file: &str) -> Result<Vec<Document>> {
    let path = probelet_tests::work_tree().join("manifests").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let field = |document: &str, prefix: &str| {
        document.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_default().to_owned()
    };
    Ok(text
        .split("\n---\n")
        .map(|document| Document {
            kind: field(document, "kind: "),
            name: field(document, "  name: "),
            yaml: document.to_owned(),
        })
        .collect())
}

impl Document {
    /// Where it lives, for the kinds that the tests need.
    fn path(&self) -> Option<String> {
        let version = if self.yaml.contains("admissionregistration.k8s.io/v1beta1") { "v1beta1" } else { "v1" };
        let collection = match self.kind.as_str() {
            "Role" => format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles"),
            "Deployment" => format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments"),
            "ClusterRole" => "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_owned(),
            "CustomResourceDefinition" => "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned(),
            "ValidatingAdmissionPolicy" => format!("{ADMISSION}/{version}/validatingadmissionpolicies"),
            "ValidatingAdmissionPolicyBinding" => format!("{ADMISSION}/{version}/validatingadmissionpolicybindings"),
            "MutatingAdmissionPolicy" => format!("{ADMISSION}/{version}/mutatingadmissionpolicies"),
            "MutatingAdmissionPolicyBinding" => format!("{ADMISSION}/{version}/mutatingadmissionpolicybindings"),
            "MutatingWebhookConfiguration" => format!("{ADMISSION}/{version}/mutatingwebhookconfigurations"),
            "ValidatingWebhookConfiguration" => format!("{ADMISSION}/{version}/validatingwebhookconfigurations"),
            _ => return None,
        };
        Some(format!("{collection}/{}", self.name))
    }

    /// Whether it is one of this kind.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// Whether it has this name.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name == name
    }

    /// Its text.
    pub(crate) fn yaml(&self) -> &str {
        &self.yaml
    }

    /// As the API server would store it.
    pub(crate) async fn as_json(&self, admin: &Client) -> Result<Value> {
        let path = self.path().with_context(|| format!("no test needs a {}", self.kind))?;
        let answer = request::apply(admin, &path, &self.yaml, true).await?;
        ensure!(answer.code < 300, "{path}: {} {}", answer.code, answer.message());
        Ok(answer.body)
    }

    /// Stores it. A changed policy is taken away first, so that no test is judged by its predecessor; of the other
    /// kinds, what is there already may be somebody else's.
    async fn install(&self, admin: &Client) -> Result<()> {
        let Some(path) = self.path() else { return Ok(()) };
        if ["Deployment", "MutatingWebhookConfiguration", "Role", "ValidatingWebhookConfiguration"]
            .contains(&self.kind.as_str())
        {
            return Ok(());
        }
        let yaml = self.adoptable();
        let stored = request::read(admin, &path).await?;
        if stored.code == 200 {
            let wanted = request::apply(admin, &path, &yaml, true).await?;
            if !self.kind.contains("AdmissionPolicy") || wanted.body["spec"] == stored.body["spec"] {
                return Ok(());
            }
            request::delete(admin, &path).await?;
        }
        let answer = request::apply(admin, &path, &yaml, false).await?;
        ensure!(answer.code < 300, "{path}: {} {}", answer.code, answer.message());
        Ok(())
    }

    /// With the annotations by which helm takes an object that exists for its own, so that the chart can be installed
    /// after the tests.
    fn adoptable(&self) -> String {
        let own = "\n  annotations:\n    meta.helm.sh/release-name: probelet\n    \
                   meta.helm.sh/release-namespace: probelet-system\n";
        if self.yaml.contains("\n  annotations:\n") {
            self.yaml.replacen("\n  annotations:\n", own, 1)
        } else {
            self.yaml.replacen("\n  labels:\n", &format!("{own}  labels:\n"), 1)
        }
    }
}

/// Installs what the tests are about, once a process; false where the API server has no MutatingAdmissionPolicy.
pub(crate) async fn policies(admin: &Client) -> Result<bool> {
    static DONE: OnceCell<bool> = OnceCell::const_new();
    DONE.get_or_try_init(|| async {
        for document in rendered("probelet.yaml")? {
            document.install(admin).await?;
        }
        for version in ["v1", "v1beta1"] {
            let served = request::read(admin, &format!("{ADMISSION}/{version}")).await?;
            if served.body.to_string().contains("mutatingadmissionpolicies") {
                for document in rendered(&format!("shield-{version}.yaml"))? {
                    document.install(admin).await?;
                }
                return Ok(true);
            }
        }
        Ok(false)
    })
    .await
    .copied()
}

/// Asks again until the answer is yes.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    while !ask().await? {
        ensure!(Instant::now() < end, "not within {} s: {what}", DEADLINE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
