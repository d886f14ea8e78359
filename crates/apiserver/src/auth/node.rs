//! What a node's kubelet may do: its own Node and Lease, the pods bound to it, and what those refer to.

use super::{Attributes, AuthorizeError, User};
use crate::{envelope, object, registry::key};
use orrery_machinery::{
    meta,
    status::{ApiError, Target},
};
use orrery_store::{RangeRequest, Store};
use serde_json::Value;
use std::sync::Arc;

/// Labels with this prefix on a Node are for administrators only.
const RESTRICTED_LABELS: &str = "node-restriction.kubernetes.io/";

/// What the node authorizer decides.
pub(crate) enum Decision {
    Allow,
    /// Not allowed by this authorizer, for this reason; RBAC may allow it still.
    NoOpinion(String),
}

/// Reads what the decisions depend on.
pub(crate) struct NodeView {
    store: Arc<dyn Store>,
}

impl NodeView {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Whether the pod is bound to the node, or is gone: then the node is to hear 404, as it may have deleted it itself.
    async fn is_bound_or_gone(&self, node: &str, namespace: &str, pod: &str) -> Result<bool, AuthorizeError> {
        let key = key::object("", "pods", namespace, pod);
        let entry = self.store.get(&key).await.map_err(|error| AuthorizeError::Unknown(error.to_string()))?;
        let Some(entry) = entry else { return Ok(true) };
        let pod = envelope::decode_stored(&entry).map_err(|error| AuthorizeError::Unknown(error.message))?;
        Ok(object::text(&pod, "/spec/nodeName") == node)
    }

