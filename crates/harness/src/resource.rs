//! Which resource a request is about.

/// A resource of the server: where it is and what its objects are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version, such as `v1`.
    pub version: String,
    /// The plural in paths, such as `pods`.
    pub plural: String,
    /// The kind of its objects.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// A resource whose objects live in namespaces; `api_version` is such as `v1` or `apps/v1`.
    #[must_use]
    pub fn namespaced(api_version: &str, plural: &str, kind: &str) -> Self {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            namespaced: true,
        }
    }

    /// A resource of the whole cluster.
    #[must_use]
    pub fn cluster(api_version: &str, plural: &str, kind: &str) -> Self {
        Self { namespaced: false, ..Self::namespaced(api_version, plural, kind) }
    }

    /// Such as `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Such as `/api/v1` or `/apis/apps/v1`.
    #[must_use]
    pub fn root(&self) -> String {
        let root = if self.group.is_empty() { "api" } else { "apis" };
        format!("/{root}/{}", self.api_version())
    }

    /// The path of the collection, in a namespace or across all.
    #[must_use]
    pub fn path(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) if self.namespaced => format!("{}/namespaces/{namespace}/{}", self.root(), self.plural),
            _ => format!("{}/{}", self.root(), self.plural),
        }
    }
}

/// Resources that many tests need.
macro_rules! resources {
    ($($(#[$doc:meta])* $name:ident = $scope:ident($version:literal, $plural:literal, $kind:literal);)*) => {
        $(#[doc = concat!("`", $plural, "` of `", $version, "`.")]
        #[must_use]
        pub fn $name() -> Resource { Resource::$scope($version, $plural, $kind) })*
    };
}

resources! {
    namespaces = cluster("v1", "namespaces", "Namespace");
    nodes = cluster("v1", "nodes", "Node");
    persistent_volumes = cluster("v1", "persistentvolumes", "PersistentVolume");
    config_maps = namespaced("v1", "configmaps", "ConfigMap");
    secrets = namespaced("v1", "secrets", "Secret");
    pods = namespaced("v1", "pods", "Pod");
    pod_templates = namespaced("v1", "podtemplates", "PodTemplate");
    services = namespaced("v1", "services", "Service");
    service_accounts = namespaced("v1", "serviceaccounts", "ServiceAccount");
    endpoints = namespaced("v1", "endpoints", "Endpoints");
    limit_ranges = namespaced("v1", "limitranges", "LimitRange");
    resource_quotas = namespaced("v1", "resourcequotas", "ResourceQuota");
    replication_controllers = namespaced("v1", "replicationcontrollers", "ReplicationController");
    persistent_volume_claims = namespaced("v1", "persistentvolumeclaims", "PersistentVolumeClaim");
    core_events = namespaced("v1", "events", "Event");
    deployments = namespaced("apps/v1", "deployments", "Deployment");
    replica_sets = namespaced("apps/v1", "replicasets", "ReplicaSet");
    stateful_sets = namespaced("apps/v1", "statefulsets", "StatefulSet");
    daemon_sets = namespaced("apps/v1", "daemonsets", "DaemonSet");
    controller_revisions = namespaced("apps/v1", "controllerrevisions", "ControllerRevision");
    jobs = namespaced("batch/v1", "jobs", "Job");
    cron_jobs = namespaced("batch/v1", "cronjobs", "CronJob");
    disruption_budgets = namespaced("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget");
    leases = namespaced("coordination.k8s.io/v1", "leases", "Lease");
    endpoint_slices = namespaced("discovery.k8s.io/v1", "endpointslices", "EndpointSlice");
    roles = namespaced("rbac.authorization.k8s.io/v1", "roles", "Role");
    role_bindings = namespaced("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding");
    cluster_roles = cluster("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole");
    cluster_role_bindings = cluster("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding");
    priority_classes = cluster("scheduling.k8s.io/v1", "priorityclasses", "PriorityClass");
    runtime_classes = cluster("node.k8s.io/v1", "runtimeclasses", "RuntimeClass");
    storage_classes = cluster("storage.k8s.io/v1", "storageclasses", "StorageClass");
    resource_definitions =
        cluster("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_protocol() {
        let cases = [
            (pods().path(Some("a")), "/api/v1/namespaces/a/pods"),
            (pods().path(None), "/api/v1/pods"),
            (deployments().path(Some("a")), "/apis/apps/v1/namespaces/a/deployments"),
            (nodes().path(Some("ignored")), "/api/v1/nodes"),
            (storage_classes().path(None), "/apis/storage.k8s.io/v1/storageclasses"),
        ];
        for (found, wanted) in cases {
            assert_eq!(found, wanted);
        }
    }
}
