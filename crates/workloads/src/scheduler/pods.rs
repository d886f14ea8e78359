//! What the scheduler keeps of a pod.

use super::SCHEDULER_NAME;
use crate::project::{is_over, pod_view};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodCondition};
use kube::ResourceExt;
use orrery_api::names::HostName;
use orrery_drs::{amounts::Amounts, view::PodView};

/// A pod that matters to the scheduler. Those that have ended, and those that another scheduler is to place, don't.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PodState {
    /// Ours to place.
    Pending(Box<PendingPod>),
    /// Takes room on a node.
    Bound(BoundPod),
}

/// A pod without a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PendingPod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) priority: i32,
    /// Unix seconds; 0 when unknown.
    pub(super) created: i64,
    pub(super) view: PodView,
    /// Its condition `PodScheduled`.
    pub(super) scheduled: Option<PodCondition>,
}

/// A pod on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BoundPod {
    pub(super) host: HostName,
    pub(super) requests: Amounts,
}

impl PodState {
    pub(super) fn pending(&self) -> Option<&PendingPod> {
        match self {
            Self::Pending(pod) => Some(pod),
            Self::Bound(_) => None,
        }
    }

    pub(super) fn bound(&self) -> Option<&BoundPod> {
        match self {
            Self::Bound(pod) => Some(pod),
            Self::Pending(_) => None,
        }
    }
}

impl PendingPod {
    /// Sorts the most important pod first, then the oldest.
    pub(super) fn order(&self) -> (std::cmp::Reverse<i32>, i64, &str, &str) {
        (std::cmp::Reverse(self.priority), self.created, &self.namespace, &self.name)
    }

    /// Names the pod in an event.
    pub(super) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// The scheduler's projection.
pub(super) fn pod_state(pod: &Pod) -> Option<PodState> {
    if is_over(pod) {
        return None;
    }
    let view = match pod_view(pod) {
        Ok(view) => view,
        Err(error) => {
            let name = pod.name_any();
            tracing::warn!(namespace = pod.namespace(), name, %error, "the pod is passed over");
            return None;
        }
    };
    if let Some(host) = view.node_name {
        return Some(PodState::Bound(BoundPod { host, requests: view.requests }));
    }
    let spec = pod.spec.as_ref()?;
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name == SCHEDULER_NAME);
    if !ours || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let scheduled = conditions.into_iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    Some(PodState::Pending(Box::new(PendingPod {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        priority: spec.priority.unwrap_or(0),
        created: pod.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        view,
        scheduled: scheduled.cloned(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn state(metadata: &Value, spec: &Value, phase: &str) -> Option<PodState> {
        let pod = json!({"metadata": metadata, "spec": spec, "status": {"phase": phase}});
        pod_state(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn only_pods_that_are_ours_to_place_or_take_room_are_kept() {
        let meta = || json!({"name": "p", "namespace": "demo", "uid": "u1"});
        let pending = state(&meta(), &json!({"containers": [], "schedulerName": "default-scheduler"}), "Pending");
        assert!(pending.unwrap().pending().is_some_and(|pod| pod.uid == "u1"));
        let bound = state(&meta(), &json!({"containers": [], "nodeName": "host-1"}), "Running");
        assert!(bound.unwrap().bound().is_some_and(|pod| pod.host.as_str() == "host-1"));
        assert_eq!(state(&meta(), &json!({"containers": [], "nodeName": "host-1"}), "Succeeded"), None);
        assert_eq!(state(&meta(), &json!({"containers": [], "schedulerName": "other"}), "Pending"), None);
        let mut going = meta();
        going["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
        assert_eq!(state(&going, &json!({"containers": []}), "Pending"), None);
        // A pod that is being deleted takes room until it is gone.
        assert!(state(&going, &json!({"containers": [], "nodeName": "host-1"}), "Running").is_some());
    }
}
