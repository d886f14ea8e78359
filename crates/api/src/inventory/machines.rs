//! What hosts report: their machines, datastores and networks.

use super::{GROUP, VERSION};
use crate::units::{Bytes, MilliCpu};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

inventory_kind!(
    /// A machine on a host, whoever it is for. Its name is its id.
    VirtualMachine, "virtualmachines", VirtualMachineSpec, VirtualMachineStatus
);
inventory_kind!(
    /// A place where disks and images lie.
    Datastore, "datastores", DatastoreSpec, DatastoreStatus
);
inventory_kind!(
    /// A segment that machines are plugged into.
    Network, "networks", NetworkSpec, NetworkStatus
);

/// What a machine shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualMachineSpec {
    /// Whose machine it is.
    pub owner: MachineOwner,
    /// For people, such as `demo/hello`.
    #[serde(default)]
    pub display_name: String,
    /// The host that it shall be on.
    #[serde(default)]
    pub host: String,
    /// The resource pool that it runs in.
    #[serde(default)]
    pub resource_pool: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// CPU reserved for it.
    pub cpu_milli: MilliCpu,
    /// Memory of the guest.
    pub memory_bytes: Bytes,
    /// Whether it shall run.
    #[serde(default)]
    pub power_state: PowerState,
}

/// Who asked for a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineOwner {
    /// Such as `Pod`.
    pub kind: String,
    /// Its namespace; empty for owners without.
    #[serde(default)]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    #[serde(default)]
    pub uid: String,
}

/// Whether a machine runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum PowerState {
    /// It runs.
    #[default]
    PoweredOn,
    /// It does not.
    PoweredOff,
}

/// What is known of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualMachineStatus {
    /// What the host does with it.
    #[serde(default)]
    pub phase: MachinePhase,
    /// Memory reserved on the host beyond the guest's own.
    #[serde(default)]
    pub overhead_bytes: Bytes,
    /// Its addresses with their prefix lengths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// What a host does with a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum MachinePhase {
    /// It was admitted, and its parent process is kept running.
    #[default]
    Admitted,
    /// It is being taken away.
    Releasing,
}

/// What a datastore is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatastoreSpec {
    /// How hosts reach it.
    #[serde(rename = "type", default)]
    pub kind: DatastoreType,
    /// Where it lies on each host.
    pub path: String,
}

/// How hosts reach a datastore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum DatastoreType {
    /// A directory of one host.
    #[default]
    Directory,
}

/// What is known of a datastore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatastoreStatus {
    /// What its file system holds.
    #[serde(default)]
    pub capacity_bytes: Bytes,
    /// What of that is free.
    #[serde(default)]
    pub free_bytes: Bytes,
    /// The hosts that reach it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// What a network is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// How its packets travel.
    #[serde(rename = "type", default)]
    pub kind: NetworkType,
    /// The segment that machines name.
    pub segment: String,
    /// Where addresses come from, such as `10.244.0.0/24`.
    pub subnet: String,
}

/// How packets of a network travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum NetworkType {
    /// Over a bridge of one host.
    #[default]
    Bridge,
}

/// What is known of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// The hosts that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}
