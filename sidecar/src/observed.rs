//! The own Pod as the API server last told it, cut down to what is compared.

use crate::desired::{Condition, Unit, Want};
use probelet_protocol::name::{NODE_KIND_ANNOTATION, PLAN_ANNOTATION, POLICIES_ANNOTATION, WRITES_ANNOTATION};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One observation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "raw::Pod")]
pub struct Observed {
    /// The Pod's UID.
    pub uid: String,
    /// Opaque; equal means unchanged.
    pub resource_version: String,
    /// Deletion was asked for.
    pub is_terminating: bool,
    /// Phase `Succeeded` or `Failed`: nothing runs any more.
    pub is_over: bool,
    /// Labels and annotations.
    pub labels: BTreeMap<String, String>,
    /// Annotations, without the plan's own.
    pub annotations: BTreeMap<String, String>,
    /// Conditions by type.
    pub conditions: BTreeMap<String, SeenCondition>,
    /// The annotations that the plan is made of.
    pub plan: PlanText,
    /// [`NODE_KIND_ANNOTATION`].
    pub node_kind: Option<String>,
    /// `Always` where unset.
    pub restart_policy: String,
    /// `spec.containers`.
    pub containers: Vec<ContainerPlanned>,
    /// Statuses of containers and init containers by name.
    pub statuses: BTreeMap<String, ContainerSeen>,
}

/// The texts of a plan, to tell edits by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanText {
    /// [`PLAN_ANNOTATION`].
    pub probes: Option<String>,
    /// [`POLICIES_ANNOTATION`].
    pub policies: Option<String>,
    /// [`WRITES_ANNOTATION`].
    pub writes: Option<String>,
}

/// A condition on the Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCondition {
    /// What is compared.
    pub content: Condition,
    /// Seconds since 1970, where it is there and readable.
    pub since: Option<u64>,
}

/// A container, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPlanned {
    /// Name.
    pub name: String,
    /// In place of the Pod's (kubernetes/enhancements:keps/sig-node/5307-container-restart-policy).
    restart_policy: Option<String>,
    /// Some exit codes have a rule of their own.
    has_rules: bool,
}

/// A container's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSeen {
    /// Runtime's id; empty before the first start.
    pub id: String,
    /// How often it was restarted.
    pub restarts: u64,
    /// What it does.
    pub state: ContainerState,
    /// Its startupProbe has passed; some providers leave it out and say ready only.
    pub is_started: bool,
}

/// `state` of a container's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ContainerState {
    /// Not started yet, or between two starts.
    #[default]
    Waiting,
    /// Running, since these seconds after 1970 where known.
    Running(Option<u64>),
    /// Ended, with this exit code.
    Terminated(i64),
}

// === impl Observed ===

impl Observed {
    /// Reads the Pod out of an answer; fields that are not needed are skipped while parsing.
    ///
    /// # Errors
    /// The JSON is not a Pod's.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Whether a unit is as wanted.
    pub fn has(&self, unit: &Unit, want: &Want) -> bool {
        match (unit, want) {
            (Unit::Condition(kind), Want::Condition(want)) => {
                self.conditions.get(kind).is_some_and(|seen| seen.content == *want)
            }
            (Unit::Label(key), Want::Text(want)) => self.labels.get(key) == Some(want),
            (Unit::Annotation(key), Want::Text(want)) => self.annotations.get(key) == Some(want),
            (_, Want::Absent) => !self.holds(unit),
            _ => false,
        }
    }

    /// Whether a unit is there at all.
    pub fn holds(&self, unit: &Unit) -> bool {
        match unit {
            Unit::Condition(kind) => self.conditions.contains_key(kind),
            Unit::Label(key) => self.labels.contains_key(key),
            Unit::Annotation(key) => self.annotations.contains_key(key),
        }
    }

    /// Whether every container but `own` has ended for good, so that the Pod waits for `own` alone
    /// (kubernetes/kubernetes:pkg/kubelet/container/helpers.go `ShouldContainerBeRestarted`).
    pub fn waits_only_for(&self, own: &str) -> bool {
        let mut others = self.containers.iter().filter(|container| container.name != own).peekable();
        let has_ended =
            |container: &ContainerPlanned| match self.statuses.get(&container.name).map(|status| &status.state) {
                Some(ContainerState::Terminated(code)) => self.ends(&container.name, *code),
                _ => false,
            };
        self.may_end() && others.peek().is_some() && others.all(has_ended)
    }

