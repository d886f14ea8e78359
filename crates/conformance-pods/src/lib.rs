//! Conformance tests that need pods which really run: the classes `storage` and `kubelet` of the published list.
//!
//! Each test makes a pod whose containers look at what they were given and say what they see; the test reads that from their logs.
//! The image of all of them has busybox and a shell, and is named by the run ([`orrery_harness::Run`]).
//!
//! What it is not: the tests of everything else, the list and the program that runs them are in the crate `conformance`.
//!
//! Start reading at [`tests`], then at `pods`.
#![forbid(unsafe_code)]

mod kubelet;
mod pods;
mod storage;

use orrery_harness::Test;

/// The tests of both classes.
#[must_use]
pub fn tests() -> Vec<Test> {
    [storage::tests(), kubelet::tests()].concat()
}
