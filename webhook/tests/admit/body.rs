//! Bodies that are no AdmissionReview: status 400 and the field's name.

use crate::harness::{Webhook, json, review};
use axum::http::StatusCode;
use serde_json::{Value, json};

async fn refused(body: String) -> String {
    let webhook = Webhook::with_marker();
    let (status, text) = webhook.send("/mutate-pods", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
    assert!(webhook.metrics.text().contains(r#"operation="mutate-pod",result="malformed""#));
    text
}

#[tokio::test]
async fn what_is_no_review_is_refused_by_field_with_what_is_allowed() {
    let change = |change: fn(&mut Value)| {
        let mut review = review(|_| {});
        change(&mut review);
        review.to_string()
    };
    for (body, message) in [
        (String::new(), "the body is empty, an AdmissionReview is expected"),
        (" \n".into(), "the body is empty"),
        ("{".into(), "the body is no AdmissionReview: .: EOF while parsing"),
        ("7".into(), "the body is no AdmissionReview: .: invalid type"),
        ("\u{1}".into(), "the body is no AdmissionReview: ."),
        (
            change(|review| review["kind"] = "Review".into()),
            r#"kind: "Review" is not supported, must be AdmissionReview"#,
        ),
        (
            change(|review| review["apiVersion"] = "admission.k8s.io/v1beta1".into()),
            r#"apiVersion: "admission.k8s.io/v1beta1" is not supported, must be admission.k8s.io/v1"#,
        ),
        (change(|review| review["request"] = Value::Null), "request: missing"),
        (change(|review| review["request"]["uid"] = "".into()), "request.uid: must not be empty"),
        (change(|review| review["request"]["uid"] = 7.into()), "request.uid: invalid type: integer `7`"),
        (change(|review| review["request"]["operation"] = json!([])), "request.operation: invalid type"),
        (
            change(|review| review["request"]["object"]["metadata"]["labels"] = json!({"a": 1})),
            "request.object.metadata.labels",
        ),
        (change(|review| review["request"]["object"] = "Pod".into()), "request.object: invalid type"),
    ] {
        let text = refused(body).await;
        assert!(text.contains(message), "{text}\nshould contain\n{message}");
    }
}

#[tokio::test]
async fn deep_json_is_refused_without_a_panic() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let body = review(|pod| pod["spec"]["deep"] = "HERE".into()).to_string().replace("\"HERE\"", &deep);
    let text = refused(body).await;
    assert!(text.contains("recursion limit exceeded"), "{text}");
}

/// Small objects, almost a million in 7 MiB; each would take hundreds of bytes of memory.
fn bomb() -> String {
    format!("[{}0]", r#"{"":0},"#.repeat(1_000_000))
}

#[tokio::test]
async fn a_pod_of_too_many_values_is_admitted_without_being_read() {
    let body = review(|pod| pod["spec"]["many"] = "HERE".into()).to_string().replace("\"HERE\"", &bomb());
    let webhook = Webhook::with_marker();
    for path in ["/mutate-pods", "/mutate-bindings"] {
        let body = if path == "/mutate-pods" { body.clone() } else { body.replace("\"pods\"", "\"bindings\"") };
        let (status, text) = webhook.send(path, body).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let answer = json(&text);
        assert_eq!(answer["response"]["allowed"], true, "{text}");
        assert_eq!(answer["response"]["patch"], Value::Null);
        let warning = "probelet: not injected: the object has more than 50000 JSON values";
        assert_eq!(answer["response"]["warnings"], json!([warning]));
    }
    let most = |pod: &mut Value| {
        let rest = 49_999 - pod.to_string().matches(['{', '[', ',']).count();
        pod["spec"]["many"] = vec![0; rest - 1].into();
        pod["metadata"]["annotations"]["text"] = "[{,\"".repeat(20_000).into();
    };
    assert_eq!(webhook.create(most).await.outcome(), "injected");
}

#[tokio::test]
async fn a_marker_of_too_many_values_is_refused_and_can_be_mended() {
    let mut review = json(include_str!("../fixtures/marker-review.json"));
    let request = &mut review["request"];
    request["operation"] = "UPDATE".into();
    request["oldObject"] = request["object"].clone();
    for (field, message) in
        [("object", Some("probelet: request.object: has more than 50000 JSON values")), ("oldObject", None)]
    {
        let mut review = review.clone();
        review["request"][field]["spec"]["many"] = "HERE".into();
        let body = review.to_string().replace("\"HERE\"", &bomb());
        let (status, text) = Webhook::empty().send("/validate-podprobemarkers", body).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let response = &json(&text)["response"];
        assert_eq!(response["allowed"], message.is_none(), "{text}");
        assert_eq!(response["status"]["message"].as_str(), message);
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let mut body = review(|_| {}).to_string().into_bytes();
    let at = body.iter().position(|byte| *byte == b'm').expect("m");
    body[at] = 0xff;
    let (status, _) = Webhook::with_marker().send("/mutate-pods", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn other_paths_and_methods_are_not_ours() {
    let webhook = Webhook::empty();
    assert_eq!(webhook.send("/mutate", "{}").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn odd_but_valid_specs_are_admitted() {
    for change in [
        (|pod| pod["spec"] = Value::Null) as fn(&mut Value),
        |pod| pod["spec"]["containers"] = Value::Null,
        |pod| pod["spec"]["containers"] = json!("x"),
        |pod| pod["spec"]["volumes"] = Value::Null,
        |pod| pod["spec"]["containers"][0]["env"] = json!([1, null]),
        |pod| {
            pod["spec"]["containers"][0]["ports"] =
                json!([{"containerPort": 1e9}, {"name": "http", "containerPort": "80"}])
        },
    ] {
        assert!(Webhook::with_marker().create(change).await.allowed);
    }
}
