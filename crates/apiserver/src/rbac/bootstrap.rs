//! The roles and bindings that every cluster has, created when they are missing.

use super::GROUP;
use serde_json::{Value, json};

/// Things of a namespace that its users see.
const READABLE: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "endpoints",
            "events",
            "limitranges",
            "namespaces",
            "namespaces/status",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "pods/log",
            "pods/status",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "replicationcontrollers/status",
            "resourcequotas",
            "resourcequotas/status",
            "serviceaccounts",
            "services",
            "services/status",
        ],
    ),
    (
        "apps",
        &[
            "controllerrevisions",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
    ("batch", &["cronjobs", "cronjobs/status", "jobs", "jobs/status"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("networking.k8s.io", &["ingresses", "ingresses/status", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets", "poddisruptionbudgets/status"]),
    ("events.k8s.io", &["events"]),
];

/// Things of a namespace that its editors change.
const WRITABLE: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "events",
            "persistentvolumeclaims",
            "pods",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "pods/eviction",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ],
    ),
    (
        "apps",
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("coordination.k8s.io", &["leases"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets"]),
];

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": resources})
}

fn rules(verbs: &[&str], table: &[(&str, &[&str])]) -> Vec<Value> {
    table.iter().map(|(group, resources)| rule(verbs, group, resources)).collect()
}

fn view() -> Vec<Value> {
    rules(READ, READABLE)
}

fn edit() -> Vec<Value> {
    let secrets = rule(READ, "", &["secrets", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"]);
    let leases = rule(READ, "coordination.k8s.io", &["leases"]);
    let mut all = view();
    all.extend([secrets, leases, rule(&["impersonate"], "", &["serviceaccounts"])]);
    all.extend(rules(WRITE, WRITABLE));
    all
}

fn admin() -> Vec<Value> {
    let mut all = edit();
    all.push(rule(&[READ, WRITE].concat(), GROUP, &["roles", "rolebindings"]));
    all.push(rule(&["create"], "authorization.k8s.io", &["localsubjectaccessreviews"]));
    all
}

fn basic_user() -> Vec<Value> {
    vec![
        rule(&["create"], "authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
        rule(&["create"], "authentication.k8s.io", &["selfsubjectreviews"]),
    ]
}

fn discovery() -> Vec<Value> {
    vec![json!({"verbs": ["get"], "nonResourceURLs": [
        "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version",
        "/version/",
    ]})]
}

fn scheduler() -> Vec<Value> {
    vec![
        rule(&["create", "patch", "update"], "", &["events"]),
        rule(&["create", "patch", "update"], "events.k8s.io", &["events"]),
        rule(&["create", "get", "list", "watch", "update"], "coordination.k8s.io", &["leases"]),
        rule(
            READ,
            "",
            &[
                "namespaces",
                "nodes",
                "persistentvolumeclaims",
                "persistentvolumes",
                "pods",
                "replicationcontrollers",
                "services",
            ],
        ),
        rule(&["delete"], "", &["pods"]),
        rule(&["create"], "", &["bindings", "pods/binding"]),
        rule(&["patch", "update"], "", &["pods/status"]),
        rule(READ, "apps", &["replicasets", "statefulsets"]),
        rule(READ, "policy", &["poddisruptionbudgets"]),
        rule(READ, "storage.k8s.io", &["csidrivers", "csinodes", "csistoragecapacities", "storageclasses"]),
        rule(READ, "scheduling.k8s.io", &["priorityclasses"]),
    ]
}

/// What the controllers that ship with the server do, taken together: they run in one process as one user.
fn controllers() -> Vec<Value> {
    let all = [READ, WRITE].concat();
    vec![
        // The namespace controller empties namespaces and the garbage collector removes what lost its owner, whatever kind.
        rule(&["get", "list", "watch", "delete", "deletecollection", "patch", "update"], "*", &["*"]),
        rule(
            &["update", "patch"],
            "",
            &[
                "namespaces/finalize",
                "namespaces/status",
                "nodes/status",
                "pods/status",
                "services/status",
                "persistentvolumeclaims/status",
                "persistentvolumes/status",
                "resourcequotas/status",
            ],
        ),
        rule(
            &all,
            "",
            &[
                "configmaps",
                "endpoints",
                "events",
                "persistentvolumes",
                "pods",
                "secrets",
                "serviceaccounts",
                "services",
            ],
        ),
        rule(&all, "apps", &["controllerrevisions", "replicasets"]),
        rule(
            &["update", "patch"],
            "apps",
            &["daemonsets/status", "deployments/status", "replicasets/status", "statefulsets/status", "*/scale"],
        ),
        rule(&all, "batch", &["jobs"]),
        rule(&["update", "patch"], "batch", &["cronjobs/status", "jobs/status"]),
        rule(&all, "coordination.k8s.io", &["leases"]),
        rule(&all, "discovery.k8s.io", &["endpointslices"]),
        rule(&all, "events.k8s.io", &["events"]),
        rule(&["create"], "authorization.k8s.io", &["subjectaccessreviews"]),
        json!({"verbs": ["get"], "nonResourceURLs": ["*"]}),
    ]
}

/// The role that upstream's documents name for nodes. What a kubelet may do is the node authorizer's business; nobody is
/// bound to this by default.
fn node() -> Vec<Value> {
    vec![
        rule(&["create"], "authentication.k8s.io", &["tokenreviews"]),
        rule(&["create"], "authorization.k8s.io", &["localsubjectaccessreviews", "subjectaccessreviews"]),
        rule(READ, "", &["services"]),
        rule(&["create", "get", "list", "watch", "update", "patch"], "", &["nodes"]),
        rule(&["patch", "update"], "", &["nodes/status", "pods/status"]),
        rule(&["get", "list", "watch", "create", "delete"], "", &["pods"]),
        rule(&["get"], "", &["configmaps", "secrets"]),
        rule(&["create", "patch", "update"], "", &["events"]),
        rule(&["create", "delete", "get", "patch", "update"], "coordination.k8s.io", &["leases"]),
    ]
}

/// All bootstrap objects as (plural, object).
pub(crate) fn objects() -> Vec<(&'static str, Value)> {
    let everything = vec![
        json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
        json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
    ];
    let roles = [
        ("cluster-admin", everything),
        ("admin", admin()),
        ("edit", edit()),
        ("view", view()),
        ("system:basic-user", basic_user()),
        ("system:discovery", discovery()),
        ("system:node", node()),
        ("system:kube-scheduler", scheduler()),
        ("system:kube-controller-manager", controllers()),
    ];
    let bindings = [
        ("cluster-admin", "cluster-admin", "Group", "system:masters"),
        ("system:basic-user", "system:basic-user", "Group", "system:authenticated"),
        ("system:discovery", "system:discovery", "Group", "system:authenticated"),
        ("system:kube-scheduler", "system:kube-scheduler", "User", "system:kube-scheduler"),
        ("system:kube-controller-manager", "system:kube-controller-manager", "User", "system:kube-controller-manager"),
    ];
    let labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    let version = format!("{GROUP}/v1");
    let roles = roles.into_iter().map(|(name, rules)| {
        let object = json!({"apiVersion": version, "kind": "ClusterRole",
            "metadata": {"name": name, "labels": labels}, "rules": rules});
        ("clusterroles", object)
    });
    let bindings = bindings.into_iter().map(|(name, role, kind, subject)| {
        let object = json!({"apiVersion": version, "kind": "ClusterRoleBinding",
            "metadata": {"name": name, "labels": labels},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": GROUP, "kind": kind, "name": subject}]});
        ("clusterrolebindings", object)
    });
    roles.chain(bindings).collect()
}
