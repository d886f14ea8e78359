//! Class `ctrl`: what controllers have to do.
//!
//! Nothing here needs more of a pod than its status, except where the description asks for an answer from inside: hollow
//! nodes hold the others. [`workload`] makes the objects; each other file is one area of the list.

mod accounts;
mod cron;
mod daemons;
mod deployments;
mod disruption;
mod endpoints;
mod garbage;
mod jobs;
mod kubectl;
mod namespaces;
mod quota;
mod replicas;
mod serve;
mod stateful;
mod taints;
mod workload;

use crate::registry::Test;

/// The tests of this class.
#[must_use]
pub fn tests() -> Vec<Test> {
    [
        accounts::TESTS,
        cron::TESTS,
        daemons::TESTS,
        deployments::LIFE,
        deployments::ROLLOUT,
        disruption::TESTS,
        endpoints::TESTS,
        garbage::TESTS,
        jobs::INDEXED,
        jobs::LIFE,
        jobs::POLICIES,
        kubectl::TESTS,
        namespaces::TESTS,
        quota::COUNTS,
        quota::PODS,
        replicas::TESTS,
        serve::TESTS,
        stateful::LIFE,
        stateful::ORDER,
        stateful::UPDATES,
        taints::TESTS,
    ]
    .concat()
}
