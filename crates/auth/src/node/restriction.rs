//! What a kubelet may write, as far as only the object shows: no other node's objects, and not the parts of its own that
//! decide where pods go. Pure. The rules are upstream's admission plugin `NodeRestriction`
//! (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>).

use crate::User;
use orrery_machinery::{
    meta,
    status::{ApiError, Target},
};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509CertificationRequest};

/// Labels with this prefix on a Node are for administrators only.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Labels of Kubernetes' own domains that a kubelet sets on its node.
const KUBELET_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
/// Domains of labels that a kubelet sets on its node as it likes.
const KUBELET_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];
/// Says that a pod is a kubelet's own, shown in the API only.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A write by somebody who may be a kubelet.
#[derive(Debug, Clone, Copy)]
pub struct NodeWrite<'a> {
    /// The API group.
    pub group: &'a str,
    /// The plural.
    pub resource: &'a str,
    /// Such as `status`.
    pub subresource: &'a str,
    /// The object to be written.
    pub new: &'a Value,
    /// The object as it is; none when it is created.
    pub old: Option<&'a Value>,
}

/// Checks a write. Users who are no kubelets pass.
///
/// # Errors
/// 403 with the reason.
pub fn restrict(user: &User, write: &NodeWrite<'_>) -> Result<(), ApiError> {
    let Some(node) = user.node_name() else { return Ok(()) };
    let name = meta::name(write.new);
    let checked = match (write.group, write.resource, write.subresource) {
        ("", "nodes", _) => check_node(node, write),
        ("", "pods", "") => check_mirror(node, write),
        ("", "pods", "status") => check_pod_status(node, write),
        ("", "persistentvolumeclaims", "status") => check_claim_status(node, write),
        ("coordination.k8s.io", "leases", _) => own(node, name, meta::namespace(write.new) == "kube-node-lease"),
        ("storage.k8s.io", "csinodes", _) => own(node, name, true),
        ("certificates.k8s.io", "certificatesigningrequests", "") => check_signing_request(user, write.new),
        _ => Ok(()),
    };
    let target = Target { group: write.group, resource: write.resource, name };
    checked.map_err(|why| ApiError::forbidden(target, &why))
}

fn own(node: &str, name: &str, here: bool) -> Result<(), String> {
    if here && name == node { Ok(()) } else { Err(format!("node {node:?} is not allowed to modify {name:?}")) }
}

