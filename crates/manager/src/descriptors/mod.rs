//! The kinds of the inventory, as the API server is told of them.
//!
//! Each module has a kind's rules and columns. What all have in common is here: names are DNS labels, because they become
//! names of certificates, nodes and namespaces.

mod fields;
mod placement;
mod sites;
mod supervisors;
mod tasks;

use fields::no_change;
use k8s_openapi::Resource;
use orrery_api::inventory::{GROUP, VERSION};
use orrery_machinery::descriptor::{ResourceDescriptor, Storage, decode_as, schema_of};
use serde::de::DeserializeOwned;

/// Every kind of the inventory.
pub(crate) fn all() -> Vec<ResourceDescriptor> {
    vec![
        sites::host(),
        sites::compute_cluster(),
        sites::zone(),
        supervisors::supervisor(),
        supervisors::workload_namespace(),
        tasks::task(),
        placement::placement_review(),
    ]
}

/// What all kinds have in common.
fn base<T: Resource + DeserializeOwned + schemars::JsonSchema>(
    singular: &'static str,
    short_names: &'static [&'static str],
) -> ResourceDescriptor {
    ResourceDescriptor {
        group: GROUP,
        version: VERSION,
        kind: T::KIND,
        plural: T::URL_PATH_SEGMENT,
        singular,
        short_names,
        categories: &["inventory"],
        namespaced: false,
        storage: Storage::Stored,
        has_status: true,
        decode: decode_as::<T>,
        default: no_change,
        validate: |object, _| fields::name_errors(object),
        prepare_create: no_change,
        counts_generation: true,
        columns: &[],
        selectable_fields: &[],
        merge_keys: &[],
        schema: schema_of::<T>,
    }
}

#[cfg(test)]
mod tests;
