//! A Pod's requests and limits as LimitRanges of type `Pod` count them
//! (kubernetes/kubernetes:plugin/pkg/admission/limitranger/admission.go `podRequests`, `podLimits`).

use super::amount;
use crate::limit_range::Bounds;
use crate::pod::{Pod, is_native_sidecar};
use crate::quantity::Quantity;
use serde_json::Value;

/// Whether a Pod's sums keep within the bounds for Pods.
pub fn is_within(pod: &Pod, bounds: &[Bounds; 2]) -> bool {
    bounds.iter().zip(["cpu", "memory"]).filter(|(bounds, _)| bounds.has_pod_bound()).all(|(bounds, resource)| {
        let limit = |container: &Value| amount(container, "limits", resource);
        // The API server fills in a missing request; a Pod that did not pass it yet may lack it.
        let request = |container: &Value| amount(container, "requests", resource).or_else(|| limit(container));
        bounds.allows_pod(total(pod, request), total(pod, limit))
    })
}

/// Containers and native sidecars run together; an init container runs with the native sidecars before it. `None` where
/// none has the amount.
fn total(pod: &Pod, amount: impl Fn(&Value) -> Option<Quantity>) -> Option<Quantity> {
    let mut together = pod.containers().iter().map(&amount).fold(None, add);
    let mut natives = None;
    let mut most = None;
    for container in pod.init_containers() {
        let own = amount(container);
        let at_once = add(natives, own);
        if is_native_sidecar(container) {
            together = add(together, own);
            natives = at_once;
        }
        most = most.max(at_once);
    }
    together.max(most)
}

fn add(a: Option<Quantity>, b: Option<Quantity>) -> Option<Quantity> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.plus(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_containers_count_as_far_as_they_run_with_others() {
        let container = |limit: &str| json!({"resources": {"limits": {"cpu": limit}}});
        let native = |limit: &str| json!({"restartPolicy": "Always", "resources": {"limits": {"cpu": limit}}});
        for (message, containers, init, expected) in [
            ("no limit at all", json!([{}]), json!([]), None),
            ("a sum of those that have one", json!([container("1"), {}, container("2")]), json!([]), Some("3")),
            ("a smaller init container", json!([container("2")]), json!([container("1")]), Some("2")),
            ("a larger init container", json!([container("2")]), json!([container("3")]), Some("3")),
            ("a native sidecar", json!([container("2")]), json!([native("1")]), Some("3")),
            ("an init container after it", json!([container("1")]), json!([native("1"), container("2")]), Some("3")),
            ("an init container before it", json!([container("1")]), json!([container("2"), native("1")]), Some("2")),
        ] {
            let pod = json!({"spec": {"containers": containers, "initContainers": init}});
            let pod: Pod = serde_json::from_value(pod).expect("pod");
            let limit = total(&pod, |container| amount(container, "limits", "cpu"));
            assert_eq!(limit, expected.map(|text| text.parse().expect("quantity")), "{message}");
        }
    }
}
