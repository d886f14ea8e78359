//! Who has the last word on a pod's host.

use super::cycle::{Filtered, Placeable};
use orrery_api::{
    inventory::{PlacementAnswer, PlacementReviewSpec, PlacementReviewStatus},
    names::HostName,
};
use orrery_drs::{
    place::{Host, Snapshot},
    review::answer,
    view::NodeView,
};
use orrery_reconcile::chain;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long DRS may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// For how long DRS is not asked again once it could not be reached, so that pods don't wait in vain.
const LEAVE_ALONE: Duration = Duration::from_secs(5);

/// Why there is no answer to a placement review.
#[derive(Debug, thiserror::Error)]
pub enum PlacerError {
    /// The manager can't be reached, or failed.
    #[error("the manager cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The manager refuses to answer.
    #[error("the manager refused the placement review: {0}")]
    Refused(String),
}

/// DRS, as the scheduler knows it.
#[async_trait::async_trait]
pub trait Placer: Send + Sync {
    /// Chooses a host for each pod of `review`, in its order.
    async fn review(&self, review: PlacementReviewSpec) -> Result<PlacementReviewStatus, PlacerError>;
}

/// One answer for each pod that can be placed, in order.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) placements: Vec<PlacementAnswer>,
    /// Why DRS did not give them, when it did not.
    pub(super) alone: Option<String>,
}

/// Asks DRS, or decides alone where it can't be reached.
pub(super) struct Asker {
    placer: Arc<dyn Placer>,
    supervisor: String,
    /// DRS could not be reached, and why; it is not asked before then.
    away: Option<(Instant, String)>,
}

impl Asker {
    pub(super) fn new(placer: Arc<dyn Placer>, supervisor: String) -> Self {
        Self { placer, supervisor, away: None }
    }

    /// Answers for `filtered.placeable`, in order.
    pub(super) async fn ask(&mut self, filtered: &Filtered, nodes: &BTreeMap<HostName, NodeView>) -> Answers {
        let pods = filtered.placeable.iter().map(Placeable::request).collect();
        let review = PlacementReviewSpec { supervisor: self.supervisor.clone(), pods };
        if review.pods.is_empty() {
            return Answers { placements: Vec::new(), alone: None };
        }
        let why = match &self.away {
            Some((until, why)) if Instant::now() < *until => why.clone(),
            _ => match self.ask_drs(&review).await {
                Ok(placements) => {
                    self.away = None;
                    return Answers { placements, alone: None };
                }
                Err(why) => {
                    tracing::warn!(why, "DRS gives no answer; the scheduler decides alone");
                    self.away = Some((Instant::now() + LEAVE_ALONE, why.clone()));
                    why
                }
            },
        };
        Answers { placements: answer(&snapshot(nodes), &review).status.placements, alone: Some(why) }
    }

    async fn ask_drs(&self, review: &PlacementReviewSpec) -> Result<Vec<PlacementAnswer>, String> {
        let status = tokio::time::timeout(DEADLINE, self.placer.review(review.clone()))
            .await
            .map_err(|_| format!("the manager did not answer within {} s", DEADLINE.as_secs()))?
            .map_err(|error| chain(&error))?;
        let asked = review.pods.iter().map(|pod| &pod.uid);
        if status.placements.iter().map(|placement| &placement.uid).eq(asked) {
            Ok(status.placements)
        } else {
            Err("the manager's answer is not for the pods that were asked about".to_owned())
        }
    }
}

/// What the scheduler knows of the hosts: what their nodes offer and what pods ask for there.
fn snapshot(nodes: &BTreeMap<HostName, NodeView>) -> Snapshot {
    let host = |node: &NodeView| Host {
        cpu: node.allocatable.cpu,
        memory: node.allocatable.memory,
        used_cpu: node.requested.cpu,
        used_memory: node.requested.memory,
        machines: u32::try_from(node.pods).unwrap_or(u32::MAX),
    };
    Snapshot { hosts: nodes.iter().map(|(name, node)| (name.clone(), host(node))).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::pods::PendingPod;
    use orrery_api::units::{Bytes, MilliCpu};
    use orrery_drs::{amounts::Amounts, view::PodView};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A manager that is away, hangs, or answers about other pods.
    enum Manager {
        Away,
        Hangs,
        Mistaken,
    }

    struct Counted(Manager, AtomicU32);

    #[async_trait::async_trait]
    impl Placer for Counted {
        async fn review(&self, _: PlacementReviewSpec) -> Result<PlacementReviewStatus, PlacerError> {
            self.1.fetch_add(1, Ordering::SeqCst);
            match self.0 {
                Manager::Away => Err(PlacerError::Unreachable("connection refused".into())),
                Manager::Hangs => std::future::pending().await,
                Manager::Mistaken => Ok(PlacementReviewStatus::default()),
            }
        }
    }

    fn batch() -> (Filtered, BTreeMap<HostName, NodeView>) {
        let name = HostName::new("host-1").unwrap();
        let node = NodeView {
            name: name.clone(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            unschedulable: false,
            allocatable: Amounts::new(MilliCpu(1000), Bytes(1000)),
            allocatable_pods: 10,
            requested: Amounts::default(),
            pods: 0,
        };
        let pod = PendingPod {
            namespace: "demo".into(),
            name: "p".into(),
            uid: "u1".into(),
            priority: 0,
            created: 0,
            view: PodView::default(),
            scheduled: None,
        };
        let placeable = Placeable { pod, candidates: vec![name.clone()], rejected: Vec::new() };
        (Filtered { placeable: vec![placeable], hopeless: Vec::new() }, [(name, node)].into())
    }

    #[tokio::test(start_paused = true)]
    async fn without_drs_the_scheduler_decides_alone_says_so_and_does_not_ask_again_at_once() {
        for (manager, why) in [
            (Manager::Away, "the manager cannot be reached: connection refused"),
            (Manager::Hangs, "the manager did not answer within 2 s"),
            (Manager::Mistaken, "the manager's answer is not for the pods that were asked about"),
        ] {
            let placer = Arc::new(Counted(manager, AtomicU32::new(0)));
            let mut asker = Asker::new(Arc::clone(&placer) as Arc<dyn Placer>, "supervisor-1".into());
            let (filtered, nodes) = batch();
            for _ in 0..2 {
                let answers = asker.ask(&filtered, &nodes).await;
                assert_eq!(answers.alone.as_deref(), Some(why));
                assert_eq!(answers.placements[0].host.as_deref(), Some("host-1"));
            }
            assert_eq!(placer.1.load(Ordering::SeqCst), 1);
            tokio::time::advance(LEAVE_ALONE).await;
            asker.ask(&filtered, &nodes).await;
            assert_eq!(placer.1.load(Ordering::SeqCst), 2);
        }
    }
}
