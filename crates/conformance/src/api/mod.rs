//! Class `api`: what the API server alone has to do.
//!
//! A file for each area. [`operations`] is what the many entries share that ask for all operations of a resource, [`crd`]
//! makes definitions of custom resources, [`webhooks`] has hooks and the server that answers them.

mod access;
mod aggregator;
mod chunking;
mod configuration;
mod conversion;
mod crd;
mod cron_jobs;
mod discovery;
mod dra;
mod events;
mod field_validation;
mod flowcontrol;
mod kubectl;
mod namespaces;
mod networking;
mod nodes;
mod openapi;
mod operations;
mod pods;
mod policies;
mod quota;
mod server;
mod service_accounts;
mod services;
mod storage;
mod volumes;
mod watchers;
mod webhooks;

use crate::registry::Test;

/// The tests of this class.
#[must_use]
pub fn tests() -> Vec<Test> {
    let mut tests = [
        access::TESTS,
        aggregator::TESTS,
        chunking::TESTS,
        configuration::TESTS,
        conversion::TESTS,
        crd::TESTS,
        cron_jobs::TESTS,
        discovery::TESTS,
        dra::TESTS,
        events::TESTS,
        field_validation::TESTS,
        flowcontrol::TESTS,
        kubectl::TESTS,
        namespaces::TESTS,
        networking::TESTS,
        nodes::TESTS,
        openapi::TESTS,
        pods::TESTS,
        policies::TESTS,
        quota::TESTS,
        server::TESTS,
        service_accounts::TESTS,
        services::TESTS,
        storage::TESTS,
        volumes::TESTS,
        watchers::TESTS,
    ]
    .concat();
    tests.extend(webhooks::tests());
    tests
}
