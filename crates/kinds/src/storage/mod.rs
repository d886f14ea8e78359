//! `storage.k8s.io/v1`: classes of storage, and what drivers say of themselves.

mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
mod storage_class;
mod volume_attachment;
mod volume_attributes_class;

use orrery_machinery::{descriptor::FixedResource, meta};

pub(crate) fn descriptors() -> [FixedResource; 6] {
    [
        storage_class::descriptor(),
        volume_attributes_class::descriptor(),
        csi_driver::descriptor(),
        csi_node::descriptor(),
        csi_storage_capacity::descriptor(),
        volume_attachment::descriptor(),
    ]
}

/// What is wrong with the name of a driver: a subdomain, in any case of letters.
fn driver_name_problems(name: &str) -> Vec<String> {
    let mut problems = meta::dns_subdomain_problems(&name.to_lowercase());
    if name.len() > 63 {
        problems.push("must be no more than 63 characters".to_owned());
    }
    problems
}
