//! The webhook's own identity: what RBAC gives it, and how little the policy leaves of that.

use crate::identity::{binding, made, token, with_token};
use crate::install::{rendered, until};
use crate::request::{self, Change};
use crate::stage::Stage;
use anyhow::Result;
use kube::Client;
use serde_json::{Value, json};

const HOME: &str = "probelet-system";
const NAME: &str = "probelet-webhook";

/// What the rendered roles give, one rule a line. A line more is a right more: say why in the chart, then here.
const RIGHTS: &str = "\
ClusterRole pods: list watch patch
ClusterRole namespaces nodes: list watch
ClusterRole limitranges: list watch
ClusterRole apps.kruise.io podprobemarkers: list watch
ClusterRole apps.kruise.io podprobemarkers/status: patch
ClusterRole rbac.authorization.k8s.io rolebindings: get list watch create delete
ClusterRole rbac.authorization.k8s.io clusterroles [probelet-sidecar]: bind
ClusterRole events: create
ClusterRole admissionregistration.k8s.io mutatingwebhookconfigurations validatingwebhookconfigurations \
[probelet-webhook]: get list watch patch
Role secrets: create
Role secrets [probelet-webhook-tls]: get list watch update
Role configmaps [probelet-config]: get list watch
Role coordination.k8s.io leases: create
Role coordination.k8s.io leases [probelet-webhook]: get update
";

fn words(value: &Value) -> String {
    let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn line(kind: &str, rule: &Value) -> String {
    let mut parts = vec![kind.to_owned(), words(&rule["apiGroups"]), words(&rule["resources"])];
    if rule["resourceNames"].is_array() {
        parts.push(format!("[{}]", words(&rule["resourceNames"])));
    }
    parts.retain(|part| !part.is_empty());
    format!("{}: {}\n", parts.join(" "), words(&rule["verbs"]))
}

#[tokio::test]
async fn the_webhooks_rights_are_the_listed_ones() -> Result<()> {
    let stage = Stage::new(false).await?;
    webhook(&stage).await?;
    let mut found = String::new();
    for document in rendered("probelet.yaml")? {
        for kind in ["ClusterRole", "Role"] {
            if document.is(kind) && document.is_named(NAME) {
                let role = document.as_json(&stage.admin).await?;
                found.extend(role["rules"].as_array().into_iter().flatten().map(|rule| line(kind, rule)));
            }
        }
    }
    assert_eq!(found, RIGHTS);
    assert!(!found.contains('*') && !found.contains("pods/"));
    stage.end().await
}

/// A client with the webhook's identity and, in the stage's namespace, its rights.
async fn webhook(stage: &Stage) -> Result<Client> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}});
    made(request::create(&stage.admin, "/api/v1/namespaces", &namespace).await?)?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}});
    made(request::create(&stage.admin, &format!("/api/v1/namespaces/{HOME}/serviceaccounts"), &account).await?)?;
    let subject = json!({"kind": "ServiceAccount", "name": NAME, "namespace": HOME});
    let path = bindings(&stage.namespace);
    made(request::create(&stage.admin, &path, &binding("webhook", "ClusterRole", NAME, &subject)).await?)?;
    with_token(&stage.cluster, &token(&stage.admin, HOME, NAME, None).await?).await
}

fn bindings(namespace: &str) -> String {
    format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings")
}

#[tokio::test]
async fn of_a_pod_the_webhook_changes_plan_annotations_only() -> Result<()> {
    let stage = Stage::new(false).await?;
    let webhook = webhook(&stage).await?;
    let target = stage.pod().await?;
    let path = stage.path(&format!("pods/{}", target.name));
    let image = Change::Strategic(json!({"spec": {"containers": [{"name": "game", "image": "evil"}]}}));
    until("the webhook is confined", async || {
        let other = stage.pod().await?;
        let path = stage.path(&format!("pods/{}", other.name));
        Ok(request::send(&webhook, &path, &image).await?.code == 403)
    })
    .await?;
    let metadata = |metadata: Value| Change::Merge(json!({"metadata": metadata}));
    let plan = json!({"annotations": {
        "kruise.io/podprobe": r#"[{"probe":{"exec":{}}}]"#, "kruise.io/podprobemarker-list": "m",
        "probelet.io/writes": "l:a", "probelet.io/marker-policies": null,
    }});
    for (what, change, code) in [
        ("a plan, exec probe included", metadata(plan), 200),
        ("a plan taken away", metadata(json!({"annotations": {"kruise.io/podprobe": null}})), 200),
        ("a container's image", image.clone(), 403),
        ("a label", metadata(json!({"labels": {"app": "x"}})), 403),
        ("a foreign annotation", metadata(json!({"annotations": {"note": "x"}})), 403),
        ("a foreign annotation taken off", metadata(json!({"annotations": {"note": null}})), 403),
        ("a finalizer", metadata(json!({"finalizers": ["x.io/pin"]})), 403),
        (
            "an owner",
            metadata(json!({"ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"},
            ]})),
            403,
        ),
    ] {
        let answer = request::send(&webhook, &path, &change).await?;
        assert_eq!(answer.code, code, "{what}: {}", answer.message());
    }
    assert_eq!(request::delete(&webhook, &path).await?.code, 403, "it may not delete Pods");
    stage.end().await
}

