//! A namespace for one test, which is gone after it: also when the test panics.

use crate::cluster::Cluster;
use crate::{diagnosis, wait};
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams};
use kube::core::NamespaceResourceScope;
use probelet_protocol::name::{INJECT_ENABLED, INJECT_LABEL};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// How long the controller manager may take to make the ServiceAccount that Pods need.
const ACCOUNT: Duration = Duration::from_secs(30);

/// Labels of the namespace.
#[derive(Clone, Debug, Default)]
pub struct Labels(BTreeMap<String, String>);

/// A namespace and the cluster it is in.
#[derive(Clone)]
pub struct Space {
    cluster: Cluster,
    name: String,
}

/// Runs `test` in a namespace of its own, named after `purpose`. On failure or panic prints what is in
/// the namespace first; deletes it in any case, except where `PROBELET_KEEP` is set.
pub async fn with<Test, Done>(purpose: &str, labels: Labels, test: Test) -> Result<()>
where
    Test: FnOnce(Space) -> Done,
    Done: Future<Output = Result<()>> + Send + 'static,
{
    let space = Space::create(Cluster::connect().await?, purpose, labels).await?;
    // A task of its own: its panic ends the task, not the clean-up.
    let result = tokio::spawn(test(space.clone())).await;
    if !matches!(result, Ok(Ok(()))) {
        eprintln!("{}", diagnosis::of_namespace(&space.cluster.client(), &space.name).await);
    }
    let deleted = if std::env::var_os("PROBELET_KEEP").is_some() {
        eprintln!("namespace {} is kept, because PROBELET_KEEP is set", space.name);
        Ok(())
    } else {
        space.delete().await
    };
    match result {
        Ok(result) => result.and(deleted),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(error.into()),
        },
    }
}

// === impl Labels ===

impl Labels {
    /// Not opted in.
    pub fn none() -> Self {
        Self::default()
    }

    /// Opted in: Pods that belong on virtual nodes and have probes are injected.
    pub fn opted_in() -> Self {
        Self::none().and(INJECT_LABEL, INJECT_ENABLED)
    }

    /// The same, with Pod Security at the level `restricted` enforced.
    pub fn restricted(self) -> Self {
        self.and("pod-security.kubernetes.io/enforce", "restricted")
    }

    /// The same, with one more label.
    pub fn and(mut self, key: &str, value: &str) -> Self {
        self.0.insert(key.to_owned(), value.to_owned());
        self
    }
}

// === impl Space ===

impl Space {
    /// Makes the namespace and waits until Pods can be created in it. [`with`] also deletes it.
    pub async fn create(cluster: Cluster, purpose: &str, labels: Labels) -> Result<Self> {
        let namespaces: Api<Namespace> = Api::all(cluster.client());
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(format!("{purpose}-{}", unique()));
        namespace.metadata.labels = Some(labels.0);
        let made = namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("cannot create a namespace for {purpose}"))?;
        let space = Self { cluster, name: made.metadata.name.unwrap_or_default() };
        let accounts: Api<ServiceAccount> = space.api();
        wait::until(&accounts, "default", "the default ServiceAccount", ACCOUNT, |found| found.is_some()).await?;
        Ok(space)
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Objects of one kind in this namespace, with the administrator's rights.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster.client(), &self.name)
    }

    /// Creates an object in this namespace; as the API server stored it.
    pub async fn create_object<K>(&self, object: &K) -> Result<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        let created = self.api::<K>().create(&PostParams::default(), object).await;
        created.with_context(|| format!("cannot create a {kind} in namespace {}", self.name))
    }

    /// Waits until a Pod of this namespace satisfies `met`; see [`wait::until_pod`].
    pub async fn wait_for_pod(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        met: impl Fn(&Pod) -> bool,
    ) -> Result<Pod> {
        wait::until_pod(&self.api(), name, what, limit, met).await
    }

    /// Deletes the namespace, without waiting for its Pods to end.
    pub async fn delete(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.cluster.client());
        namespaces.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}

/// Differs between runs and between tests of one run; six letters of a namespace's name.
fn unique() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut number = now.as_nanos() ^ (u128::from(std::process::id()) << 20);
    let mut text = String::new();
    for _ in 0..6 {
        let digit = u8::try_from(number % 36).unwrap_or_default();
        text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
        number /= 36;
    }
    text
}
