//! `flowcontrol.apiserver.k8s.io/v1`: whose requests wait for whose.

mod flow_schema;
mod priority_level;

use orrery_machinery::descriptor::FixedResource;

pub(crate) fn descriptors() -> [FixedResource; 2] {
    [flow_schema::descriptor(), priority_level::descriptor()]
}
