//! What a failed test prints: the Pods of its namespace, their Events, the end of their containers' logs.

use crate::command::tail;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};
use std::fmt::Write;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);
const LOG_LINES: i64 = 60;

/// Everything worth seeing in a namespace, as text. What cannot be had is said in its place.
pub async fn of_namespace(client: &Client, namespace: &str) -> String {
    let mut text = format!("--- namespace {namespace}\n");
    let collect = async {
        pods(client, namespace, &mut text).await?;
        events(client, namespace, &mut text).await
    };
    match tokio::time::timeout(LIMIT, collect).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => text.push_str(&format!("(no more: {error})\n")),
        Err(_) => text.push_str("(no more: it took too long)\n"),
    }
    text
}

async fn pods(client: &Client, namespace: &str, text: &mut String) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    for pod in pods.list(&ListParams::default()).await? {
        let name = pod.name_any();
        let spec = pod.spec.clone().unwrap_or_default();
        let status = pod.status.clone().unwrap_or_default();
        let _ = writeln!(
            text,
            "\nPod {name} on {}: {} {}",
            spec.node_name.as_deref().unwrap_or("no node"),
            status.phase.as_deref().unwrap_or("no phase"),
            status.message.as_deref().unwrap_or_default()
        );
        let _ = writeln!(text, "  labels: {:?}\n  annotations: {:#?}", pod.labels(), pod.annotations());
        for condition in status.conditions.iter().flatten() {
            let message = condition.message.as_deref().unwrap_or_default();
            let _ = writeln!(text, "  {}={} {message}", condition.type_, condition.status);
        }
        let inits = spec.init_containers.unwrap_or_default();
        for container in inits.iter().chain(&spec.containers) {
            log(&pods, &name, &container.name, text).await;
        }
    }
    Ok(())
}

async fn log(pods: &Api<Pod>, pod: &str, container: &str, text: &mut String) {
    let parameters =
        LogParams { container: Some(container.to_owned()), tail_lines: Some(LOG_LINES), ..LogParams::default() };
    let lines = match pods.logs(pod, &parameters).await {
        Ok(lines) => lines,
        Err(error) => format!("(none: {error})"),
    };
    let _ = writeln!(text, "  log of {container}:\n{}", tail(&lines, 60).trim_end());
}

async fn events(client: &Client, namespace: &str, text: &mut String) -> Result<(), kube::Error> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    text.push_str("\nEvents\n");
    for event in events.list(&ListParams::default()).await? {
        let object = event.involved_object;
        let _ = writeln!(
            text,
            "  {} {}/{}: {}",
            event.reason.unwrap_or_default(),
            object.kind.unwrap_or_default(),
            object.name.unwrap_or_default(),
            event.message.unwrap_or_default()
        );
    }
    Ok(())
}
