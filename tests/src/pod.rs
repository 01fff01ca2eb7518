//! Pods that read as sentences: `pod::app("web", &image).on("virtual-push").labelled("app", "web")`.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod,
    PodSpec, PodTemplateSpec, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::{Value, json};

/// The port on which the test application serves HTTP.
pub const HTTP: i32 = 8080;
/// The port on which it takes connections while it is healthy.
pub const TCP: i32 = 9090;
/// The name of its container.
pub const CONTAINER: &str = "app";
/// The label by which nodes without a node agent are known.
pub const VIRTUAL_LABEL: (&str, &str) = ("type", "virtual-kubelet");
/// The taint that keeps other Pods off them.
pub const VIRTUAL_TAINT: &str = "virtual-kubelet.io/provider";

/// A Pod in the making.
#[derive(Clone, Debug)]
pub struct Builder {
    metadata: ObjectMeta,
    spec: PodSpec,
}

/// A Pod with one container that serves HTTP on [`HTTP`] (port `http`) and TCP on [`TCP`] (port `tcp`); it
/// passes the restricted Pod Security level.
pub fn app(name: &str, image: &str) -> Builder {
    let port = |name: &str, port| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        ..ContainerPort::default()
    };
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(["serve", "--http", "8080", "--tcp", "9090"].map(str::to_owned).to_vec()),
        ports: Some(vec![port("http", HTTP), port("tcp", TCP)]),
        security_context: read(json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        })),
        ..Container::default()
    };
    Builder {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: PodSpec { containers: vec![container], termination_grace_period_seconds: Some(1), ..PodSpec::default() },
    }
}

impl Builder {
    /// Bound to a node by name, past the scheduler, whatever its taints.
    pub fn on(mut self, node: &str) -> Self {
        self.spec.node_name = Some(node.to_owned());
        self.tolerating()
    }

    /// For the scheduler to put on any virtual node, as a user writes it: node selector and toleration.
    pub fn on_a_virtual_node(mut self) -> Self {
        let (key, value) = VIRTUAL_LABEL;
        let selector = self.spec.node_selector.get_or_insert_default();
        selector.insert(key.to_owned(), value.to_owned());
        self.tolerating()
    }

    /// For the scheduler to put on any node that is not virtual.
    pub fn on_an_ordinary_node(mut self) -> Self {
        let (key, value) = VIRTUAL_LABEL;
        let requirement = NodeSelectorRequirement {
            key: key.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec![value.to_owned()]),
        };
        let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), ..NodeSelectorTerm::default() };
        self.spec.affinity = Some(Affinity {
            node_affinity: Some(NodeAffinity {
                required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                    node_selector_terms: vec![term],
                }),
                ..NodeAffinity::default()
            }),
            ..Affinity::default()
        });
        self
    }

    /// With a label.
    pub fn labelled(mut self, key: &str, value: &str) -> Self {
        let labels = self.metadata.labels.get_or_insert_default();
        labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With an annotation.
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        let annotations = self.metadata.annotations.get_or_insert_default();
        annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With other arguments for the test application.
    pub fn running(mut self, arguments: &[&str]) -> Self {
        for container in self.spec.containers.iter_mut().filter(|container| container.name == CONTAINER) {
            container.args = Some(arguments.iter().map(|argument| (*argument).to_owned()).collect());
        }
        self
    }

    /// With resources of the application's container, as `json!({"requests": {"cpu": "10m"}})`.
    pub fn with_resources(mut self, resources: Value) -> Self {
        self.spec.containers[0].resources = read(resources);
        self
    }

    /// With another container behind the others.
    pub fn and_container(mut self, container: Container) -> Self {
        self.spec.containers.push(container);
        self
    }

    /// With anything else: `change` gets what has been built so far.
    pub fn with(mut self, change: impl FnOnce(&mut PodSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// The Pod.
    pub fn build(self) -> Pod {
        Pod { metadata: self.metadata, spec: Some(self.spec), status: None }
    }

    /// A Deployment of such Pods; they are labelled `app` with its name.
    pub fn deployment(self, replicas: i32) -> Deployment {
        let name = self.metadata.name.clone().unwrap_or_default();
        let template = self.labelled("app", &name).template();
        let selector =
            LabelSelector { match_labels: Some([("app".to_owned(), name.clone())].into()), ..LabelSelector::default() };
        Deployment {
            metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
            spec: DeploymentSpec { replicas: Some(replicas), selector, template, ..DeploymentSpec::default() },
            status: None,
        }
    }

    /// A Job of one such Pod, which is not started again when it fails.
    pub fn job(mut self) -> Job {
        self.spec.restart_policy = Some("Never".to_owned());
        let name = self.metadata.name.clone();
        Job {
            metadata: ObjectMeta { name, ..ObjectMeta::default() },
            spec: Some(JobSpec { template: self.template(), backoff_limit: Some(0), ..JobSpec::default() }),
            status: None,
        }
    }

    fn template(mut self) -> PodTemplateSpec {
        self.metadata.name = None;
        PodTemplateSpec { metadata: Some(self.metadata), spec: Some(self.spec) }
    }

    fn tolerating(mut self) -> Self {
        self.spec.tolerations.get_or_insert_default().push(Toleration {
            key: Some(VIRTUAL_TAINT.to_owned()),
            operator: Some("Exists".to_owned()),
            ..Toleration::default()
        });
        self
    }
}

/// True when the Pod runs: phase Running, and all containers ready.
pub fn is_ready(pod: &Pod) -> bool {
    has_condition(pod, "Ready", "True")
}

/// True when the Pod has a condition of that type and status.
pub fn has_condition(pod: &Pod, kind: &str, status: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|pod| pod.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == kind && condition.status == status)
}

/// True when the Pod has a label of that value.
pub fn has_label(pod: &Pod, key: &str, value: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
}

/// True when the Pod has a container of that name.
pub fn has_container(pod: &Pod, name: &str) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    containers.chain(inits).any(|container| container.name == name)
}

/// A part of an object from JSON that this file or a test wrote.
fn read<T: serde::de::DeserializeOwned>(value: Value) -> Option<T> {
    match serde_json::from_value(value) {
        Ok(part) => Some(part),
        Err(error) => panic!("a Pod of the tests is not well formed: {error}"),
    }
}
