//! Resource pools.

use super::{GROUP, VERSION};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::{Deserialize, Serialize};

inventory_kind!(
    /// A part of a cluster's CPU and memory, or of another pool's.
    ResourcePool, "resourcepools", ResourcePoolSpec, ResourcePoolStatus
);

/// What is asked of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourcePoolSpec {
    /// The cluster whose CPU and memory it is.
    pub cluster: String,
    /// The pool that it is part of; none for one right below the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// CPU, in thousandths of a core.
    #[serde(default)]
    pub cpu: Allocation,
    /// Memory, in bytes.
    #[serde(default)]
    pub memory: Allocation,
}

/// What a pool gets of one resource, in that resource's unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allocation {
    /// Its weight among its siblings when there is too little for all.
    #[serde(default)]
    pub shares: Shares,
    /// What it has for sure.
    #[serde(default)]
    pub reservation: u64,
    /// What it has at most; none for no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Whether it may take from its parent when its own reservation is used up.
    #[serde(default)]
    pub expandable_reservation: bool,
}

/// A weight.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shares {
    /// A usual weight, or `Custom`.
    #[serde(default)]
    pub level: SharesLevel,
    /// The weight, with the level `Custom` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
}

/// Weights in the proportion of 1 to 2 to 4.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum SharesLevel {
    /// Half of `Normal`.
    Low,
    /// What a pool has unless it asks for something else.
    #[default]
    Normal,
    /// Twice `Normal`.
    High,
    /// As the value says.
    Custom,
}

/// What is known of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourcePoolStatus {
    /// `Admitted` is true when what it reserves can be had of its parent, or of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// CPU of its reservation that no pool within it has reserved, in thousandths of a core.
    #[serde(default)]
    pub unreserved_cpu_milli: u64,
    /// The same of memory, in bytes.
    #[serde(default)]
    pub unreserved_memory_bytes: u64,
}
