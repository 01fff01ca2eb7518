//! Beside another mutating webhook, called before ours or after it, the same Pod comes out (good practices G22 and G23), in a
//! namespace that enforces the restricted standard, limits and a quota (G25).

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{LimitRange, Pod, ResourceQuota};
use kube::api::PostParams;
use probelet_protocol::{environment, name};
use probelet_tests::image::TEST_APP;
use probelet_tests::pod::{app, has_container, has_label};
use probelet_tests::space::{self, Labels, Space};
use probelet_tests::{marker, wait};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[path = "second/hook.rs"]
mod hook;
use hook::{Hook, PROXY};

const LIMIT: Duration = Duration::from_secs(90);

/// What the other webhook adds: the test's application once more, beside the others or as a native sidecar.
fn proxy(space: &Space, native: bool) -> Result<Value> {
    let pod = app(PROXY, &space.cluster().image(TEST_APP)?).build();
    let mut proxy = serde_json::to_value(&pod.spec.context("spec")?.containers[0])?;
    proxy["name"] = json!(PROXY);
    proxy["args"] = json!(["serve", "--http", "8081", "--name", PROXY]);
    proxy["ports"] = json!([{"name": "admin", "containerPort": 8081}]);
    if native {
        proxy["restartPolicy"] = json!("Always");
    }
    Ok(proxy)
}

/// One probe for the Pod's own container, two for the one that comes later: one that runs a command, one by a named port.
async fn mark(space: &Space) -> Result<()> {
    let own =
        marker::probe("own", json!({"httpGet": {"port": "http", "path": "/health"}}), "x.example/Own", "x.example/own");
    let exec = json!({"exec": {"command": ["/test-app", "check", "--name", PROXY]}});
    let mut late = marker::probe("exec", exec, "x.example/Exec", "x.example/exec");
    let mut port = marker::probe("port", json!({"tcpSocket": {"port": "admin"}}), "x.example/Port", "x.example/port");
    for probe in [&mut late, &mut port] {
        probe["containerName"] = json!(PROXY);
    }
    marker::create(space, "both", "web", &[own, late, port]).await?;
    Ok(())
}

async fn limit(space: &Space) -> Result<()> {
    let limits: LimitRange = serde_json::from_value(json!({"metadata": {"name": "limits"}, "spec": {"limits": [
        {"type": "Container", "min": {"cpu": "5m", "memory": "8Mi"}, "max": {"cpu": "1", "memory": "256Mi"},
         "default": {"cpu": "100m", "memory": "64Mi"}, "defaultRequest": {"cpu": "50m", "memory": "32Mi"}}]}}))?;
    space.create_object(&limits).await?;
    let quota: ResourceQuota = serde_json::from_value(json!({"metadata": {"name": "quota"}, "spec": {"hard": {
        "requests.cpu": "1", "requests.memory": "512Mi", "limits.cpu": "2", "limits.memory": "1Gi"}}}))?;
    space.create_object(&quota).await?;
    let counted = |quota: Option<&ResourceQuota>| {
        quota.and_then(|quota| quota.status.as_ref()).is_some_and(|status| status.hard.is_some())
    };
    wait::until(&space.api(), "quota", "the quota to be counted", LIMIT, counted).await?;
    Ok(())
}

fn web(space: &Space) -> Result<Pod> {
    let web = app("web", &space.cluster().image(TEST_APP)?);
    Ok(web.on("virtual-push").labelled("app", "web").annotated("note", "mind the gap").build())
}

async fn dry_run(space: &Space, pod: &Pod) -> Result<Pod> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    Ok(space.api::<Pod>().create(&dry, pod).await?)
}

