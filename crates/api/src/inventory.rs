//! The kinds of the manager's inventory, `inventory.orrery.dev/v1alpha1`. All are cluster-scoped: the inventory is one
//! tree, and its branches are named by references.

use crate::units::{Bytes, MilliCpu};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use serde::{Deserialize, Serialize};

/// The API group of the inventory.
pub const GROUP: &str = "inventory.orrery.dev";
/// The version of the group that is served and stored.
pub const VERSION: &str = "v1alpha1";

macro_rules! inventory_kind {
    ($(#[$meta:meta])* $kind:ident, $plural:literal, $spec:ty, $status:ty) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $kind {
            /// Group and version.
            pub api_version: String,
            /// The kind's name.
            pub kind: String,
            /// Standard object metadata.
            #[serde(default)]
            pub metadata: ObjectMeta,
            /// What the administrator asked for.
            #[serde(default)]
            pub spec: $spec,
            /// What was observed.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub status: Option<$status>,
        }

        impl $kind {
            /// An object named `name` that asks for `spec`; nothing is observed yet.
            #[must_use]
            pub fn new(name: &str, spec: $spec) -> Self {
                Self {
                    metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
                    spec,
                    ..Self::default()
                }
            }
        }

        impl Default for $kind {
            fn default() -> Self {
                Self {
                    api_version: <Self as k8s_openapi::Resource>::API_VERSION.to_owned(),
                    kind: <Self as k8s_openapi::Resource>::KIND.to_owned(),
                    metadata: ObjectMeta::default(),
                    spec: <$spec>::default(),
                    status: None,
                }
            }
        }

        impl k8s_openapi::Resource for $kind {
            const API_VERSION: &'static str = "inventory.orrery.dev/v1alpha1";
            const GROUP: &'static str = GROUP;
            const KIND: &'static str = stringify!($kind);
            const VERSION: &'static str = VERSION;
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = k8s_openapi::ClusterResourceScope;
        }

        impl k8s_openapi::Metadata for $kind {
            type Ty = ObjectMeta;
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn metadata_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

mod machines;
mod pools;

pub use machines::{
    Datastore, DatastoreSpec, DatastoreStatus, DatastoreType, MachineOwner, MachinePhase, Network, NetworkSpec,
    NetworkStatus, NetworkType, PowerState, VirtualMachine, VirtualMachineSpec, VirtualMachineStatus,
};
pub use pools::{Allocation, ResourcePool, ResourcePoolSpec, ResourcePoolStatus, Shares, SharesLevel};

inventory_kind!(
    /// A machine with a hypervisor that joined a cluster.
    Host, "hosts", HostSpec, HostStatus
);
inventory_kind!(
    /// Hosts that share failure domain, HA and DRS.
    ComputeCluster, "computeclusters", ComputeClusterSpec, ComputeClusterStatus
);
inventory_kind!(
    /// One cluster seen as an independent failure domain.
    Zone, "zones", ZoneSpec, ZoneStatus
);
inventory_kind!(
    /// A Kubernetes control plane inside the hypervisor layer of one cluster or of three zones.
    Supervisor, "supervisors", SupervisorSpec, SupervisorStatus
);
inventory_kind!(
    /// A namespace on a Supervisor, with what its users may have and do.
    WorkloadNamespace, "workloadnamespaces", WorkloadNamespaceSpec, WorkloadNamespaceStatus
);
inventory_kind!(
    /// A piece of multi-step work, with its progress.
    Task, "tasks", TaskSpec, TaskStatus
);

inventory_kind!(
    /// A question to DRS that is answered and not stored: which host shall each pod get?
    PlacementReview, "placementreviews", PlacementReviewSpec, PlacementReviewStatus
);

/// What the administrator asks of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// The cluster that the host belongs to.
    pub cluster: String,
}

/// What a host reported of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// `Ready` is true while heartbeats arrive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The hardware and software found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<HostFacts>,
    /// How many machines the host holds.
    #[serde(default)]
    pub machines: u32,
    /// When the last heartbeat arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_time: Option<Time>,
}

/// How guests run on a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Accelerator {
    /// Hardware virtualization; a probe guest ran on it.
    #[serde(rename = "KVM")]
    Kvm,
    /// Software emulation. By QEMU's own security statement this is no isolation boundary.
    #[default]
    #[serde(rename = "TCG")]
    Tcg,
}