    async fn refers(&self, node: &str, asked: &Attributes) -> Result<bool, AuthorizeError> {
        let prefix = key::prefix("", "pods", &asked.namespace);
        let request = RangeRequest { prefix, ..RangeRequest::default() };
        let page = self.store.range(request).await.map_err(|error| AuthorizeError::Unknown(error.to_string()))?;
        for entry in &page.entries {
            let pod = envelope::decode_stored(entry).map_err(|error| AuthorizeError::Unknown(error.message))?;
            if object::text(&pod, "/spec/nodeName") == node && refers_to(&pod, &asked.resource, &asked.name) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Decides for the node's kubelet.
pub(crate) async fn decide(view: &NodeView, node: &str, asked: &Attributes) -> Result<Decision, AuthorizeError> {
    if asked.path.is_some() {
        return Ok(no("nodes have no rights to this path"));
    }
    let verb = asked.verb.as_str();
    let reads = matches!(verb, "get" | "list" | "watch");
    let writes = matches!(verb, "update" | "patch");
    let all_pods = asked.namespace.is_empty() || asked.name.is_empty();
    Ok(match (asked.group.as_str(), asked.resource.as_str(), asked.subresource.as_str()) {
        ("", "nodes", "" | "status") => own_node(node, asked),
        ("coordination.k8s.io", "leases", "") => own_lease(node, asked),
        ("", "pods", "") if matches!(verb, "list" | "watch") => {
            let own = format!("spec.nodeName={node}");
            let selected = asked.field_selector.split(',').any(|term| term.replacen("==", "=", 1) == own);
            allow_if(selected, "can only list and watch pods with the field selector spec.nodeName of this node")
        }
        ("", "pods", "" | "status") if !all_pods && (verb == "get" || allowed_on_pod(verb, &asked.subresource)) => {
            let related = view.is_bound_or_gone(node, &asked.namespace, &asked.name).await?;
            allow_if(related, "no relationship found between this node and the pod")
        }
        ("" | "events.k8s.io", "events", "") => {
            allow_if(verb == "create" || writes, "can only create, update and patch events")
        }
        ("", "configmaps" | "secrets" | "persistentvolumeclaims", "") => {
            if verb != "get" || asked.name.is_empty() {
                return Ok(no("can only get individual resources of this type"));
            }
            let related = view.refers(node, asked).await?;
            allow_if(related, "no relationship found between this node and this object")
        }
        ("", "services" | "endpoints", "") | ("discovery.k8s.io", "endpointslices", "") => {
            allow_if(reads, "can only read services and their endpoints")
        }
        ("authentication.k8s.io", "tokenreviews", "") | ("authorization.k8s.io", "subjectaccessreviews", "") => {
            allow_if(verb == "create", "can only create reviews")
        }
        _ => no("nodes have no rights to this resource"),
    })
}

fn no(why: &str) -> Decision {
    Decision::NoOpinion(why.to_owned())
}

fn allow_if(allowed: bool, why: &str) -> Decision {
    if allowed { Decision::Allow } else { no(why) }
}

fn allowed_on_pod(verb: &str, subresource: &str) -> bool {
    if subresource.is_empty() { verb == "delete" } else { matches!(verb, "update" | "patch") }
}

fn own_node(node: &str, asked: &Attributes) -> Decision {
    let own = match asked.verb.as_str() {
        // Which name is created shows only in the body; `check_node_write` looks at it.
        "create" => asked.subresource.is_empty(),
        "get" | "update" | "patch" => asked.name == node,
        "list" | "watch" => asked.name == node || asked.field_selector == format!("metadata.name={node}"),
        _ => false,
    };
    allow_if(own, "node can only read and change its own Node object, and not delete it")
}

fn own_lease(node: &str, asked: &Attributes) -> Decision {
    let own = asked.namespace == "kube-node-lease"
        && match asked.verb.as_str() {
            "create" => true,
            "get" | "update" | "patch" | "delete" => asked.name == node,
            _ => false,
        };
    allow_if(own, "can only access the lease with the same name as the requesting node in kube-node-lease")
}

/// Whether a pod refers to the object `name` of `resource` in its namespace.
fn refers_to(pod: &Value, resource: &str, name: &str) -> bool {
    let (volume, source, key_ref, all_ref) = match resource {
        "secrets" => ("/secret/secretName", "/secret/name", "/valueFrom/secretKeyRef/name", "/secretRef/name"),
        "configmaps" => ("/configMap/name", "/configMap/name", "/valueFrom/configMapKeyRef/name", "/configMapRef/name"),
        "persistentvolumeclaims" => {
            let volumes = object::list(pod, "/spec/volumes").iter();
            return volumes.into_iter().any(|v| object::text(v, "/persistentVolumeClaim/claimName") == name);
        }
        _ => return false,
    };
    let pull = resource == "secrets"
        && object::list(pod, "/spec/imagePullSecrets").iter().any(|secret| object::text(secret, "/name") == name);
    let volumes = object::list(pod, "/spec/volumes").iter().any(|v| {
        object::text(v, volume) == name
            || object::list(v, "/projected/sources").iter().any(|s| object::text(s, source) == name)
    });
    let lists = ["/spec/containers", "/spec/initContainers", "/spec/ephemeralContainers"];
    let containers = lists.iter().flat_map(|list| object::list(pod, list)).any(|container| {
        object::list(container, "/env").iter().any(|env| object::text(env, key_ref) == name)
            || object::list(container, "/envFrom").iter().any(|from| object::text(from, all_ref) == name)
    });
    pull || volumes || containers
}

/// Checks what only the object of a write shows: a kubelet writes no other node's Node and Lease, and not the parts of its
/// own that decide where pods go. Other users pass.
pub(crate) fn check_node_write(
    user: &User,
    group: &str,
    resource: &str,
    subresource: &str,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let Some(node) = user.node_name() else { return Ok(()) };
    let name = meta::name(new);
    let refuse = |why: &str| Err(ApiError::forbidden(Target { group, resource, name }, why));
    match (group, resource, subresource) {
        ("", "nodes", _) | ("coordination.k8s.io", "leases", _) if name != node => {
            refuse(&format!("node {node:?} is not allowed to modify {resource} {name:?}"))
        }
        ("", "nodes", _) => {
            let label = |object: &Value| -> Vec<(String, Value)> {
                let all = meta::labels(object).into_iter().flatten();
                all.filter(|(key, _)| is_restricted(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
            };
            if label(new) != old.map(label).unwrap_or_default() {
                return refuse(&format!("is not allowed to modify labels under {RESTRICTED_LABELS}"));
            }
            match old {
                Some(old) if old["spec"]["taints"] != new["spec"]["taints"] => {
                    refuse(&format!("node {node:?} is not allowed to modify taints"))
                }
                _ => Ok(()),
            }
        }
        ("", "pods", "status") => match old {
            Some(old) if old["metadata"]["labels"] != new["metadata"]["labels"] => {
                refuse(&format!("node {node:?} cannot update labels through pod status"))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn is_restricted(label: &str) -> bool {
    label.starts_with(RESTRICTED_LABELS) || label.contains(&format!(".{RESTRICTED_LABELS}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_refers_to_what_its_volumes_environment_and_pull_secrets_name() {
        let pod = json!({"spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "vol"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "proj"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "all"}}]}],
            "containers": [{"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "one", "key": "k"}}}]}],
        }});
        let table = [
            ("secrets", "pull", true),
            ("secrets", "vol", true),
            ("secrets", "one", true),
            ("secrets", "proj", false),
            ("configmaps", "proj", true),
            ("configmaps", "all", true),
            ("configmaps", "vol", false),
            ("persistentvolumeclaims", "claim", true),
            ("persistentvolumeclaims", "other", false),
            ("services", "vol", false),
        ];
        for (resource, name, expected) in table {
            assert_eq!(refers_to(&pod, resource, name), expected, "{resource} {name}");
        }
    }

    #[test]
    fn a_kubelet_writes_only_its_own_node_and_no_restricted_labels_or_taints() {
        let user = User::new("system:node:a", ["system:nodes"]);
        let node = |name: &str, labels: Value, taints: Value| json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
        let plain = node("a", json!({"x": "y"}), json!([]));
        let check = |new: &Value, old: Option<&Value>| check_node_write(&user, "", "nodes", "", new, old).is_ok();
        assert!(check(&plain, None));
        assert!(!check(&node("b", json!({}), json!([])), None));
        assert!(!check(&node("a", json!({"node-restriction.kubernetes.io/tier": "x"}), json!([])), Some(&plain)));
        assert!(!check(&node("a", json!({"x": "y"}), json!([{"key": "k"}])), Some(&plain)));
        assert!(check(&node("a", json!({"x": "z"}), json!([])), Some(&plain)));
    }
}
