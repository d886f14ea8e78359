//! `networking.k8s.io/v1`: ways in, rules between pods, and ranges of addresses.

mod addresses;
mod ingress;
mod ingress_class;
mod network_policy;

use orrery_machinery::descriptor::FixedResource;

pub(crate) fn descriptors() -> [FixedResource; 5] {
    [
        ingress::descriptor(),
        ingress_class::descriptor(),
        network_policy::descriptor(),
        addresses::service_cidr(),
        addresses::ip_address(),
    ]
}
