//! DRS at work: placement reviews answered from the inventory.
//!
//! Reviews are answered one after the other: each sees what the one before gave away.

use crate::{
    fleet::Fleet,
    inventory::{Inventory, InventoryError},
};
use orrery_api::{
    condition::is_true,
    inventory::{Host as HostObject, PlacementReview, PlacementReviewSpec, PlacementReviewStatus},
    names::HostName,
};
use orrery_apiserver::{ReviewHandler, User};
use orrery_drs::{
    place::{Host, Snapshot},
    review::{Reviewed, answer},
};
use orrery_machinery::{
    descriptor::to_value,
    status::{ApiError, Target},
};
use serde_json::Value;
use std::sync::Arc;
use tokio::{sync::Mutex, time::Instant};

/// Answers `create placementreviews`.
pub(crate) struct Runner {
    inventory: Arc<Inventory>,
    fleet: Arc<Fleet>,
    turn: Mutex<()>,
}

/// Why a review is not answered.
#[derive(Debug, thiserror::Error)]
enum ReviewError {
    #[error("the Supervisor is not in the inventory")]
    UnknownSupervisor,
    #[error(transparent)]
    Inventory(#[from] InventoryError),
}

impl Runner {
    pub(crate) fn new(inventory: Arc<Inventory>, fleet: Arc<Fleet>) -> Self {
        Self { inventory, fleet, turn: Mutex::new(()) }
    }

    async fn answer(&self, review: &PlacementReviewSpec) -> Result<PlacementReviewStatus, ReviewError> {
        let _turn = self.turn.lock().await;
        let supervisors = self.inventory.supervisors()?;
        let found =
            supervisors.get_opt(&review.supervisor).await.map_err(InventoryError::doing("read a Supervisor"))?;
        let cluster = found.ok_or(ReviewError::UnknownSupervisor)?.spec.cluster;
        let hosts = self.inventory.hosts()?.list(&kube::api::ListParams::default()).await;
        let hosts = hosts.map_err(InventoryError::doing("list hosts"))?.items;
        let now = Instant::now();
        let snapshot = snapshot(&hosts, &cluster, &self.fleet, now);
        let reviewed = answer(&snapshot, review);
        self.take_note(review, &reviewed, now);
        Ok(reviewed.status)
    }

    fn take_note(&self, review: &PlacementReviewSpec, reviewed: &Reviewed, now: Instant) {
        for (pod, decision) in review.pods.iter().zip(&reviewed.decisions) {
            let (supervisor, pod_name, reason) = (&review.supervisor, &pod.name, decision.reason());
            match &decision.host {
                Some(host) => {
                    self.fleet.placed(host, &pod.uid, pod.cpu_milli, pod.memory_bytes, now);
                    tracing::info!(supervisor, pod = pod_name, %host, reason, "placed");
                }
                None => tracing::info!(supervisor, pod = pod_name, reason, "not placed"),
            }
        }
    }
}

/// The ready hosts of `cluster` with what is taken on them.
fn snapshot(hosts: &[HostObject], cluster: &str, fleet: &Fleet, now: Instant) -> Snapshot {
    let host = |object: &HostObject| {
        let status = object.status.as_ref()?;
        let facts = status.facts.as_ref()?;
        let name = HostName::new(object.metadata.name.as_deref()?).ok()?;
        if object.spec.cluster != cluster || !is_true(&status.conditions, "Ready") {
            return None;
        }
        let used = fleet.usage(&name, now);
        let room = Host {
            cpu: facts.cpu_milli,
            memory: facts.memory_bytes,
            used_cpu: used.cpu,
            used_memory: used.memory,
            machines: used.machines,
        };
        Some((name, room))
    };
    Snapshot { hosts: hosts.iter().filter_map(host).collect() }
}

#[async_trait::async_trait]
impl ReviewHandler for Runner {
    async fn review(&self, _: &User, object: Value) -> Result<Value, ApiError> {
        let mut review: PlacementReview = serde_json::from_value(object)
            .map_err(|error| ApiError::bad_request(format!("the placement review is malformed: {error}")))?;
        let status = self.answer(&review.spec).await.map_err(|error| match error {
            ReviewError::UnknownSupervisor => ApiError::not_found(Target {
                group: orrery_api::inventory::GROUP,
                resource: "supervisors",
                name: &review.spec.supervisor,
            }),
            ReviewError::Inventory(error) => error.to_api(),
        })?;
        review.status = Some(status);
        Ok(to_value(&review))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Usage;
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
    use orrery_api::{
        condition::condition,
        inventory::{HostFacts, HostSpec, HostStatus},
        units::{Bytes, MilliCpu},
    };

    fn host(name: &str, cluster: &str, ready: bool) -> HostObject {
        let mut host = HostObject::new(name, HostSpec { cluster: cluster.into() });
        let now = Time(Timestamp::from_second(1).unwrap());
        host.status = Some(HostStatus {
            conditions: vec![condition("Ready", ready, "Test", "", now)],
            facts: Some(HostFacts { cpu_milli: MilliCpu(1000), memory_bytes: Bytes(1000), ..HostFacts::default() }),
            ..HostStatus::default()
        });
        host
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_shows_the_ready_hosts_of_the_cluster_and_what_is_taken_on_them() {
        let now = Instant::now();
        let fleet = Fleet::new(now);
        let name = HostName::new("a").unwrap();
        fleet.heard(&name, Usage { cpu: MilliCpu(300), memory: Bytes(200), machines: 1 }, now);
        fleet.placed(&name, "u", MilliCpu(100), Bytes(100), now);
        let hosts = [host("a", "one", true), host("b", "two", true), host("c", "one", false)];
        let snapshot = snapshot(&hosts, "one", &fleet, now);
        let expected = Host {
            cpu: MilliCpu(1000),
            memory: Bytes(1000),
            used_cpu: MilliCpu(400),
            used_memory: Bytes(300),
            machines: 2,
        };
        assert_eq!(snapshot.hosts.into_iter().collect::<Vec<_>>(), [(name, expected)]);
    }
}