#[tokio::test]
async fn its_role_bindings_give_the_sidecars_role_to_their_own_namespace() -> Result<()> {
    let stage = Stage::new(false).await?;
    let webhook = webhook(&stage).await?;
    let path = bindings(&stage.namespace);
    let group = |namespace: &str| {
        let name = format!("system:serviceaccounts:{namespace}");
        json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name})
    };
    let user = json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "eve"});
    let sidecars = |name: &str, subject: &Value| binding(name, "ClusterRole", "probelet-sidecar", subject);
    until("its RoleBindings are confined", async || {
        let answer = request::create(&webhook, &format!("{path}?dryRun=All"), &sidecars("e", &user)).await?;
        Ok(answer.code == 403)
    })
    .await?;
    let own = json!({"kind": "ServiceAccount", "name": "game", "namespace": stage.namespace});
    for (what, body, code) in [
        ("the namespace's ServiceAccounts", sidecars("group", &group(&stage.namespace)), 201),
        ("one of its ServiceAccounts", sidecars("account", &own), 201),
        ("another namespace's ServiceAccounts", sidecars("other", &group("default")), 403),
        ("a user", sidecars("user", &user), 403),
        ("another role", binding("admin", "ClusterRole", "cluster-admin", &group(&stage.namespace)), 403),
        ("its own role", binding("own", "ClusterRole", NAME, &group(&stage.namespace)), 403),
    ] {
        let answer = request::create(&webhook, &path, &body).await?;
        assert_eq!(answer.code, code, "{what}: {}", answer.message());
    }
    assert_eq!(request::delete(&webhook, &format!("{path}/group")).await?.code, 200, "its own RoleBinding");
    assert_eq!(request::delete(&webhook, &format!("{path}/controller")).await?.code, 403, "somebody else's");
    let mut earlier = binding("earlier", "ClusterRole", "marks-of-old", &group(&stage.namespace));
    earlier["metadata"]["labels"] = json!({"app.kubernetes.io/part-of": "probelet"});
    made(request::create(&stage.admin, &path, &earlier).await?)?;
    let renamed = request::delete(&webhook, &format!("{path}/earlier")).await?;
    assert_eq!(renamed.code, 200, "one of its own, from before the role was renamed: {}", renamed.message());
    stage.end().await
}

/// As the namespace of the rendered file asks for it, in its newest version.
#[tokio::test]
async fn the_webhooks_pod_meets_the_restricted_standard() -> Result<()> {
    let stage = Stage::new(false).await?;
    let restricted =
        Change::Merge(json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}));
    let namespace = format!("/api/v1/namespaces/{}", stage.namespace);
    assert_eq!(request::send(&stage.admin, &namespace, &restricted).await?.code, 200);
    webhook(&stage).await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}});
    made(request::create(&stage.admin, &stage.path("serviceaccounts"), &account).await?)?;
    let mut seen = 0;
    for document in rendered("probelet.yaml")? {
        if document.is("Deployment") {
            let template = document.as_json(&stage.admin).await?["spec"]["template"].clone();
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "webhook"}, "spec": template["spec"],
            });
            let path = format!("{}?dryRun=All", stage.path("pods"));
            let answer = request::create(&stage.admin, &path, &pod).await?;
            assert_eq!(answer.code, 201, "{}", answer.message());
            let mut privileged = pod;
            privileged["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
            let answer = request::create(&stage.admin, &path, &privileged).await?;
            assert_eq!(answer.code, 403, "the standard is enforced: {}", answer.message());
            seen += 1;
        }
    }
    assert_eq!(seen, 1);
    stage.end().await
}
