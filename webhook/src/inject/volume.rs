//! Volumes and mounts.

use probelet_protocol::name::{TOKEN_DIR, TOKEN_VOLUME};
use serde_json::{Value, json};

/// Lifetime that is asked for: an hour, and the seven seconds by which upstream tells such tokens
/// (kubernetes/kubernetes:plugin/pkg/admission/serviceaccount/admission.go); renewed at four fifths of it.
const TOKEN_SECONDS: u32 = 3607;

/// The sidecar's own token, the cluster's CA and the namespace: what the ServiceAccount volume has, but only for the
/// sidecar, and also where the Pod has automount off.
pub(super) fn token() -> Value {
    json!({
        "name": TOKEN_VOLUME,
        "projected": {"sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ]},
    })
}

pub(super) fn token_mount() -> Value {
    json!({"name": TOKEN_VOLUME, "mountPath": TOKEN_DIR, "readOnly": true})
}
