//! A kubelet of node `a` among the objects of a small cluster.

use super::*;
use crate::{Layout, User};
use orrery_store::{Embedded, EmbeddedOptions, Op, Store, Txn};
use serde_json::{Value, json};
use std::sync::Arc;

fn layout() -> Layout {
    Layout {
        prefix: |group, plural, namespace| match namespace {
            "" => format!("/{group}/{plural}/"),
            namespace => format!("/{group}/{plural}/{namespace}/"),
        },
        decode: |entry| Ok(serde_json::from_slice(&entry.value).unwrap()),
    }
}

struct Cluster {
    nodes: NodeAuthorizer,
    store: Arc<Embedded>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(&directory.path().join("store.db"), EmbeddedOptions::default()).await.unwrap();
        let store = Arc::new(store);
        let objects = Objects::new(Arc::clone(&store) as _, layout());
        let nodes = NodeAuthorizer::start(objects, true).await.unwrap();
        Self { nodes, store, _directory: directory }
    }

    async fn put(&self, key: &str, object: &Value) {
        let value = serde_json::to_vec(object).unwrap().into();
        let ops = vec![Op::Put { key: key.to_owned(), value, ttl: None }];
        self.store.txn(Txn { compare: Vec::new(), ops }).await.unwrap();
    }

    async fn may(&self, verb: &str, group: &str, resource: &str, namespace: &str, name: &str, selector: &str) -> bool {
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let user = User::new("system:node:a", ["system:nodes"]);
        let mut asked = Attributes::resource(user, verb, group, resource, namespace, name);
        asked.subresource = sub.to_owned();
        asked.fields = crate::field_terms(selector);
        self.nodes.decide("a", &asked).await.unwrap() == Decision::Allow
    }
}

async fn cluster() -> Cluster {
    let cluster = Cluster::new().await;
    let pod = json!({"metadata": {"name": "own", "namespace": "demo"}, "spec": {"nodeName": "a",
        "serviceAccountName": "robot", "imagePullSecrets": [{"name": "pull"}], "volumes": [
            {"name": "c", "configMap": {"name": "settings"}}, {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}});
    cluster.put("//pods/demo/own", &pod).await;
    let foreign =
        json!({"metadata": {"name": "foreign"}, "spec": {"nodeName": "b", "imagePullSecrets": [{"name": "theirs"}]}});
    cluster.put("//pods/demo/foreign", &foreign).await;
    let volume = json!({"spec": {"claimRef": {"namespace": "demo", "name": "data"},
        "csi": {"nodeStageSecretRef": {"namespace": "store", "name": "stage"}}}});
    cluster.put("//persistentvolumes/v1", &volume).await;
    cluster.put("//persistentvolumes/v2", &json!({"spec": {"claimRef": {"namespace": "demo", "name": "x"}}})).await;
    cluster.put("/storage.k8s.io/volumeattachments/at", &json!({"spec": {"nodeName": "a"}})).await;
    cluster
}

#[tokio::test]
async fn a_kubelet_reads_what_its_own_pods_refer_to() {
    let cluster = cluster().await;
    let table = [
        ("get", "configmaps", "demo", "settings", true),
        ("watch", "configmaps", "demo", "settings", true),
        ("update", "configmaps", "demo", "settings", false),
        ("get", "configmaps", "other", "settings", false),
        ("list", "configmaps", "demo", "", false),
        ("get", "secrets", "demo", "pull", true),
        ("get", "secrets", "demo", "theirs", false),
        ("get", "secrets", "demo", "settings", false),
        ("get", "secrets", "store", "stage", true),
        ("get", "secrets", "", "pull", false),
        ("get", "persistentvolumeclaims", "demo", "data", true),
        ("patch", "persistentvolumeclaims/status", "demo", "data", true),
        ("patch", "persistentvolumeclaims", "demo", "data", false),
        ("get", "persistentvolumes", "", "v1", true),
        ("get", "persistentvolumes", "", "v2", false),
        ("get", "persistentvolumes", "", "none", false),
        ("create", "serviceaccounts/token", "demo", "robot", true),
        ("create", "serviceaccounts/token", "demo", "other", false),
        ("get", "serviceaccounts", "demo", "robot", true),
        ("delete", "serviceaccounts", "demo", "robot", false),
    ];
    for (verb, resource, namespace, name, expected) in table {
        let allowed = cluster.may(verb, "", resource, namespace, name, "").await;
        assert_eq!(allowed, expected, "{verb} {resource} {namespace}/{name}");
    }
}

#[tokio::test]
async fn a_kubelet_works_on_its_own_node_lease_and_pods() {
    let cluster = cluster().await;
    let table = [
        ("get", "", "nodes", "", "a", "", true),
        ("get", "", "nodes", "", "b", "", false),
        ("list", "", "nodes", "", "", "", false),
        ("delete", "", "nodes", "", "a", "", false),
        ("patch", "", "nodes/status", "", "a", "", true),
        ("get", "", "pods", "demo", "own", "", true),
        ("get", "", "pods", "demo", "foreign", "", false),
        ("get", "", "pods", "demo", "gone", "", true),
        ("list", "", "pods", "", "", "spec.nodeName=a", true),
        ("list", "", "pods", "", "", "spec.nodeName=b", false),
        ("list", "", "pods", "", "", "spec.nodeName!=a", false),
        ("delete", "", "pods", "demo", "own", "", true),
        ("delete", "", "pods", "demo", "foreign", "", false),
        ("deletecollection", "", "pods", "demo", "", "", false),
        ("patch", "", "pods/status", "demo", "foreign", "", false),
        ("create", "", "pods/eviction", "demo", "own", "", true),
        ("create", "", "pods/exec", "demo", "own", "", false),
        ("update", "coordination.k8s.io", "leases", "kube-node-lease", "a", "", true),
        ("update", "coordination.k8s.io", "leases", "kube-node-lease", "b", "", false),
        ("update", "coordination.k8s.io", "leases", "demo", "a", "", false),
        ("list", "coordination.k8s.io", "leases", "kube-node-lease", "", "", false),
        ("get", "storage.k8s.io", "csinodes", "", "a", "", true),
        ("get", "storage.k8s.io", "csinodes", "", "b", "", false),
        ("get", "storage.k8s.io", "volumeattachments", "", "at", "", true),
        ("create", "", "events", "demo", "", "", true),
        ("list", "", "services", "", "", "", true),
        ("create", "authentication.k8s.io", "tokenreviews", "", "", "", true),
        ("create", "certificates.k8s.io", "certificatesigningrequests", "", "", "", true),
        ("get", "apps", "deployments", "demo", "x", "", false),
    ];
    for (verb, group, resource, namespace, name, selector, expected) in table {
        let allowed = cluster.may(verb, group, resource, namespace, name, selector).await;
        assert_eq!(allowed, expected, "{verb} {resource} {namespace}/{name} {selector}");
    }
}

#[tokio::test]
async fn what_a_pod_referred_to_is_closed_again_when_it_is_gone() {
    let cluster = cluster().await;
    assert!(cluster.may("get", "", "secrets", "demo", "pull", "").await);
    let ops = vec![Op::Delete { key: "//pods/demo/own".into() }];
    cluster.store.txn(Txn { compare: Vec::new(), ops }).await.unwrap();
    let mut changes = cluster.nodes.pods.changes();
    let settled = changes.wait_for(|_| !cluster.nodes.pods.read().refers("a", Kind::Secret, "demo", "pull"));
    settled.await.unwrap();
    assert!(!cluster.may("get", "", "secrets", "demo", "pull", "").await);
}
