//! The kinds of the inventory, as the API server is told of them.
//!
//! Each module has a kind's rules and columns. What all have in common is here: names are DNS labels, because they become
//! names of certificates, nodes and namespaces.

mod fields;
mod machines;
mod placement;
mod pools;
mod sites;
mod supervisors;
mod tasks;

use k8s_openapi::Resource;
use orrery_api::inventory::{GROUP, VERSION};
use orrery_machinery::descriptor::{FixedResource, ResourceDescriptor, decode_as, schema_of};
use serde::de::DeserializeOwned;

/// Every kind of the inventory.
pub(crate) fn all() -> Vec<ResourceDescriptor> {
    let fixed = [
        sites::host(),
        sites::compute_cluster(),
        sites::zone(),
        supervisors::supervisor(),
        supervisors::workload_namespace(),
        tasks::task(),
        pools::resource_pool(),
        machines::virtual_machine(),
        machines::datastore(),
        machines::network(),
        placement::placement_review(),
    ];
    fixed.map(ResourceDescriptor::from).into()
}

/// What all kinds have in common.
fn base<T: Resource + DeserializeOwned + schemars::JsonSchema>(
    singular: &'static str,
    short_names: &'static [&'static str],
) -> FixedResource {
    FixedResource {
        group: GROUP,
        version: VERSION,
        kind: T::KIND,
        plural: T::URL_PATH_SEGMENT,
        singular,
        short_names,
        categories: &["inventory"],
        namespaced: false,
        has_status: true,
        decode: decode_as::<T>,
        validate: |object, _| fields::name_errors(object),
        counts_generation: true,
        schema: schema_of::<T>,
        ..FixedResource::PLAIN
    }
}

#[cfg(test)]
mod tests;
