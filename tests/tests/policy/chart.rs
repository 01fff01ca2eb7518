//! Values of the chart that need something which the lab has not, or that cannot be.

use crate::install::{rendered, until};
use crate::request;
use crate::stage::Stage;
use anyhow::{Result, ensure};
use probelet_tests::{binary, work_tree};
use serde_json::{Value, json};
use std::process::Command;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// As much of cert-manager's definitions as the chart uses, fields that it does not use left out
/// (cert-manager/cert-manager:deploy/crds): a field that is not declared is refused.
fn definition(kind: &str, plural: &str, spec: &Value) -> Value {
    let schema = json!({"type": "object", "properties": {"spec": spec}, "required": ["spec"]});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.cert-manager.io")},
        "spec": {"group": "cert-manager.io", "scope": "Namespaced", "versions": [version],
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()}},
    })
}

fn definitions() -> [Value; 2] {
    let text = json!({"type": "string"});
    let choice = |values: &[&str]| json!({"type": "string", "enum": values});
    let key = json!({"type": "object", "properties": {
        "algorithm": choice(&["RSA", "ECDSA", "Ed25519"]), "rotationPolicy": choice(&["Never", "Always"])}});
    let issuer = json!({"type": "object", "required": ["name"], "properties": {
        "name": text, "kind": text, "group": text}});
    let certificate = json!({"type": "object", "required": ["issuerRef", "secretName"], "properties": {
        "secretName": text, "dnsNames": {"type": "array", "items": text}, "privateKey": key, "issuerRef": issuer,
        "isCA": {"type": "boolean"}, "commonName": text, "duration": text}});
    let ca = json!({"type": "object", "required": ["secretName"], "properties": {"secretName": text}});
    let issuer = json!({"type": "object", "properties": {"ca": ca, "selfSigned": {"type": "object", "properties": {
        "crlDistributionPoints": {"type": "array", "items": text}}}}});
    [definition("Certificate", "certificates", &certificate), definition("Issuer", "issuers", &issuer)]
}

#[tokio::test]
async fn what_is_rendered_for_cert_manager_is_accepted_by_its_definitions() -> Result<()> {
    let stage = Stage::new(false).await?;
    let mut made = Vec::new();
    for definition in definitions() {
        let answer = request::create(&stage.admin, DEFINITIONS, &definition).await?;
        ensure!(matches!(answer.code, 201 | 409), "{}", answer.message());
        if answer.code == 201 {
            made.push(format!("{DEFINITIONS}/{}", definition["metadata"]["name"].as_str().unwrap_or_default()));
        }
    }
    let path = |plural: &str| format!("/apis/cert-manager.io/v1/namespaces/{}/{plural}", stage.namespace);
    for plural in ["certificates", "issuers"] {
        until("the definitions are served", async || Ok(request::read(&stage.admin, &path(plural)).await?.code == 200))
            .await?;
    }
    let mut seen = Vec::new();
    for document in rendered("golden/cert-manager.yaml")? {
        for (kind, plural) in [("Issuer", "issuers"), ("Certificate", "certificates")] {
            if document.is(kind) {
                let yaml =
                    document.yaml().replace("namespace: probelet-system", &format!("namespace: {}", stage.namespace));
                let name = if document.is_named("probelet-webhook") { "" } else { "-ca" };
                let at = format!("{}/probelet-webhook{name}", path(plural));
                let answer = request::apply(&stage.admin, &at, &yaml, true).await?;
                ensure!(answer.code < 300, "{kind}: {} {}", answer.code, answer.message());
                let misspelt = yaml.replace("\nspec:\n", "\nspec:\n  nonsense: true\n");
                ensure!(request::apply(&stage.admin, &at, &misspelt, true).await?.code >= 400, "{kind}: anything goes");
                seen.push(answer.body);
            }
        }
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            if document.is(kind) {
                let body = document.as_json(&stage.admin).await?;
                let from = &body["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
                ensure!(from == "probelet-system/probelet-webhook", "{kind}: {from}");
                seen.push(body);
            }
        }
    }
    for path in made {
        request::delete(&stage.admin, &path).await?;
    }
    ensure!(seen.len() == 6, "{} objects", seen.len());
    let spec = |kind: &str, name: &str| {
        let found = seen.iter().find(|body| body["kind"] == kind && body["metadata"]["name"] == name);
        found.map_or(Value::Null, |body| body["spec"].clone())
    };
    let (serving, authority) = (spec("Certificate", "probelet-webhook"), spec("Certificate", "probelet-webhook-ca"));
    ensure!(serving["dnsNames"] == json!(["probelet-webhook.probelet-system.svc"]), "{serving}");
    ensure!(serving["issuerRef"]["name"] == "probelet-webhook", "{serving}");
    ensure!(authority["isCA"] == true && authority["privateKey"]["rotationPolicy"] == "Never", "{authority}");
    ensure!(spec("Issuer", "probelet-webhook")["ca"]["secretName"] == authority["secretName"], "{authority}");
    ensure!(authority["secretName"] != serving["secretName"], "{serving}");
    stage.end().await
}

/// What helm says of these values.
fn render(values: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(binary::program("helm")?);
    command.args(["template", "probelet"]).arg(work_tree().join("manifests/chart"));
    for value in values {
        command.args(["--set", value]);
    }
    let output = command.output()?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn values_that_cannot_work_are_refused_by_name() -> Result<()> {
    for (values, expected) in [
        (&["drain=10s"][..], ""),
        (&["drain=1m", "terminationGracePeriodSeconds=70"], ""),
        (&["drain=10s500ms"], "terminationGracePeriodSeconds is 20: it must be at least 10 more than drain (10s500ms)"),
        (&["terminationGracePeriodSeconds=14"], "terminationGracePeriodSeconds is 14"),
        (&["drain=soon"], "drain"),
        (&["webhook.timeoutSeconds=6"], "timeoutSeconds"),
        (&["tls.mode=secret"], "tls.caBundle is required"),
        (&["workers=0"], "workers"),
    ] {
        let (accepted, said) = render(values)?;
        assert_eq!(accepted, expected.is_empty(), "{values:?}: {said}");
        assert!(said.contains(expected), "{values:?}: {said}");
    }
    Ok(())
}
