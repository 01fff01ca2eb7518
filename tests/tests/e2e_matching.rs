//! Which Pods are injected: every rule, asked of the API server with the webhook really called. Dry runs, so no Pod is run.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use probelet_protocol::name;
use probelet_tests::marker;
use probelet_tests::pod::has_container;
use probelet_tests::space::{self, Labels, Space};
use serde_json::{Value, json};

#[path = "matching/kinds.rs"]
mod kinds;
#[path = "matching/static_pod.rs"]
mod static_pod;

/// What becomes of a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Not injected.
    Left,
    /// Injected, by these markers: names, comma-joined.
    By(&'static str),
}
use Fate::{By, Left};

/// What it is, what becomes of it, and what makes a plain Pod into it.
type Row = (&'static str, Fate, fn(&mut Value));

/// A Pod that one marker selects and that says nothing of nodes.
fn plain() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": "none"}]},
    })
}

fn tolerate(pod: &mut Value, toleration: Value) {
    pod["spec"]["tolerations"] = json!([toleration]);
}

fn tolerate_provider(pod: &mut Value) {
    tolerate(pod, json!({"key": "virtual-kubelet.io/provider", "operator": "Exists"}));
}

fn on_virtual(pod: &mut Value) {
    pod["spec"]["nodeSelector"] = json!({"type": "virtual-kubelet"});
}

/// The same for a virtual node.
fn virtual_pod() -> Value {
    let mut pod = plain();
    on_virtual(&mut pod);
    pod
}

fn require(pod: &mut Value, key: &str, operator: &str, values: &[&str]) {
    let term = json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!({"nodeSelectorTerms": [term]});
}

fn prefer(pod: &mut Value, key: &str, operator: &str, values: &[&str]) {
    let term = json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
        json!([{"weight": 1, "preference": term}]);
}

/// Creates each row's Pod in a dry run, and lists those that another fate came to.
async fn check(space: &Space, rows: &[Row]) -> Result<()> {
    check_from(space, &plain(), rows).await
}