/// The Pod as the API server would store it, once the other webhook is called, or is not.
async fn settled(space: &Space, pod: &Pod, meddled: bool) -> Result<Pod> {
    let begin = Instant::now();
    loop {
        let found = dry_run(space, pod).await?;
        if has_container(&found, PROXY) == meddled {
            return Ok(found);
        }
        ensure!(begin.elapsed() < LIMIT, "the other webhook is called: {}", !meddled);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The Pod without the token that the API server's own plugin mounts: into a container that came with the last call of a
/// webhook it mounts none.
fn plain(pod: &Pod) -> Result<Value> {
    let is_token = |item: &Value| item["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
    let mut value = json!({"annotations": pod.metadata.annotations, "labels": pod.metadata.labels, "spec": pod.spec});
    let spec = &mut value["spec"];
    let volumes = spec["volumes"].as_array_mut();
    volumes.into_iter().for_each(|list| list.retain(|item| !is_token(item)));
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array_mut();
            mounts.into_iter().for_each(|list| list.retain(|item| !is_token(item)));
            if container["volumeMounts"] == json!([]) {
                container["volumeMounts"] = Value::Null;
            }
        }
    }
    Ok(value)
}

/// What must be the same whoever comes first: containers by name, as their order is the order of those who added them, and
/// without the random keys.
fn canonical(pod: &Pod) -> Result<Value> {
    let mut value = plain(pod)?;
    for list in ["containers", "volumes"] {
        if let Some(list) = value["spec"][list].as_array_mut() {
            list.sort_by_key(|item| item["name"].as_str().unwrap_or_default().to_owned());
        }
    }
    let keys = env(pod, environment::AGENT_KEYS).context("no key for an agent")?;
    let keys: BTreeMap<String, String> = serde_json::from_str(&keys)?;
    ensure!(keys.keys().collect::<Vec<_>>() == [PROXY], "agents for {keys:?}");
    let text = keys.into_values().fold(value.to_string(), |text, key| text.replace(&key, "random"));
    Ok(serde_json::from_str(&text)?)
}

/// A variable of the sidecar.
fn env(pod: &Pod, variable: &str) -> Option<String> {
    let containers = &pod.spec.as_ref()?.containers;
    let sidecar = containers.iter().find(|container| container.name == name::SIDECAR_CONTAINER)?;
    sidecar.env.iter().flatten().find(|entry| entry.name == variable)?.value.clone()
}

/// The second webhook, limits, a marker that has settled, and the Pod that it selects; nothing where there is no lab.
async fn prepared(space: &Space, native: bool) -> Result<Option<(Hook, Pod)>> {
    let Some(hook) = Hook::start(space, proxy(space, native)?).await? else {
        println!("skipped: only the lab's API server reaches a webhook of the test's own");
        return Ok(None);
    };
    limit(space).await?;
    mark(space).await?;
    let pod = web(space)?;
    marker::settled(space, &pod).await?;
    Ok(Some((hook, pod)))
}

/// Every order and policy of reinvocation.
const WAYS: [(&str, bool); 4] = [("a-meddler", false), ("z-meddler", false), ("a-meddler", true), ("z-meddler", true)];

#[tokio::test(flavor = "multi_thread")]
async fn the_same_pod_comes_out_whether_another_webhook_is_called_before_ours_or_after() -> Result<()> {
    every_way("second", false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_where_the_other_webhook_adds_a_native_sidecar() -> Result<()> {
    every_way("second-native", true).await
}

async fn every_way(what: &'static str, native: bool) -> Result<()> {
    space::with(what, Labels::opted_in().restricted(), |space| async move {
        let Some((hook, pod)) = prepared(&space, native).await? else { return Ok(()) };
        let mut found = Vec::new();
        for (order, again) in WAYS {
            let name = format!("{order}-{}", space.name());
            hook.register(&space, &name, again).await?;
            let outcome = one_way(&space, &pod).await.with_context(|| format!("{order}, again: {again}"));
            hook::remove(&space, &name).await?;
            found.push(outcome?);
            settled(&space, &pod, false).await?;
        }
        for (way, other) in WAYS.iter().zip(&found).skip(1) {
            ensure!(found[0] == *other, "{way:?} gives {other:#}\nand {:?} gives {:#}", WAYS[0], found[0]);
        }
        Ok(())
    })
    .await
}

/// What comes out, and that nothing more comes out of what came out.
async fn one_way(space: &Space, pod: &Pod) -> Result<Value> {
    let once = settled(space, pod, true).await?;
    let annotations = once.metadata.annotations.clone().unwrap_or_default();
    ensure!(annotations.get("note").is_some_and(|note| note == "MIND THE GAP"), "{annotations:?}");
    let mut again = once.clone();
    again.metadata = kube::api::ObjectMeta {
        name: once.metadata.name.clone(),
        labels: once.metadata.labels.clone(),
        annotations: once.metadata.annotations.clone(),
        ..Default::default()
    };
    again.status = None;
    let twice = dry_run(space, &again).await?;
    let (first, second) = (plain(&once)?, plain(&twice)?);
    ensure!(first == second, "the second time:\n{second}\nthe first time:\n{first}");
    canonical(&once)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_another_webhook_added_after_us_is_probed_by_command_and_named_port() -> Result<()> {
    late("late", false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_a_native_sidecar_that_it_added_after_us() -> Result<()> {
    late("late-native", true).await
}

async fn late(what: &'static str, native: bool) -> Result<()> {
    space::with(what, Labels::opted_in().restricted(), |space| async move {
        let Some((hook, pod)) = prepared(&space, native).await? else { return Ok(()) };
        let name = format!("z-meddler-{}", space.name());
        hook.register(&space, &name, false).await?;
        let created = async {
            settled(&space, &pod, true).await?;
            space.create_object(&pod).await
        }
        .await;
        hook::remove(&space, &name).await?;
        created?;
        let all =
            |pod: &Pod| ["own", "exec", "port"].iter().all(|key| has_label(pod, &format!("x.example/{key}"), "true"));
        space.wait_for_pod("web", "to be marked by all three", LIMIT, all).await?;
        Ok(())
    })
    .await
}
