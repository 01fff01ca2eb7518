//! Pods that are left byte for byte as they are, each for one reason.

use crate::harness::{Webhook, review};
use probelet_webhook::limit_range::LimitRangeItem;
use probelet_webhook::skip::SkipReason;
use serde_json::{Value, json};

/// A reason, and what makes it one.
type Row = (SkipReason, fn(&mut Value));

/// The reasons that are on the Pod itself.
fn rows() -> Vec<Row> {
    vec![
        (SkipReason::OptedOut, |pod| pod["metadata"]["labels"]["probelet.io/inject"] = "disabled".into()),
        (SkipReason::MirrorPod, |pod| pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x".into()),
        (SkipReason::WindowsPod, |pod| pod["spec"]["os"] = json!({"name": "windows"})),
        (SkipReason::WindowsPod, |pod| pod["spec"]["nodeSelector"]["kubernetes.io/os"] = "windows".into()),
        (SkipReason::NameTaken, |pod| pod["spec"]["containers"][1]["name"] = "probelet".into()),
        (SkipReason::NameTaken, |pod| pod["spec"]["initContainers"][0]["name"] = "probelet-agent".into()),
        (SkipReason::NameTaken, |pod| pod["spec"]["volumes"][0]["name"] = "probelet-token".into()),
        (SkipReason::NameTaken, |pod| {
            pod["spec"]["containers"][1]["name"] = "probelet-agent".into();
            pod["metadata"]["annotations"]["probelet.io/injected"] = "copied".into();
        }),
        (SkipReason::NoMarker, |pod| pod["metadata"]["labels"]["app"] = "other".into()),
        (SkipReason::NoMarker, |pod| pod["metadata"]["labels"] = Value::Null),
        (SkipReason::NoProbe, |pod| pod["spec"]["containers"][0]["name"] = "other".into()),
        (SkipReason::OrdinaryNode, |pod| {
            pod["spec"]["nodeSelector"] = json!({});
            pod["spec"]["tolerations"] = json!([]);
        }),
        (SkipReason::AnnotationsTooLarge, |pod| {
            pod["metadata"]["annotations"]["big"] = "x".repeat(256 * 1024 - 200).into();
        }),
        (SkipReason::TooManyValues, |pod| pod["spec"]["many"] = vec![0; 50_001].into()),
    ]
}

#[tokio::test]
async fn each_reason_leaves_the_pod_alone_and_is_counted() {
    let webhook = Webhook::with_marker();
    for (reason, change) in rows() {
        let reply = webhook.create(change).await;
        assert!(reply.is_unchanged(), "{reason}: {}", reply.patch);
        assert_eq!(reply.outcome(), format!("skipped: {reason}"));
        assert_eq!(!reply.warnings().is_empty(), reason.is_mistake(), "{reason}: {:?}", reply.warnings());
        let counted = format!(r#"operation="mutate-pod",result="skipped",reason="{}"}}"#, reason.as_str());
        assert!(webhook.metrics.text().contains(&counted), "{counted}");
    }
}

#[tokio::test]
async fn nothing_is_refused_or_warned_of_on_ordinary_nodes() {
    for change in [
        (|pod| pod["metadata"]["annotations"]["probelet.io/peroid"] = "1s".into()) as fn(&mut Value),
        |pod| pod["metadata"]["annotations"]["kruise.io/podprobe"] = "{".into(),
        |pod| pod["spec"]["containers"][0]["name"] = "other".into(),
        |pod| pod["spec"]["containers"][1]["name"] = "probelet".into(),
    ] {
        let ordinary = |pod: &mut Value| {
            pod["spec"]["nodeSelector"] = json!({"type": "ordinary"});
            change(pod);
        };
        let reply = Webhook::with_marker().create(ordinary).await;
        assert!(reply.is_unchanged());
        assert_eq!((reply.warnings().len(), reply.outcome()), (0, "skipped: the Pod is not bound for a virtual node"));
    }
}

#[tokio::test]
async fn namespaces_decide_first() {
    let webhook = Webhook::with_marker();
    for (namespace, labels, reason) in [
        ("kube-system", Some("enabled"), SkipReason::ExemptNamespace),
        ("probelet-system", Some("enabled"), SkipReason::ExemptNamespace),
        ("plain", Some("disabled"), SkipReason::NotOptedIn),
        ("bare", None, SkipReason::NotOptedIn),
    ] {
        let labels = labels.map(|value| ("probelet.io/inject".to_owned(), value.to_owned())).into_iter().collect();
        webhook.cluster.set_namespace(namespace, labels);
        let mut review = review(|pod| pod["metadata"]["labels"]["probelet.io/inject"] = "enabled".into());
        review["request"]["namespace"] = namespace.into();
        let reply = webhook.review("/mutate-pods", &review).await;
        assert!(reply.is_unchanged());
        assert_eq!(reply.outcome(), format!("skipped: {reason}"), "{namespace}");
    }
}

#[tokio::test]
async fn other_requests_pass() {
    let webhook = Webhook::with_marker();
    for change in [
        (|request| request["operation"] = "UPDATE".into()) as fn(&mut Value),
        |request| request["operation"] = "DELETE".into(),
        |request| request["object"] = Value::Null,
        |request| request["subResource"] = "status".into(),
        |request| request["resource"] = json!({"group": "apps", "version": "v1", "resource": "pods"}),
        |request| request["resource"]["resource"] = "services".into(),
        |request| {
            request["resource"]["resource"] = "things".into();
            request["object"] = json!({"metadata": {"labels": [1]}});
        },
    ] {
        let mut review = review(|_| {});
        change(&mut review["request"]);
        for path in ["/mutate-pods", "/mutate-bindings", "/validate-podprobemarkers"] {
            let reply = webhook.review(path, &review).await;
            assert!(reply.is_unchanged());
            assert_eq!(reply.outcome(), "skipped: nothing is decided for such a request");
        }
    }
}

#[tokio::test]
async fn an_unknown_value_of_the_label_is_told_and_ignored() {
    let reply =
        Webhook::with_marker().create(|pod| pod["metadata"]["labels"]["probelet.io/inject"] = "yes".into()).await;
    assert_eq!(reply.outcome(), "injected");
    assert!(reply.warnings()[0].contains(r#"label probelet.io/inject: "yes" is neither enabled nor disabled"#));
}

#[tokio::test]
async fn a_pod_without_room_for_the_sidecar_in_a_limit_range_passes_as_it_is() {
    let with_limit = |pod: &mut Value, limit: &str| {
        pod["spec"]["initContainers"] = json!([]);
        for container in pod["spec"]["containers"].as_array_mut().expect("containers") {
            container["resources"] = json!({"requests": {"memory": "10Mi"}, "limits": {"memory": limit}});
        }
    };
    let webhook = Webhook::with_marker();
    let items: Vec<LimitRangeItem> =
        serde_json::from_value(json!([{"type": "Pod", "max": {"memory": "64Mi"}}])).expect("items");
    webhook.cluster.set_limit_range("games", "pods", items);
    // Both containers: 64Mi, which is refused only with the sidecar; 32Mi; 80Mi, which is refused in any case.
    for (limit, outcome) in [
        ("32Mi", "skipped: with the sidecar the Pod would exceed a LimitRange of type Pod"),
        ("16Mi", "injected"),
        ("40Mi", "injected"),
    ] {
        let reply = webhook.create(|pod| with_limit(pod, limit)).await;
        assert_eq!(reply.outcome(), outcome, "{limit}");
        let warning =
            "probelet: not injected: with the sidecar the Pod would exceed a LimitRange of type Pod".to_owned();
        assert_eq!(reply.warnings().contains(&warning), reply.is_unchanged(), "{limit}: {:?}", reply.warnings());
    }
    let counted = r#"operation="mutate-pod",result="skipped",reason="pod_limit_range"}"#;
    assert!(webhook.metrics.text().contains(counted));
}
