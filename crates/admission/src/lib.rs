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
//! | `ServiceAddresses` | gives Services their cluster addresses and node ports |
//! | `PodSecurity` | holds pods to the standard that their namespace's labels name |
//! | `ExpressionRules` | refuses webhook configurations and policies whose expressions do not compile |
//! | `MutatingAdmissionPolicy` | changes requests as policies in CEL say |
//! | `MutatingAdmissionWebhook` | lets other programs change and refuse requests |
//! | `ValidatingAdmissionPolicy` | refuses, warns of and notes requests as policies in CEL say |
//! | `ValidatingAdmissionWebhook` | lets other programs refuse requests |
//! | `ResourceQuota` | charges new objects to their namespace's quotas, in the transaction that stores them |
//!
//! Tasks and channels: none, but for those that keep connections to webhooks. Start reading at [`plugins`], then `priority` for a small one.
#![forbid(unsafe_code)]

mod cache;
mod expressions;
mod limits;
mod matching;
mod policy;
mod priority;
mod quota;
mod reason;
mod review;
mod rights;
mod runtime_class;
mod security;
mod service_account;
mod service_addresses;
mod storage_class;
mod tolerations;
mod webhook;

use orrery_apiserver::{AdmissionRequest, Plugin};
use orrery_machinery::status::{ApiError, Target};
use serde_json::{Value, json};
pub use service_addresses::{InvalidRange, Range};
use std::sync::Arc;

/// What the plugins have to know of the Supervisor.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Where Services' cluster addresses come from.
    pub service_range: Range,
}

/// All plugins, in the order in which they are asked.
#[must_use]
pub fn plugins(settings: Settings) -> Vec<Arc<dyn Plugin>> {
    let (mutating_webhooks, validating_webhooks) = webhook::plugins();
    vec![
        Arc::new(limits::LimitRanger),
        Arc::new(service_account::ServiceAccount),
        Arc::new(priority::Priority),
        Arc::new(tolerations::DefaultTolerationSeconds),
        Arc::new(runtime_class::RuntimeClass),
        Arc::new(storage_class::DefaultStorageClass),
        Arc::new(service_addresses::ServiceAddresses { range: settings.service_range }),
        Arc::new(security::PodSecurity),
        Arc::new(expressions::ExpressionRules),
        Arc::new(policy::MutatingAdmissionPolicy::default()),
        Arc::new(mutating_webhooks),
        Arc::new(policy::ValidatingAdmissionPolicy::default()),
        Arc::new(validating_webhooks),
        Arc::new(quota::ResourceQuota),
    ]
}

/// Objects that every Supervisor has, as (group, resource, object): the priority classes of the system, the range of cluster
/// addresses, and the Service of the API server, which listens on `port`.
#[must_use]
pub fn bootstrap(settings: Settings, port: u16) -> Vec<(&'static str, &'static str, Value)> {
    let class = |name: &str, value: i64, description: &str| {
        let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description});
        ("scheduling.k8s.io", "priorityclasses", class)
    };
    let range = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [settings.service_range.to_string()]}});
    let address = settings.service_range.first().to_string();
    let taken = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": address},
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": "default", "name": "kubernetes"}}});
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": address, "clusterIPs": [address], "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]}});
    vec![
        class("system-cluster-critical", 2_000_000_000, "For pods that the cluster cannot do without."),
        class("system-node-critical", 2_000_001_000, "For pods that their node cannot do without."),
        ("networking.k8s.io", "servicecidrs", range),
        ("networking.k8s.io", "ipaddresses", taken),
        ("", "services", service),
    ]
}

/// 403 for the object of a request.
fn forbidden(request: &AdmissionRequest<'_>, why: &str) -> ApiError {
    let target = Target { group: &request.resource.group, resource: &request.resource.plural, name: request.name };
    ApiError::forbidden(target, why)
}
