//! Kinds of the core group beyond pods, nodes, namespaces and configuration.

mod endpoints;
mod limit_range;
mod persistent_volume;
pub(crate) mod persistent_volume_claim;
mod pod_template;
mod replication_controller;
mod resource_quota;
mod service;

pub(crate) use endpoints::special_address_problems;
pub(crate) use service::load_balancer_status;

use orrery_machinery::descriptor::FixedResource;

pub(crate) fn descriptors() -> [FixedResource; 8] {
    [
        service::descriptor(),
        endpoints::descriptor(),
        pod_template::descriptor(),
        replication_controller::descriptor(),
        limit_range::descriptor(),
        resource_quota::descriptor(),
        persistent_volume::descriptor(),
        persistent_volume_claim::descriptor(),
    ]
}
