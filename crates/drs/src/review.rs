//! Placement as a `PlacementReview` of the inventory API asks for it.

use crate::place::{Decision, Request, Snapshot, plan};
use orrery_api::{
    inventory::{PlacementAnswer, PlacementRequest, PlacementReviewSpec, PlacementReviewStatus},
    names::HostName,
};

/// The decisions for a review and the answer made of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Reviewed {
    /// One for each pod of the review, in its order.
    pub decisions: Vec<Decision>,
    /// What the caller is told.
    pub status: PlacementReviewStatus,
}

/// Answers a review. A candidate whose name is no host's name cannot be one and is passed over.
#[must_use]
pub fn answer(snapshot: &Snapshot, review: &PlacementReviewSpec) -> Reviewed {
    let requests: Vec<Request> = review.pods.iter().map(request).collect();
    let decisions = plan(snapshot, &requests);
    let placements = review.pods.iter().zip(&decisions).map(|(pod, decision)| placement(pod, decision)).collect();
    Reviewed { status: PlacementReviewStatus { placements }, decisions }
}

fn request(pod: &PlacementRequest) -> Request {
    Request {
        cpu: pod.cpu_milli,
        memory: pod.memory_bytes,
        candidates: pod.candidates.iter().filter_map(|name| HostName::new(name.as_str()).ok()).collect(),
    }
}

fn placement(pod: &PlacementRequest, decision: &Decision) -> PlacementAnswer {
    PlacementAnswer {
        uid: pod.uid.clone(),
        host: decision.host.as_ref().map(HostName::to_string),
        reason: decision.reason(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Host;
    use orrery_api::units::{Bytes, MilliCpu};

    #[test]
    fn every_pod_of_a_review_is_answered_in_order() {
        let roomy = Host { cpu: MilliCpu(1000), memory: Bytes(1000), ..Host::default() };
        let snapshot = Snapshot { hosts: [(HostName::new("host-1").unwrap(), roomy)].into() };
        let pod = |uid: &str, cpu: u64, candidates: &[&str]| PlacementRequest {
            uid: uid.into(),
            name: format!("demo/{uid}"),
            cpu_milli: MilliCpu(cpu),
            memory_bytes: Bytes(10),
            candidates: candidates.iter().map(|c| (*c).to_owned()).collect(),
        };
        let review = PlacementReviewSpec {
            supervisor: "supervisor-1".into(),
            pods: vec![pod("u1", 600, &["host-1", "Not A Host"]), pod("u2", 600, &["host-1"]), pod("u3", 1, &[])],
        };
        let status = answer(&snapshot, &review).status;
        let hosts: Vec<_> = status.placements.iter().map(|p| (p.uid.as_str(), p.host.as_deref())).collect();
        assert_eq!(hosts, [("u1", Some("host-1")), ("u2", None), ("u3", None)]);
        assert!(status.placements[1].reason.contains("600m CPU asked for, 400m left"), "{status:?}");
    }
}
