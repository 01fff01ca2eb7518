//! Clients with other identities than the administrator's.

use crate::request::{self, Answer};
use anyhow::{Result, ensure};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use probelet_tests::cluster::Cluster;
use serde_json::{Value, json};

/// A client that sends this bearer token and nothing else of the administrator's.
pub(crate) async fn with_token(cluster: &Cluster, token: &str) -> Result<Client> {
    let content = Kubeconfig::read_from(cluster.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(content, &KubeConfigOptions::default()).await?;
    config.auth_info = serde_json::from_value::<AuthInfo>(json!({ "token": token }))?;
    probelet_tests::client::connect(config)
}

/// A token of a ServiceAccount; bound to a Pod where one is given (its name and UID), as a projected one is.
pub(crate) async fn token(admin: &Client, namespace: &str, account: &str, pod: Option<(&str, &str)>) -> Result<String> {
    let bound = pod.map(|(name, uid)| json!({"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid}));
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [], "expirationSeconds": 3607, "boundObjectRef": bound},
    });
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let answer = request::create(admin, &path, &body).await?;
    ensure!(answer.code == 201, "no token for {namespace}/{account}: {} {}", answer.code, answer.message());
    Ok(answer.body["status"]["token"].as_str().unwrap_or_default().to_owned())
}

/// Makes a ServiceAccount, and gives it these verbs on these core resources in one namespace.
pub(crate) async fn account(admin: &Client, home: &str, name: &str, target: &str, rules: &Value) -> Result<()> {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    made(request::create(admin, &format!("/api/v1/namespaces/{home}/serviceaccounts"), &account).await?)?;
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{target}");
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": name}, "rules": rules,
    });
    made(request::create(admin, &format!("{rbac}/roles"), &role).await?)?;
    let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": home});
    made(request::create(admin, &format!("{rbac}/rolebindings"), &binding(name, "Role", name, &subject)).await?)
}

/// A RoleBinding of one subject.
pub(crate) fn binding(name: &str, kind: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [subject],
    })
}

/// Created, or there already.
pub(crate) fn made(answer: Answer) -> Result<()> {
    ensure!(matches!(answer.code, 200 | 201 | 409), "{} {}", answer.code, answer.message());
    Ok(())
}