async fn check_from(space: &Space, base: &Value, rows: &[Row]) -> Result<()> {
    let mut wrong = Vec::new();
    for (what, expected, change) in rows {
        let mut pod = base.clone();
        change(&mut pod);
        let found = fate(space, pod).await.with_context(|| format!("{what}: refused"))?;
        let wanted = match expected {
            Left => None,
            By(list) => Some((*list).to_owned()),
        };
        if found != wanted {
            wrong.push(format!("{what}: expected {wanted:?}, found {found:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    Ok(())
}

/// The list of markers that an injected Pod has; nothing of one that is not injected.
async fn fate(space: &Space, pod: Value) -> Result<Option<String>> {
    let pod: Pod = serde_json::from_value(pod)?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let made = space.api::<Pod>().create(&dry, &pod).await?;
    let mut annotations = made.metadata.annotations.clone().unwrap_or_default();
    if !annotations.contains_key(name::INJECTED_ANNOTATION) {
        return Ok(None);
    }
    ensure!(has_container(&made, name::SIDECAR_CONTAINER), "injected, but without a sidecar");
    Ok(Some(annotations.remove(name::MARKER_LIST_ANNOTATION).unwrap_or_default()))
}

fn probe(name: &str) -> Value {
    let http = json!({"httpGet": {"port": 8080, "path": "/health"}});
    marker::probe(name, http, &format!("games.example/{name}"), &format!("games.example/{name}"))
}

async fn with_marker<Test, Done>(purpose: &'static str, test: Test) -> Result<()>
where
    Test: FnOnce(Space) -> Done + Send + 'static,
    Done: Future<Output = Result<()>> + Send + 'static,
{
    space::with(purpose, Labels::opted_in(), |space| async move {
        marker::create(&space, "web", "web", &[probe("web")]).await?;
        marker::settled(&space, &serde_json::from_value(virtual_pod())?).await?;
        test(space).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_by_name_selector_and_toleration() -> Result<()> {
    with_marker("nodes", |space| async move {
        let rows: [Row; 16] = [
            ("nothing said of nodes", Left, |_| ()),
            ("a virtual node by name", By("web"), |pod| pod["spec"]["nodeName"] = json!("virtual-push")),
            ("an ordinary node by name", Left, |pod| pod["spec"]["nodeName"] = json!("node-1")),
            ("an ordinary node by name, everything tolerated", Left, |pod| {
                pod["spec"]["nodeName"] = json!("node-1");
                tolerate(pod, json!({"operator": "Exists"}));
            }),
            ("node selector", By("web"), on_virtual),
            ("node selector for others", Left, |pod| pod["spec"]["nodeSelector"] = json!({"type": "ecs"})),
            ("a virtual node's host name", By("web"), |pod| {
                pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "virtual-poll"});
            }),
            ("an ordinary node's host name, everything tolerated", Left, |pod| {
                pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "node-1"});
                tolerate(pod, json!({"operator": "Exists"}));
            }),
            ("the role of virtual nodes alone", Left, |pod| {
                pod["spec"]["nodeSelector"] = json!({"kubernetes.io/role": "agent"});
            }),
            ("that role, and the taint tolerated", By("web"), |pod| {
                pod["spec"]["nodeSelector"] = json!({"kubernetes.io/role": "agent"});
                tolerate_provider(pod);
            }),
            ("the taint's key", By("web"), |pod| {
                tolerate_provider(pod);
            }),
            ("key and value", By("web"), |pod| {
                tolerate(pod, json!({"key": "virtual-kubelet.io/provider", "operator": "Equal", "value": "lab"}));
            }),
            ("key and effect", By("web"), |pod| {
                let key = "virtual-kubelet.io/provider";
                tolerate(pod, json!({"key": key, "operator": "Exists", "effect": "NoSchedule"}));
            }),
            ("the key, but another effect", Left, |pod| {
                let key = "virtual-kubelet.io/provider";
                tolerate(pod, json!({"key": key, "operator": "Exists", "effect": "NoExecute"}));
            }),
            ("everything tolerated", By("web"), |pod| tolerate(pod, json!({"operator": "Exists"}))),
            ("another taint tolerated", Left, |pod| {
                tolerate(pod, json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists"}));
            }),
        ];
        check(&space, &rows).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn affinity_by_every_operator() -> Result<()> {
    with_marker("affinity", |space| async move {
        let rows: [Row; 16] = [
            ("required In", By("web"), |pod| require(pod, "type", "In", &["x", "virtual-kubelet"])),
            ("required In others", Left, |pod| require(pod, "type", "In", &["x"])),
            ("required Exists", By("web"), |pod| require(pod, "type", "Exists", &[])),
            ("required NotIn others asks for nothing", Left, |pod| require(pod, "type", "NotIn", &["x"])),
            ("required NotIn others, tolerated", By("web"), |pod| {
                require(pod, "type", "NotIn", &["x"]);
                tolerate_provider(pod);
            }),
            ("required NotIn, tolerated", Left, |pod| {
                require(pod, "type", "NotIn", &["virtual-kubelet"]);
                tolerate_provider(pod);
            }),
            ("required DoesNotExist, tolerated", Left, |pod| {
                require(pod, "type", "DoesNotExist", &[]);
                tolerate_provider(pod);
            }),
            ("required DoesNotExist of another, tolerated", By("web"), |pod| {
                require(pod, "gpu", "DoesNotExist", &[]);
                tolerate_provider(pod);
            }),
            ("one of two terms", By("web"), |pod| {
                require(pod, "type", "In", &["x"]);
                let terms = &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                    ["nodeSelectorTerms"];
                let exists = json!({"matchExpressions": [{"key": "type", "operator": "Exists"}]});
                terms.as_array_mut().expect("terms").push(exists);
            }),
            ("required against the selector", Left, |pod| {
                require(pod, "type", "NotIn", &["virtual-kubelet"]);
                on_virtual(pod);
            }),
            ("the name of a virtual node as a field", By("web"), |pod| {
                let field = json!({"key": "metadata.name", "operator": "In", "values": ["virtual-push"]});
                pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
                    json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
            }),
            ("preferred In", By("web"), |pod| prefer(pod, "type", "In", &["virtual-kubelet"])),
            ("preferred Exists", By("web"), |pod| prefer(pod, "type", "Exists", &[])),
            ("preferred NotIn", Left, |pod| prefer(pod, "type", "NotIn", &["virtual-kubelet"])),
            ("preferred DoesNotExist", Left, |pod| prefer(pod, "type", "DoesNotExist", &[])),
            ("preferred, but required elsewhere", Left, |pod| {
                prefer(pod, "type", "In", &["virtual-kubelet"]);
                require(pod, "type", "In", &["x"]);
            }),
        ];
        check(&space, &rows).await
    })
    .await
}

/// A virtual node that nothing is ever scheduled to; gone when the test ends, however it ends.
async fn with_node<Done>(space: &Space, name: &str, test: Done) -> Result<()>
where
    Done: Future<Output = Result<()>>,
{
    let nodes: Api<Node> = Api::all(space.cluster().client());
    let node = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"type": "virtual-kubelet", "example.com/cores": "64"}},
        "spec": {"unschedulable": true, "taints": [{"key": name, "effect": "NoSchedule"}]},
    }))?;
    nodes.create(&PostParams::default(), &node).await?;
    let outcome = test.await;
    nodes.delete(name, &DeleteParams::default()).await?;
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_by_gt_and_lt_of_a_node_that_exists() -> Result<()> {
    with_marker("numbers", |space| async move {
        // Its taint has the namespace's name, so only this test's Pods tolerate it.
        let node = space.name().to_owned();
        let numbers = async {
            let pod = |operator: &str, bound: &str| {
                let mut pod = plain();
                require(&mut pod, "example.com/cores", operator, &[bound]);
                tolerate(&mut pod, json!({"key": space.name(), "operator": "Exists"}));
                pod
            };
            marker::settled(&space, &serde_json::from_value(pod("Gt", "32"))?).await?;
            for (operator, bound, injected) in
                [("Gt", "63", true), ("Gt", "64", false), ("Lt", "65", true), ("Lt", "64", false)]
            {
                let found = fate(&space, pod(operator, bound)).await?;
                ensure!(found.is_some() == injected, "64 {operator} {bound}: {found:?}");
            }
            Ok(())
        };
        with_node(&space, &node, numbers).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_labels_and_annotations() -> Result<()> {
    with_marker("providers", |space| async move {
        let rows: [Row; 12] = [
            ("alibabacloud.com/eci", By("web"), |pod| {
                pod["metadata"]["labels"]["alibabacloud.com/eci"] = json!("true")
            }),
            ("alibabacloud.com/eci, false", Left, |pod| {
                pod["metadata"]["labels"]["alibabacloud.com/eci"] = json!("false");
            }),
            ("alibabacloud.com/acs", By("web"), |pod| {
                pod["metadata"]["labels"]["alibabacloud.com/acs"] = json!("true")
            }),
            ("a compute class", By("web"), |pod| {
                pod["metadata"]["labels"]["alibabacloud.com/compute-class"] = json!("general-purpose");
            }),
            ("bursting", By("web"), |pod| {
                pod["metadata"]["annotations"]["alibabacloud.com/burst-resource"] = json!("eci");
            }),
            ("bursting to nowhere", Left, |pod| {
                pod["metadata"]["annotations"]["alibabacloud.com/burst-resource"] = json!("none");
            }),
            ("CCI", By("web"), |pod| pod["metadata"]["labels"]["bursting.cci.io/burst-to-cci"] = json!("auto")),
            ("CCI switched off", Left, |pod| pod["metadata"]["labels"]["bursting.cci.io/burst-to-cci"] = json!("off")),
            ("Fargate's profile", By("web"), |pod| {
                pod["metadata"]["labels"]["eks.amazonaws.com/fargate-profile"] = json!("games");
            }),
            ("Fargate's scheduler", By("web"), |pod| pod["spec"]["schedulerName"] = json!("fargate-scheduler")),
            ("Fargate by selector", By("web"), |pod| {
                pod["spec"]["nodeSelector"] = json!({"eks.amazonaws.com/compute-type": "fargate"});
            }),
            ("liqo by selector", By("web"), |pod| {
                pod["spec"]["nodeSelector"] = json!({"liqo.io/type": "virtual-node"});
            }),
        ];
        check(&space, &rows).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_label_of_the_namespace_takes_its_pods() -> Result<()> {
    let labels = Labels::opted_in().and("alibabacloud.com/eci", "true");
    space::with("provider", labels, |space| async move {
        marker::create(&space, "web", "web", &[probe("web")]).await?;
        marker::settled(&space, &serde_json::from_value(plain())?).await?;
        let rows: [Row; 2] = [
            ("the namespace's label", By("web"), |_| ()),
            ("the Pod's own wins", Left, |pod| pod["metadata"]["labels"]["alibabacloud.com/eci"] = json!("false")),
        ];
        check(&space, &rows).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_own_word() -> Result<()> {
    with_marker("own", |space| async move {
        let rows: [Row; 9] = [
            ("taken in on any node", By("web"), |pod| {
                pod["spec"]["nodeSelector"] = json!({"type": "ordinary"});
                pod["metadata"]["labels"][name::INJECT_LABEL] = json!("enabled");
            }),
            ("taken in, but no marker is for it", Left, |pod| {
                pod["metadata"]["labels"] = json!({name::INJECT_LABEL: "enabled"});
            }),
            ("kept out", Left, |pod| {
                pod["metadata"]["labels"][name::INJECT_LABEL] = json!("disabled");
            }),
            ("Windows", Left, |pod| {
                pod["spec"]["os"] = json!({"name": "windows"});
            }),
            ("a container of our name", Left, |pod| {
                let other = json!({"name": "probelet", "image": "none"});
                pod["spec"]["containers"].as_array_mut().expect("containers").push(other);
            }),
            ("a name to be generated", By("web"), |pod| {
                pod["metadata"]["name"] = Value::Null;
                pod["metadata"]["generateName"] = json!("web-");
            }),
            ("a host network", By("web"), |pod| {
                pod["spec"]["hostNetwork"] = json!(true);
            }),
            ("a plan of its own, and no marker", By(""), |pod| {
                pod["metadata"]["labels"] = json!({});
                pod["metadata"]["annotations"][name::PLAN_ANNOTATION] = json!(OWN_PLAN);
            }),
            ("a plan of its own, and a marker that selects it", By(""), |pod| {
                pod["metadata"]["annotations"][name::PLAN_ANNOTATION] = json!(OWN_PLAN);
            }),
        ];
        check_from(&space, &virtual_pod(), &rows).await
    })
    .await
}

const OWN_PLAN: &str =
    r#"[{"name":"own","containerName":"app","probe":{"tcpSocket":{"port":9090}},"podConditionType":"x.example/own"}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn selectors_with_expressions_and_a_list_of_names() -> Result<()> {
    with_marker("selectors", |space| async move {
        for (name, operator, values) in [
            ("exists", "Exists", &[][..]),
            ("in", "In", &["gold", "iron"]),
            ("lacks", "DoesNotExist", &[]),
            ("not-in", "NotIn", &["gold"]),
        ] {
            let selector = json!({"matchLabels": {"set": "tiers"},
                "matchExpressions": [{"key": "tier", "operator": operator, "values": values}]});
            marker::create_for(&space, name, selector, &[probe(name)]).await?;
        }
        let mut pod = virtual_pod();
        // The last that was made, and so all of them.
        pod["metadata"]["labels"] = json!({"set": "tiers", "tier": "iron"});
        marker::settled(&space, &serde_json::from_value(pod)?).await?;
        let rows: [Row; 9] = [
            ("In and Exists", By("exists,in"), |pod| {
                pod["metadata"]["labels"] = json!({"set": "tiers", "tier": "gold"})
            }),
            ("NotIn besides", By("exists,in,not-in"), |pod| {
                pod["metadata"]["labels"] = json!({"set": "tiers", "tier": "iron"});
            }),
            ("another value", By("exists,not-in"), |pod| {
                pod["metadata"]["labels"] = json!({"set": "tiers", "tier": "tin"});
            }),
            ("no such label", By("lacks,not-in"), |pod| pod["metadata"]["labels"] = json!({"set": "tiers"})),
            ("expressions, but not the labels", Left, |pod| pod["metadata"]["labels"] = json!({"tier": "gold"})),
            ("two kinds of selectors", By("exists,in,web"), |pod| {
                pod["metadata"]["labels"] = json!({"app": "web", "set": "tiers", "tier": "gold"});
            }),
            ("one by name that does not select it", By("in"), |pod| {
                pod["metadata"]["annotations"][name::MARKER_LIST_ANNOTATION] = json!("in");
            }),
            ("several by name", By("web, in"), |pod| {
                pod["metadata"]["annotations"][name::MARKER_LIST_ANNOTATION] = json!("web, in");
            }),
            ("one by name that is not there", Left, |pod| {
                pod["metadata"]["annotations"][name::MARKER_LIST_ANNOTATION] = json!("nobody");
            }),
        ];
        check_from(&space, &virtual_pod(), &rows).await
    })
    .await
}