/// Hardware and software of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    /// CPU that machines may use.
    pub cpu_milli: MilliCpu,
    /// Memory that machines may use.
    pub memory_bytes: Bytes,
    /// KVM or TCG, by probe.
    pub accelerator: Accelerator,
    /// Version of QEMU, such as `7.2.22`.
    pub qemu_version: String,
    /// The host's kernel release.
    pub kernel_release: String,
    /// The kernel's identifier of this boot.
    pub boot_id: String,
    /// Version of the host agent.
    pub agent_version: String,
    /// The address at which the host is managed.
    pub management_address: String,
}

/// What is asked of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComputeClusterSpec {}

/// What is known of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComputeClusterStatus {
    /// How many hosts name this cluster.
    #[serde(default)]
    pub hosts: u32,
    /// How many of them are ready.
    #[serde(default)]
    pub ready_hosts: u32,
}

/// What is asked of a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZoneSpec {
    /// The cluster that is this zone.
    pub cluster: String,
}

/// What is known of a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneStatus {
    /// The Supervisor that uses the zone, when one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<String>,
}

/// What is asked of a Supervisor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SupervisorSpec {
    /// The cluster to enable; its zone is made and mapped when it has none.
    pub cluster: String,
    /// Whether hosts that emulate may take part, although emulation is no isolation boundary.
    #[serde(default)]
    pub allow_emulation: bool,
}

/// Where a Supervisor's enablement stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ConfigStatus {
    /// Steps are being done.
    #[default]
    Configuring,
    /// All steps are done.
    Running,
    /// A step cannot go on; its message says why.
    Error,
    /// Being taken down.
    Removing,
}

/// What is known of a Supervisor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SupervisorStatus {
    /// Where enablement stands.
    #[serde(default)]
    pub config_status: ConfigStatus,
    /// Conditions: `PreconditionsMet`, `ControlPlaneReady`, `HostsEnrolled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Where the Kubernetes API is served, such as `https://127.0.0.1:6443`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The zones in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
}

/// What is asked of a workload namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadNamespaceSpec {
    /// The Supervisor that gets the namespace.
    pub supervisor: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who may do what in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<NamespaceAccess>,
}

/// One permission on a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceAccess {
    /// Whether `subject` is a user or a group.
    pub subject_type: SubjectType,
    /// The user's or group's name.
    pub subject: String,
    /// What it may do.
    pub role: NamespaceRole,
}

/// Whom a permission names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum SubjectType {
    /// One user.
    User,
    /// All members of a group.
    Group,
}

/// What a permission allows, in vSphere's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum NamespaceRole {
    /// Everything in the namespace, permissions included.
    Owner,
    /// Read and write workloads.
    Edit,
    /// Read workloads, not Secrets.
    View,
}

/// What is known of a workload namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadNamespaceStatus {
    /// Where its configuration stands.
    #[serde(default)]
    pub config_status: ConfigStatus,
    /// Why, when it is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a task is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskSpec {
    /// What is done, such as `EnableSupervisor`.
    pub operation: String,
    /// Kind of the object that it is done to.
    pub target_kind: String,
    /// Name of the object that it is done to.
    pub target_name: String,
    /// Asks that the work be undone and ended.
    #[serde(default)]
    pub abort: bool,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum TaskState {
    /// Not yet begun.
    #[default]
    Queued,
    /// Steps are being done.
    Running,
    /// All steps are done.
    Succeeded,
    /// A step failed for good.
    Failed,
    /// Ended and undone because that was asked for.
    Aborted,
}

/// The progress of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// Where the task stands.
    #[serde(default)]
    pub state: TaskState,
    /// The step being done, for people.
    #[serde(default)]
    pub step: String,
    /// 0 to 100.
    #[serde(default)]
    pub percent: u8,
    /// Why it failed or waits, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the first step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the task ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

/// The question of a placement review.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementReviewSpec {
    /// The Supervisor that asks.
    pub supervisor: String,
    /// The pods, in the order in which they are to be placed.
    pub pods: Vec<PlacementRequest>,
}

/// One pod of a placement review.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementRequest {
    /// The pod's UID; the answer repeats it.
    pub uid: String,
    /// `namespace/name`, for the record.
    pub name: String,
    /// CPU asked for, overhead included.
    pub cpu_milli: MilliCpu,
    /// Memory asked for, overhead included.
    pub memory_bytes: Bytes,
    /// The hosts that passed the Kubernetes filters.
    pub candidates: Vec<String>,
}

/// DRS's answer for one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementAnswer {
    /// The pod's UID.
    pub uid: String,
    /// The host, or none when every candidate was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Why this host, or why none, in one line.
    pub reason: String,
}

/// DRS's answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementReviewStatus {
    /// One for each pod of the question, in its order.
    pub placements: Vec<PlacementAnswer>,
}
