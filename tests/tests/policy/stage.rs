//! A namespace with Pods and with everyone who may write to them.

use crate::identity::{account, binding, made, token, with_token};
use crate::install;
use crate::request::{self, Answer, Change};
use anyhow::{Result, ensure};
use kube::Client;
use probelet_tests::cluster::Cluster;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The Pod, with its bound token.
    Pod,
    /// Another Pod of the namespace, with its own bound token.
    OtherPod,
    /// The same ServiceAccount, by a token bound to no Pod.
    Unbound,
    /// A controller in the same namespace that may also update.
    Controller,
    /// A controller of another namespace that may only patch.
    ForeignPatcher,
    /// A virtual node's provider: another namespace, get, update and patch.
    Provider,
}

/// One test's own namespace.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) admin: Client,
    pub(crate) namespace: String,
    pub(crate) has_shield: bool,
    foreign: String,
    other: Client,
    unbound: Client,
    controller: Client,
    patcher: Client,
    provider: Client,
    next: AtomicUsize,
}

/// A Pod that exists, and a client with its own token.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) client: Client,
}

/// What its Pods may write, if a test does not say otherwise. Two of the keys are bait: no list opens them.
pub(crate) const WRITES: &str = "c:Ready,c:game.io/healthy,c:game.io/idle,l:game.io/healthy,l:kruise.io/bait,\
                                 a:game.io/cost,a:probelet.io/writes";

impl Stage {
    /// Makes the namespace, opted in or not.
    pub(crate) async fn new(opted_in: bool) -> Result<Self> {
        let cluster = Cluster::connect().await?;
        let admin = cluster.client();
        let has_shield = install::policies(&admin).await?;
        let foreign = namespace(&admin, false).await?;
        let home = namespace(&admin, opted_in).await?;
        let mark = json!([{"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]}]);
        let update = json!([{"apiGroups": [""], "resources": ["pods/status"], "verbs": ["get", "patch", "update"]}]);
        account(&admin, &home, "controller", &home, &update).await?;
        account(&admin, &foreign, "patcher", &home, &mark).await?;
        account(&admin, &foreign, "provider", &home, &update).await?;
        let sidecars = json!({
            "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": format!("system:serviceaccounts:{home}"),
        });
        let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{home}/rolebindings");
        let sidecars = binding("policy-test-sidecars", "ClusterRole", "probelet-sidecar", &sidecars);
        made(request::create(&admin, &path, &sidecars).await?)?;
        let plain = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "game"}});
        made(request::create(&admin, &format!("/api/v1/namespaces/{home}/serviceaccounts"), &plain).await?)?;
        let who = async |namespace: &str, name: &str| {
            with_token(&cluster, &token(&admin, namespace, name, None).await?).await
        };
        let unbound = who(&home, "game").await?;
        let mut stage = Self {
            unbound: unbound.clone(),
            other: unbound,
            controller: who(&home, "controller").await?,
            patcher: who(&foreign, "patcher").await?,
            provider: who(&foreign, "provider").await?,
            admin: admin.clone(),
            cluster,
            namespace: home,
            foreign,
            has_shield,
            next: AtomicUsize::new(0),
        };
        stage.other = stage.pod().await?.client;
        Ok(stage)
    }

    /// A Pod as most tests want it.
    pub(crate) async fn pod(&self) -> Result<Target> {
        self.pod_with(|_| ()).await
    }

    /// A Pod that no scheduler takes, with a status as a provider would have written it.
    pub(crate) async fn pod_with(&self, edit: impl FnOnce(&mut Value)) -> Result<Target> {
        let name = format!("pod-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {"app": "game", "game.io/healthy": "true"},
                "annotations": {"probelet.io/writes": WRITES, "note": "kept", "game.io/cost": "1"},
            },
            "spec": {
                "serviceAccountName": "game",
                "schedulerName": "nobody",
                "automountServiceAccountToken": false,
                "containers": [{"name": "game", "image": "game"}],
            },
        });
        edit(&mut pod);
        let answer = request::create(&self.admin, &self.path("pods"), &pod).await?;
        ensure!(answer.code == 201, "creating a Pod: {} {}", answer.code, answer.message());
        let field = |name: &str| answer.body["metadata"][name].as_str().unwrap_or_default().to_owned();
        let (name, uid) = (field("name"), field("uid"));
        let bearer = token(&self.admin, &self.namespace, "game", Some((&name, &uid))).await?;
        let target = Target { client: with_token(&self.cluster, &bearer).await?, name, uid };
        let status = Change::Strategic(json!({"status": status()}));
        let answer = request::send(&self.admin, &self.status_path(&target.name), &status).await?;
        ensure!(answer.code == 200, "status of a new Pod: {} {}", answer.code, answer.message());
        Ok(target)
    }

    /// Path of a collection in the namespace.
    pub(crate) fn path(&self, resource: &str) -> String {
        format!("/api/v1/namespaces/{}/{resource}", self.namespace)
    }

    /// Path of a Pod's status.
    pub(crate) fn status_path(&self, name: &str) -> String {
        self.path(&format!("pods/{name}/status"))
    }

    /// The Pod as it is stored.
    pub(crate) async fn stored(&self, target: &Target) -> Result<Value> {
        Ok(request::read(&self.admin, &self.path(&format!("pods/{}", target.name))).await?.body)
    }

    /// A change of a Pod's status by somebody.
    pub(crate) async fn change(&self, target: &Target, who: Who, change: &Change) -> Result<Answer> {
        let client = match who {
            Who::Pod => &target.client,
            Who::OtherPod => &self.other,
            Who::Unbound => &self.unbound,
            Who::Controller => &self.controller,
            Who::ForeignPatcher => &self.patcher,
            Who::Provider => &self.provider,
        };
        request::send(client, &self.status_path(&target.name), change).await
    }

    /// Waits until the API server acts by the confinement policy.
    pub(crate) async fn confined(&self) -> Result<()> {
        install::until("a Pod's token is confined", async || {
            let target = self.pod().await?;
            let attack = Change::Strategic(json!({"metadata": {"labels": {"app": "other"}}}));
            Ok(self.change(&target, Who::Pod, &attack).await?.code == 403)
        })
        .await
    }

    /// Removes the namespaces; what a failed test leaves behind is for the reader.
    pub(crate) async fn end(self) -> Result<()> {
        for namespace in [&self.namespace, &self.foreign] {
            request::delete(&self.admin, &format!("/api/v1/namespaces/{namespace}")).await?;
        }
        Ok(())
    }
}

fn status() -> Value {
    json!({
        "phase": "Running", "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}], "hostIP": "10.0.0.1",
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": [
            {"type": "Ready", "status": "False", "lastProbeTime": null, "lastTransitionTime": null},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "other.io/theirs", "status": "True", "message": "theirs"},
            {"type": "game.io/healthy", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
        ],
        "containerStatuses": [{
            "name": "game", "image": "game", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }],
    })
}

async fn namespace(admin: &Client, opted_in: bool) -> Result<String> {
    let labels = if opted_in { json!({"probelet.io/inject": "enabled"}) } else { json!({}) };
    let body = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "policy-", "labels": labels},
    });
    let answer = request::create(admin, "/api/v1/namespaces", &body).await?;
    ensure!(answer.code == 201, "creating a namespace: {} {}", answer.code, answer.message());
    Ok(answer.body["metadata"]["name"].as_str().unwrap_or_default().to_owned())
}