    /// Whether this container of `spec.containers`, once it has exited with this code, is not started again.
    pub fn ends(&self, name: &str, code: i64) -> bool {
        let Some(container) = self.containers.iter().find(|container| container.name == name) else { return false };
        let policy = container.restart_policy.as_ref().unwrap_or(&self.restart_policy);
        match policy.as_str() {
            "Never" => code == 0 || !container.has_rules,
            "OnFailure" => code == 0,
            _ => false,
        }
    }

    /// Whether the Pod's containers may end for good.
    pub fn may_end(&self) -> bool {
        matches!(self.restart_policy.as_str(), "Never" | "OnFailure")
    }
}

/// The JSON's own shape.
mod raw {
    use super::*;
    use serde::de::IgnoredAny;

    #[derive(Deserialize)]
    pub(in crate::observed) struct Pod {
        metadata: Metadata,
        #[serde(default)]
        spec: Spec,
        #[serde(default)]
        status: Option<Status>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        #[serde(default)]
        uid: String,
        #[serde(default)]
        resource_version: String,
        #[serde(default)]
        deletion_timestamp: Option<IgnoredAny>,
        #[serde(default)]
        labels: Option<BTreeMap<String, String>>,
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Spec {
        restart_policy: String,
        containers: Vec<RawPlanned>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RawPlanned {
        name: String,
        #[serde(default)]
        restart_policy: Option<String>,
        #[serde(default)]
        restart_policy_rules: Option<IgnoredAny>,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Status {
        phase: String,
        conditions: Option<Vec<RawCondition>>,
        container_statuses: Option<Vec<RawContainer>>,
        init_container_statuses: Option<Vec<RawContainer>>,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct RawCondition {
        r#type: String,
        status: String,
        reason: Option<String>,
        message: Option<String>,
        last_transition_time: Option<String>,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct RawContainer {
        name: String,
        #[serde(rename = "containerID")]
        container_id: Option<String>,
        restart_count: u64,
        started: Option<bool>,
        ready: Option<bool>,
        state: Option<State>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct State {
        running: Option<Running>,
        terminated: Option<Terminated>,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Running {
        started_at: Option<String>,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Terminated {
        exit_code: i64,
    }

    impl From<Pod> for Observed {
        fn from(pod: Pod) -> Self {
            let status = pod.status.unwrap_or_default();
            let mut annotations = pod.metadata.annotations.unwrap_or_default();
            let plan = PlanText {
                probes: annotations.remove(PLAN_ANNOTATION),
                policies: annotations.remove(POLICIES_ANNOTATION),
                writes: annotations.remove(WRITES_ANNOTATION),
            };
            let containers = status.container_statuses.unwrap_or_default();
            let statuses = containers.into_iter().chain(status.init_container_statuses.unwrap_or_default());
            Self {
                uid: pod.metadata.uid,
                resource_version: pod.metadata.resource_version,
                is_terminating: pod.metadata.deletion_timestamp.is_some(),
                is_over: matches!(status.phase.as_str(), "Succeeded" | "Failed"),
                labels: pod.metadata.labels.unwrap_or_default(),
                node_kind: annotations.remove(NODE_KIND_ANNOTATION),
                annotations,
                conditions: status.conditions.unwrap_or_default().into_iter().map(condition).collect(),
                plan,
                restart_policy: pod.spec.restart_policy,
                containers: pod.spec.containers.into_iter().map(planned).collect(),
                statuses: statuses.map(container).collect(),
            }
        }
    }

    fn planned(raw: RawPlanned) -> ContainerPlanned {
        let RawPlanned { name, restart_policy, restart_policy_rules } = raw;
        ContainerPlanned { name, restart_policy, has_rules: restart_policy_rules.is_some() }
    }

    fn condition(raw: RawCondition) -> (String, SeenCondition) {
        let content = Condition {
            status: raw.status.into(),
            reason: raw.reason.unwrap_or_default(),
            message: raw.message.unwrap_or_default(),
        };
        (raw.r#type, SeenCondition { content, since: raw.last_transition_time.as_deref().and_then(seconds) })
    }

    fn container(raw: RawContainer) -> (String, ContainerSeen) {
        let state = raw.state.unwrap_or_default();
        let state = match (state.running, state.terminated) {
            (Some(running), _) => ContainerState::Running(running.started_at.as_deref().and_then(seconds)),
            (None, Some(terminated)) => ContainerState::Terminated(terminated.exit_code),
            (None, None) => ContainerState::Waiting,
        };
        let seen = ContainerSeen {
            id: raw.container_id.unwrap_or_default(),
            restarts: raw.restart_count,
            state,
            is_started: raw.started.unwrap_or_default() || raw.ready.unwrap_or_default(),
        };
        (raw.name, seen)
    }
}

/// Seconds since 1970 of an RFC 3339 time, as the API server writes them.
fn seconds(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests;
