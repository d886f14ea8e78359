//! Admission plugins of the Supervisor's API server: what changes and refuses requests by looking at other objects.
//!
//! Each plugin is a module and behaves as upstream's of the same name. [`plugins`] gives them in the order in which they are
//! asked, which is upstream's.
//!
//! | plugin | what it does |
//! |---|---|
//! | `LimitRanger` | fills in requests and limits, and holds containers, pods and claims within a namespace's limits |
//! | `ServiceAccount` | refuses pods of accounts that do not exist, and gives them the account's pull secrets |
//! | `Priority` | resolves a pod's priority class to a number |
//! | `DefaultTolerationSeconds` | lets pods stay five minutes on a node that is not ready or not reachable |
//! | `RuntimeClass` | declares the overhead of a pod's runtime class, and where it runs |
//! | `DefaultStorageClass` | gives claims without a class the default one |
//! | `PodSecurity` | holds pods to the standard that their namespace's labels name |
//! | `ResourceQuota` | charges new objects to their namespace's quotas, in the transaction that stores them |
//!
//! Tasks and channels: none. Start reading at [`plugins`], then `priority` for a small one.
#![forbid(unsafe_code)]

mod limits;
mod priority;
mod quota;
mod runtime_class;
mod security;
mod service_account;
mod storage_class;
mod tolerations;

use orrery_apiserver::{AdmissionRequest, Plugin};
use orrery_machinery::status::{ApiError, Target};
use std::sync::Arc;

/// All plugins, in the order in which they are asked.
#[must_use]
pub fn plugins() -> Vec<Arc<dyn Plugin>> {
    vec![
        Arc::new(limits::LimitRanger),
        Arc::new(service_account::ServiceAccount),
        Arc::new(priority::Priority),
        Arc::new(tolerations::DefaultTolerationSeconds),
        Arc::new(runtime_class::RuntimeClass),
        Arc::new(storage_class::DefaultStorageClass),
        Arc::new(security::PodSecurity),
        Arc::new(quota::ResourceQuota),
    ]
}

/// 403 for the object of a request.
fn forbidden(request: &AdmissionRequest<'_>, why: &str) -> ApiError {
    let target = Target { group: &request.resource.group, resource: &request.resource.plural, name: request.name };
    ApiError::forbidden(target, why)
}
