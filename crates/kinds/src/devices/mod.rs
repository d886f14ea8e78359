//! `resource.k8s.io/v1`: devices, who offers them and who asks for them.

mod claim;
mod class;
mod slice;

use orrery_machinery::descriptor::FixedResource;

pub(crate) fn descriptors() -> [FixedResource; 4] {
    [class::descriptor(), claim::descriptor(), claim::template(), slice::descriptor()]
}
