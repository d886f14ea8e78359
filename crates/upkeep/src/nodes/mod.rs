//! Nodes that fell silent or are unwell, and the pods on them.
//!
//! ```text
//! Ready --no lease renewal for 40 s--> Unknown --> taints unreachable:NoSchedule, unreachable:NoExecute
//! Ready --the node says so--> False            --> taints not-ready:NoSchedule, not-ready:NoExecute
//!       pods that do not bear a NoExecute taint --> deleted, at once or when they have borne it long enough
//!       the taint goes in time                  --> the deletion is cancelled
//! node gone or out of service                   --> its pods are removed without waiting for it
//! ```
//!
//! * [`lifecycle`] writes conditions and taints, [`eviction`] deletes by taint, [`collect`] removes pods that nobody ends.
//! * Silence is measured by our own clock, from when a renewal was seen: the clocks of hosts may differ.

mod collect;
mod eviction;
mod lifecycle;
mod plan;
mod tolerate;

use crate::Config;
use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::ObjectReference},
    jiff::Timestamp,
};
use kube::Api;
use orrery_reconcile::{Cache, Meta, Options, Projected, Tasks, Term, objects::Pod};

/// Where nodes keep their leases.
const LEASES: &str = "kube-node-lease";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// A node's sign of life.
#[derive(Debug, PartialEq)]
pub(crate) struct NodeLease {
    meta: Meta,
    /// When it was last renewed, by the node's clock: only compared, never counted with.
    renewed: Option<Timestamp>,
}

impl Projected for NodeLease {
    type Object = Lease;
    const PLURAL: &'static str = "leases";

    fn project(mut object: Lease) -> Option<Self> {
        let renewed = object.spec.take().and_then(|spec| spec.renew_time).map(|time| time.0);
        Some(Self { meta: Meta::take(&mut object.metadata), renewed })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}

/// Starts the three controllers.
pub(crate) fn start(tasks: &mut Tasks, config: &Config) {
    let leases: Cache<NodeLease> = Cache::new(config.metrics.clone());
    tasks.follow(&leases, Api::namespaced(config.client.clone(), LEASES), Options::default());
    let ready = |config: &Config| {
        let (pods, nodes) = (config.pods.clone(), config.nodes.clone());
        async move {
            tokio::join!(pods.synced(), nodes.synced());
        }
    };
    let (both, lease) = (ready(config), leases.clone());
    tasks.run(lifecycle::controller(config, &leases), async move {
        tokio::join!(both, lease.synced());
    });
    tasks.run(eviction::controller(config), ready(config));
    tasks.run(collect::controller(config), ready(config));
}

fn pod_reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.meta.key.namespace.clone()),
        name: Some(pod.meta.key.name.clone()),
        uid: Some(pod.meta.uid.0.clone()),
        ..ObjectReference::default()
    }
}
