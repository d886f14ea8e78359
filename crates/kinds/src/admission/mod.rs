//! `admissionregistration.k8s.io/v1`: who has a say in what is written.

mod matching;
mod policy;
mod policy_binding;
mod webhook;

use orrery_machinery::descriptor::FixedResource;

pub(crate) fn descriptors() -> [FixedResource; 6] {
    [
        webhook::validating(),
        webhook::mutating(),
        policy::validating(),
        policy::mutating(),
        policy_binding::validating(),
        policy_binding::mutating(),
    ]
}