fn check_node(node: &str, write: &NodeWrite<'_>) -> Result<(), String> {
    let name = meta::name(write.new);
    if name != node {
        return Err(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    let (new, old) = (write.new, write.old);
    let modified = modified_labels(new, old);
    // At first a kubelet may set any label but the restricted ones and unknown ones of Kubernetes' domains; later only
    // those that it is known to set, as others decide where pods go.
    let forbidden: Vec<&str> = modified.into_iter().filter(|label| !may_label(label)).collect();
    if !forbidden.is_empty() {
        return Err(format!("is not allowed to modify labels: {}", forbidden.join(", ")));
    }
    let empty = json!([]);
    let list =
        |object: &'_ Value, pointer: &str| object.pointer(pointer).filter(|v| !v.is_null()).unwrap_or(&empty).clone();
    if let Some(old) = old {
        if list(old, "/spec/taints") != list(new, "/spec/taints") {
            return Err(format!("node {node:?} is not allowed to modify taints"));
        }
        if list(old, "/metadata/ownerReferences") != list(new, "/metadata/ownerReferences") {
            return Err(format!("node {node:?} is not allowed to modify ownerReferences"));
        }
    }
    let source = |object: &Value| object.pointer("/spec/configSource").cloned().unwrap_or(Value::Null);
    if source(new) != old.map_or(Value::Null, source) {
        return Err(format!("node {node:?} is not allowed to change its configSource"));
    }
    Ok(())
}

/// The labels that a write sets, changes or removes.
fn modified_labels<'a>(new: &'a Value, old: Option<&'a Value>) -> Vec<&'a str> {
    let (new, old) = (meta::labels(new), old.and_then(meta::labels));
    let value =
        |labels: Option<&'a serde_json::Map<String, Value>>, key: &str| labels.and_then(|all| all.get(key)).cloned();
    let keys = new.into_iter().chain(old).flat_map(|labels| labels.keys());
    let mut modified: Vec<&str> = keys.filter(|key| value(new, key) != value(old, key)).map(String::as_str).collect();
    modified.sort_unstable();
    modified.dedup();
    modified
}

fn may_label(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    if within(RESTRICTED) {
        return false;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    !kubernetes || KUBELET_LABELS.contains(&label) || KUBELET_DOMAINS.iter().any(|parent| within(parent))
}

fn check_mirror(node: &str, write: &NodeWrite<'_>) -> Result<(), String> {
    let pod = write.new;
    if write.old.is_some() {
        return Err(format!("unexpected operation, node {node:?} can only create and delete mirror pods"));
    }
    let name = meta::name(pod);
    if pod["metadata"]["annotations"].get(MIRROR).is_none() {
        return Err(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if pod["spec"]["nodeName"] != node {
        return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owners = pod["metadata"]["ownerReferences"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let own = |owner: &Value| {
        owner["apiVersion"] == "v1"
            && owner["kind"] == "Node"
            && owner["name"] == node
            && owner["controller"] == true
            && owner["blockOwnerDeletion"] != true
    };
    if owners.len() > 1 || !owners.iter().all(own) {
        return Err(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    if pod["spec"]["serviceAccountName"].as_str().is_some_and(|account| !account.is_empty() && account != "default") {
        return Err(format!("node {node:?} can not create pods that reference a service account: {name:?}"));
    }
    let referenced = super::references::references(pod);
    if let Some((kind, name)) = referenced.iter().find(|(kind, _)| *kind != super::references::Kind::Account) {
        return Err(format!("node {node:?} can not create pods that reference other objects: {kind:?} {name:?}"));
    }
    Ok(())
}

fn check_pod_status(node: &str, write: &NodeWrite<'_>) -> Result<(), String> {
    let Some(old) = write.old else { return Ok(()) };
    if old["spec"]["nodeName"] != node {
        return Err(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"));
    }
    if old["metadata"]["labels"] != write.new["metadata"]["labels"] {
        return Err(format!("node {node:?} cannot update labels through pod status"));
    }
    if old["status"]["resourceClaimStatuses"] != write.new["status"]["resourceClaimStatuses"] {
        return Err(format!("node {node:?} cannot update resource claim statuses"));
    }
    Ok(())
}

/// A kubelet asks for certificates of its own name only.
fn check_signing_request(user: &User, request: &Value) -> Result<(), String> {
    let signer = request["spec"]["signerName"].as_str().unwrap_or("");
    if !matches!(signer, "kubernetes.io/kubelet-serving" | "kubernetes.io/kube-apiserver-client-kubelet") {
        return Ok(());
    }
    let name = request["spec"]["request"].as_str().and_then(common_name);
    if name.as_deref() == Some(user.name()) {
        return Ok(());
    }
    Err(format!("can only create a node CSR with CN={}", user.name()))
}

/// The common name in a signing request (base64 of PEM); none when it is malformed.
fn common_name(request: &str) -> Option<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let pem = pem::parse(STANDARD.decode(request).ok()?).ok()?;
    let (_, parsed) = X509CertificationRequest::from_der(pem.contents()).ok()?;
    let name = parsed.certification_request_info.subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    Some(name)
}

/// A kubelet tells how far a claim has grown, and nothing else.
fn check_claim_status(node: &str, write: &NodeWrite<'_>) -> Result<(), String> {
    let Some(old) = write.old else { return Ok(()) };
    let rest = |object: &Value| {
        let mut object = object.clone();
        for field in ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"] {
            if let Some(status) = object["status"].as_object_mut() {
                status.remove(field);
            }
        }
        if object["status"].as_object().is_none_or(serde_json::Map::is_empty) {
            object.as_object_mut().map(|object| object.remove("status"));
        }
        let metadata = meta::metadata_mut(&mut object);
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
        object
    };
    if rest(old) == rest(write.new) {
        return Ok(());
    }
    Err(format!("node {node:?} is not allowed to update fields other than status.quantity and status.conditions"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubelet() -> User {
        User::new("system:node:a", ["system:nodes"])
    }

    fn check(resource: &str, subresource: &str, new: &Value, old: Option<&Value>) -> Result<(), String> {
        let group = match resource {
            "leases" => "coordination.k8s.io",
            "csinodes" => "storage.k8s.io",
            "certificatesigningrequests" => "certificates.k8s.io",
            _ => "",
        };
        let write = NodeWrite { group, resource, subresource, new, old };
        restrict(&kubelet(), &write).map_err(|error| error.message)
    }

    fn node(name: &str, labels: &Value, taints: &Value) -> Value {
        json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}})
    }

    #[test]
    fn a_kubelet_writes_its_own_node_only_and_no_taints() {
        let plain = node("a", &json!({"x": "y"}), &json!([]));
        check("nodes", "", &plain, None).unwrap();
        check("nodes", "status", &plain, Some(&plain)).unwrap();
        check("nodes", "", &node("a", &json!({"x": "z"}), &Value::Null), Some(&plain)).unwrap();
        check("nodes", "", &node("b", &json!({}), &json!([])), None).unwrap_err();
        check("nodes", "", &node("a", &json!({"x": "y"}), &json!([{"key": "k"}])), Some(&plain)).unwrap_err();
        let mut owned = plain.clone();
        owned["metadata"]["ownerReferences"] = json!([{"name": "x"}]);
        check("nodes", "", &owned, Some(&plain)).unwrap_err();
        // Taints may be there from the beginning.
        check("nodes", "", &node("a", &json!({}), &json!([{"key": "k"}])), None).unwrap();
    }

    #[test]
    fn a_kubelet_sets_only_labels_that_kubelets_set() {
        let table = [
            ("own.example/x", true),
            ("plain", true),
            ("kubernetes.io/hostname", true),
            ("topology.kubernetes.io/zone", true),
            ("node.kubernetes.io/anything", true),
            ("x.kubelet.kubernetes.io/anything", true),
            ("kubernetes.io/other", false),
            ("other.k8s.io/x", false),
            ("node-role.kubernetes.io/control-plane", false),
            ("node-restriction.kubernetes.io/tier", false),
            ("a.node-restriction.kubernetes.io/tier", false),
            ("notkubernetes.io/x", true),
        ];
        let plain = node("a", &json!({}), &json!([]));
        for (label, allowed) in table {
            let labelled = node("a", &json!({label: "x"}), &json!([]));
            assert_eq!(check("nodes", "", &labelled, Some(&plain)).is_ok(), allowed, "set {label}");
            assert_eq!(check("nodes", "", &labelled, None).is_ok(), allowed, "create with {label}");
            assert_eq!(check("nodes", "", &plain, Some(&labelled)).is_ok(), allowed, "remove {label}");
            check("nodes", "", &labelled, Some(&labelled)).unwrap();
        }
    }

    #[test]
    fn a_kubelet_creates_only_mirror_pods_of_its_own_that_need_nothing() {
        let mirror = json!({"metadata": {"name": "p", "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "1", "controller": true}]},
            "spec": {"nodeName": "a", "containers": []}});
        check("pods", "", &mirror, None).unwrap();
        check("pods", "", &mirror, Some(&mirror)).unwrap_err();
        let mut changes: Vec<(&str, Value)> = vec![
            ("/metadata/annotations", json!({})),
            ("/spec/nodeName", json!("b")),
            (
                "/metadata/ownerReferences",
                json!([{"apiVersion": "v1", "kind": "Node", "name": "b", "controller": true}]),
            ),
        ];
        changes.push(("/spec/containers", json!([{"envFrom": [{"secretRef": {"name": "s"}}]}])));
        for (pointer, value) in changes {
            let mut pod = mirror.clone();
            *pod.pointer_mut(pointer).unwrap() = value;
            check("pods", "", &pod, None).expect_err(pointer);
        }
    }

    #[test]
    fn a_kubelet_reports_the_status_of_its_own_pods_only() {
        let pod = json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"nodeName": "a"}, "status": {}});
        let mut new = pod.clone();
        new["status"] = json!({"phase": "Running"});
        check("pods", "status", &new, Some(&pod)).unwrap();
        new["metadata"]["labels"] = json!({});
        check("pods", "status", &new, Some(&pod)).unwrap_err();
        let mut other = pod;
        other["spec"]["nodeName"] = json!("b");
        check("pods", "status", &other, Some(&other)).unwrap_err();
    }

    #[test]
    fn a_kubelet_tells_how_far_a_claim_has_grown_and_nothing_else() {
        let claim = json!({"metadata": {"name": "c"}, "spec": {"volumeName": "v"}, "status": {"phase": "Bound"}});
        let mut grown = claim.clone();
        grown["status"]["capacity"] = json!({"storage": "2Gi"});
        check("persistentvolumeclaims", "status", &grown, Some(&claim)).unwrap();
        grown["status"]["phase"] = json!("Lost");
        check("persistentvolumeclaims", "status", &grown, Some(&claim)).unwrap_err();
        let mut moved = claim.clone();
        moved["spec"]["volumeName"] = json!("w");
        check("persistentvolumeclaims", "status", &moved, Some(&claim)).unwrap_err();
    }

    #[test]
    fn leases_and_csi_nodes_bear_the_nodes_name() {
        let lease = |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name}});
        check("leases", "", &lease("kube-node-lease", "a"), None).unwrap();
        check("leases", "", &lease("kube-node-lease", "b"), None).unwrap_err();
        check("leases", "", &lease("default", "a"), None).unwrap_err();
        check("csinodes", "", &lease("", "a"), None).unwrap();
        check("csinodes", "", &lease("", "b"), None).unwrap_err();
    }

    #[test]
    fn a_kubelet_asks_for_certificates_of_its_own_name_only() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let ask = |name: &str, signer: &str| {
            let (_, pem) = orrery_identity::new_signing_request(name).unwrap();
            let request =
                json!({"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": STANDARD.encode(pem)}});
            check("certificatesigningrequests", "", &request, None)
        };
        ask("system:node:a", "kubernetes.io/kubelet-serving").unwrap();
        ask("system:node:b", "kubernetes.io/kubelet-serving").unwrap_err();
        ask("system:masters", "kubernetes.io/kube-apiserver-client-kubelet").unwrap_err();
        ask("anything", "example.com/own").unwrap();
        let garbage = json!({"spec": {"signerName": "kubernetes.io/kubelet-serving", "request": "x"}});
        check("certificatesigningrequests", "", &garbage, None).unwrap_err();
    }

    #[test]
    fn others_are_not_restricted() {
        let other = json!({"metadata": {"name": "b", "labels": {"node-restriction.kubernetes.io/x": "y"}}});
        let write = NodeWrite { group: "", resource: "nodes", subresource: "", new: &other, old: None };
        restrict(&User::new("admin", ["system:masters"]), &write).unwrap();
    }
}
