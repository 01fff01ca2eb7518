//! The few questions that the lab itself asks its API server, each with a deadline.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(3);

/// A client of the cluster that a kubeconfig file names.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    crate::client::connect(config(kubeconfig).await?)
}

/// Address and credentials in a kubeconfig file, those of its current context.
pub async fn config(kubeconfig: &Path) -> Result<Config> {
    let content = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("cannot read the kubeconfig {}", kubeconfig.display()))?;
    Config::from_custom_kubeconfig(content, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("the kubeconfig {} is not usable", kubeconfig.display()))
}

/// True when the API server says that it is ready.
pub fn is_ready(kubeconfig: &Path) -> bool {
    let answer = block(async {
        let request = http_get("/readyz")?;
        Ok(client(kubeconfig).await?.request_text(request).await?)
    });
    answer.is_ok_and(|text| text == "ok")
}

/// An error that says why, where no API server answers at the address that a kubeconfig names.
pub fn check(kubeconfig: &Path) -> Result<()> {
    block(async {
        client(kubeconfig).await?.apiserver_version().await?;
        Ok(())
    })
}

/// The names of the Nodes whose condition Ready is True.
pub fn ready_nodes(kubeconfig: &Path) -> Result<BTreeSet<String>> {
    block(async {
        let nodes: Api<Node> = Api::all(client(kubeconfig).await?);
        let list = nodes.list(&kube::api::ListParams::default()).await?;
        let ready = list.items.into_iter().filter(|node| {
            let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        });
        Ok(ready.filter_map(|node| node.metadata.name).collect())
    })
}

/// True when Pods can be created: the controller manager has made the ServiceAccount they use.
pub fn has_default_account(kubeconfig: &Path) -> Result<bool> {
    block(async {
        let accounts: Api<ServiceAccount> = Api::namespaced(client(kubeconfig).await?, "default");
        Ok(accounts.get_opt("default").await?.is_some())
    })
}

fn http_get(path: &str) -> Result<http::Request<Vec<u8>>> {
    Ok(http::Request::get(path).body(Vec::new())?)
}

/// Runs one question to its end on a thread of its own, so that callers need not be asynchronous.
fn block<T: Send>(question: impl Future<Output = Result<T>> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let limited = runtime.block_on(async { tokio::time::timeout(LIMIT, question).await });
            limited.unwrap_or_else(|_| bail!("no answer within {} s", LIMIT.as_secs()))
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
