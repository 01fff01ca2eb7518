//! The webhook's rights are the least that work (threat T12): each one that its roles give is used by a replica that does all of its
//! duties once, as the audit log tells. That none is missing is looked after in every test of this program: see [`Lab`].

use crate::api::{Lab, create, eventually, pod};
use crate::markers::{api, injected, marker};
use crate::replica::Replica;
use k8s_openapi::api::core::v1::{Event, Secret};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const HOME: &str = "probelet-system";
const NAME: &str = "probelet-webhook";
/// What the API server asks RBAC for by itself, on behalf of another request; so it stands in no log of requests, and is used where
/// that one is.
const IMPLIED: [(&str, &str); 1] =
    [("bind rbac.authorization.k8s.io clusterroles", "create rbac.authorization.k8s.io rolebindings")];

/// One verb on one resource, or on one object of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    /// `verb group resource/subresource`; the core group has no name.
    what: String,
    /// The object's name; None: any.
    name: Option<String>,
    /// Given by a Role of its own namespace.
    at_home: bool,
}

/// One request, as far as rights go.
struct Request {
    what: String,
    name: String,
    namespace: String,
}

fn what(verb: &str, group: &str, resource: &str) -> String {
    [verb, group, resource].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The rights that rules give, each by itself.
fn rights(rules: Option<Vec<PolicyRule>>, at_home: bool) -> Vec<Right> {
    let mut found = Vec::new();
    for rule in rules.unwrap_or_default() {
        let names = rule.resource_names.filter(|names| !names.is_empty());
        let names = names.map_or_else(|| vec![None], |names| names.into_iter().map(Some).collect());
        let resources = rule.resources.unwrap_or_default();
        for group in rule.api_groups.iter().flatten() {
            for (resource, verb) in resources.iter().flat_map(|it| rule.verbs.iter().map(move |verb| (it, verb))) {
                let what = what(verb, group, resource);
                found.extend(names.iter().map(|name| Right { what: what.clone(), name: name.clone(), at_home }));
            }
        }
    }
    found
}

// === impl Request ===

impl Request {
    /// What an event of the audit log tells of, where RBAC allowed it.
    fn of(event: &Value) -> Option<Self> {
        let text = |path| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let resource = match text("/objectRef/subresource") {
            "" => text("/objectRef/resource").to_owned(),
            subresource => format!("{}/{subresource}", text("/objectRef/resource")),
        };
        let allowed = event["annotations"]["authorization.k8s.io/decision"] == "allow";
        (allowed && !resource.is_empty()).then(|| Self {
            what: what(text("/verb"), text("/objectRef/apiGroup"), &resource),
            name: text("/objectRef/name").to_owned(),
            namespace: text("/objectRef/namespace").to_owned(),
        })
    }

    /// A right in the whole cluster is not used by a request that the own namespace's Role could have allowed.
    fn uses(&self, right: &Right) -> bool {
        let what = IMPLIED.iter().find(|(implied, _)| *implied == right.what).map_or(right.what.as_str(), |(_, by)| by);
        let implied = what != right.what;
        self.what == what
            && (implied || right.name.as_ref().is_none_or(|name| *name == self.name))
            && right.at_home == (self.namespace == HOME)
    }
}

/// Rights that none of the requests used, for people.
fn unused(rights: &[Right], requests: &[Request]) -> Vec<String> {
    let idle = rights.iter().filter(|right| !requests.iter().any(|request| request.uses(right)));
    idle.map(|right| {
        let role = if right.at_home { "Role" } else { "ClusterRole" };
        format!("{role}: {} {}", right.what, right.name.as_deref().unwrap_or_default()).trim_end().to_owned()
    })
    .collect()
}

#[test]
fn an_idle_right_is_told_by_name() {
    let rule = |resource: &str, verbs: &[&str], names: &[&str]| PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    let cluster = rights(Some(vec![rule("pods", &["list", "patch"], &[]), rule("secrets", &["get"], &[])]), false);
    let home = rights(Some(vec![rule("secrets", &["get"], &["a", "b"])]), true);
    let request = |verb: &str, resource: &str, name: &str, namespace: &str, decision: &str| {
        let object = json!({"resource": resource, "name": name, "namespace": namespace});
        let event =
            json!({"verb": verb, "objectRef": object, "annotations": {"authorization.k8s.io/decision": decision}});
        Request::of(&event)
    };
    let requests: Vec<_> = [
        request("list", "pods", "", "", "allow"),
        request("patch", "pods", "p", "game", "forbid"),
        request("get", "secrets", "a", HOME, "allow"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let told = unused(&[cluster, home].concat(), &requests);
    assert_eq!(told, ["ClusterRole: patch pods", "ClusterRole: get secrets", "Role: get secrets b"]);
}

/// All that a replica does, from an empty cluster to a namespace that opts out again.
async fn duties(lab: &Lab, replica: &Replica) {
    let (patch, post) = (PatchParams::default(), DeleteParams::default());
    let namespace = lab.opted_in("duties").await;
    let bindings: Api<RoleBinding> = Api::namespaced(lab.client.clone(), &namespace);
    let bound = async || bindings.get_opt("probelet-sidecar").await.expect("answer");
    eventually("it leads", async || replica.leads().then_some(())).await;
    eventually("a RoleBinding is made", bound).await;
    create(&api(lab, &namespace), marker("up", "example.io/up")).await;
    injected(lab, &namespace, "p").await;
    let edit = json!({"spec": marker("up", "example.io/new")["spec"]});
    api(lab, &namespace).patch("up", &patch, &Patch::Merge(edit)).await.expect("edited");
    eventually("the running Pod follows", async || {
        let found = lab.pods(&namespace).get("p").await.expect("pod");
        found.metadata.annotations?.get("probelet.io/writes")?.contains("example.io/new").then_some(())
    })
    .await;
    let mut missed = pod("missed");
    missed["metadata"]["labels"]["probelet.io/inject"] = json!("disabled");
    create(&lab.pods(&namespace), missed).await;
    let opened = json!({"metadata": {"labels": {"probelet.io/inject": null}}});
    lab.pods(&namespace).patch("missed", &patch, &Patch::Merge(opened)).await.expect("labelled");
    let events: Api<Event> = Api::namespaced(lab.client.clone(), &namespace);
    eventually("told", async || events.list(&ListParams::default()).await.expect("events").items.pop()).await;
    let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), HOME);
    let broken = Patch::Merge(json!({"data": {"tls.key": "Z2FyYmFnZQ=="}}));
    secrets.patch("probelet-webhook-tls", &patch, &broken).await.expect("broken");
    eventually("the Secret is repaired", async || {
        (secrets.get("probelet-webhook-tls").await.ok()?.data?["tls.key"].0 != b"garbage").then_some(())
    })
    .await;
    for name in ["p", "missed"] {
        lab.remove_pod(&namespace, name).await;
    }
    api(lab, &namespace).delete("up", &post).await.expect("deleted");
    lab.label_namespace(&namespace, json!({"probelet.io/inject": null})).await;
    eventually("the RoleBinding is removed", async || bound().await.is_none().then_some(())).await;
}

#[tokio::test]
async fn every_right_of_the_webhook_is_used() {
    let lab = Lab::turn().await;
    let cluster: Api<ClusterRole> = Api::all(lab.client.clone());
    let home: Api<Role> = Api::namespaced(lab.client.clone(), HOME);
    let mut given = rights(cluster.get(NAME).await.expect("role").rules, false);
    given.extend(rights(home.get(NAME).await.expect("role").rules, true));
    assert!(given.len() > 30, "{} rights", given.len());
    let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), HOME);
    let _ = secrets.delete("probelet-webhook-tls", &DeleteParams::default()).await;
    let before = lab.server.audit().len();
    let replica = Replica::ready(&lab, &[]).await;
    duties(&lab, &replica).await;
    // An event is written after its answer has been given.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let requests: Vec<_> = lab.server.audit().iter().skip(before).filter_map(Request::of).collect();
        let idle = unused(&given, &requests);
        if idle.is_empty() {
            println!("{} rights, {} requests", given.len(), requests.len());
            return;
        }
        assert!(Instant::now() < deadline, "given, and not used: {idle:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
