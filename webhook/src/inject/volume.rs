//! Volumes and mounts.

use probelet_protocol::name::{
    AGENT_DIR, AGENT_VOLUME, PLAN_ANNOTATION, PLAN_FILE, POLICIES_ANNOTATION, POLICIES_FILE, TOKEN_DIR, TOKEN_VOLUME,
};
use serde_json::{Value, json};

/// Lifetime that is asked for: an hour, and the seven seconds by which upstream tells such tokens
/// (kubernetes/kubernetes:plugin/pkg/admission/serviceaccount/admission.go); renewed at four fifths of it.
const TOKEN_SECONDS: u32 = 3607;

/// The sidecar's own token, the cluster's CA and the namespace: what the ServiceAccount volume has, but only for the
/// sidecar, and also where the Pod has automount off. Beside them the plan: the node writes edits of it into these files,
/// so that the sidecar learns of them without asking the API server.
pub(super) fn token() -> Value {
    json!({
        "name": TOKEN_VOLUME,
        "projected": {"sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                annotation(PLAN_FILE, PLAN_ANNOTATION),
                annotation(POLICIES_FILE, POLICIES_ANNOTATION),
            ]}},
        ]},
    })
}

fn annotation(file: &str, key: &str) -> Value {
    let path = format!("metadata.annotations['{key}']");
    json!({"path": file, "fieldRef": {"apiVersion": "v1", "fieldPath": path}})
}

/// Memory, so that nothing touches a disk; it holds one program of half a megabyte and a few sockets.
pub(super) fn agent() -> Value {
    json!({"name": AGENT_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}})
}

pub(super) fn agent_mount(read_only: bool) -> Value {
    let mut mount = json!({"name": AGENT_VOLUME, "mountPath": AGENT_DIR});
    if read_only {
        mount["readOnly"] = true.into();
    }
    mount
}

pub(super) fn token_mount() -> Value {
    json!({"name": TOKEN_VOLUME, "mountPath": TOKEN_DIR, "readOnly": true})
}
