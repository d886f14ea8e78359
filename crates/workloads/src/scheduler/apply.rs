//! Carrying out what was decided on a pod.

use super::{
    cycle::{DecidedAlone, Outcome},
    pods::PendingPod,
};
use k8s_openapi::{
    api::core::v1::{Binding, ObjectReference, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use orrery_api::names::HostName;
use orrery_reconcile::{Recorder, Tone, chain};
use serde_json::{Value, json};

/// Set to `scheduler` on a pod that was placed without DRS.
const DECIDED_BY: &str = "drs.orrery.dev/decided-by";
/// Why it was, and why it got its host.
const DECISION_MESSAGE: &str = "drs.orrery.dev/message";

/// What became of a pod.
#[derive(Debug)]
pub(super) enum Done {
    /// It is bound.
    Bound(HostName),
    /// It waits for a change.
    Parked,
    /// It is to be tried again soon.
    Again,
}

/// Writes outcomes to the API.
pub(super) struct Apply {
    client: kube::Client,
    events: Recorder,
}

impl Apply {
    pub(super) fn new(client: kube::Client, events: Recorder) -> Self {
        Self { client, events }
    }

    /// Does what `outcome` says. Failures are logged; the pod is then tried again.
    pub(super) async fn carry_out(&self, pod: &PendingPod, outcome: &Outcome) -> Done {
        match outcome {
            Outcome::Bind { host, alone } => self.bind(pod, host, alone.as_ref()).await,
            Outcome::Unschedulable(message) => self.refuse(pod, message).await,
            Outcome::RejectedByDrs(message) => {
                self.refuse(pod, message).await;
                Done::Again
            }
            Outcome::Gated(message) => self.park(pod, "SchedulingGated", message).await,
            Outcome::Stale => {
                tracing::debug!(pod = pod.name, namespace = pod.namespace, "the answer is out of date; asked again");
                Done::Again
            }
        }
    }

    fn pods(&self, pod: &PendingPod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace)
    }

    async fn bind(&self, pod: &PendingPod, host: &HostName, alone: Option<&DecidedAlone>) -> Done {
        let binding = binding(pod, host, alone);
        let bound: Result<Value, kube::Error> =
            self.pods(pod).create_subresource("binding", &pod.name, &PostParams::default(), &binding).await;
        if let Err(error) = bound {
            let (namespace, error) = (&pod.namespace, chain(&error));
            tracing::warn!(pod = pod.name, %namespace, %host, error, "the pod could not be bound; it is tried again");
            return Done::Again;
        }
        let reference = pod.reference();
        if let Some(alone) = alone {
            let message = alone_message(host, alone);
            self.events.record(&reference, Tone::Warning, "PlacedWithoutDRS", &message);
        }
        let message = format!("Successfully assigned {}/{} to {host}", pod.namespace, pod.name);
        self.events.record(&reference, Tone::Normal, "Scheduled", &message);
        Done::Bound(host.clone())
    }

    async fn refuse(&self, pod: &PendingPod, message: &str) -> Done {
        self.events.record(&pod.reference(), Tone::Warning, "FailedScheduling", message);
        self.park(pod, "Unschedulable", message).await
    }

    /// Puts the reason into the pod's condition `PodScheduled`, unless it says so already.
    async fn park(&self, pod: &PendingPod, reason: &str, message: &str) -> Done {
        let said = |c: &PodCondition| {
            c.status == "False" && c.reason.as_deref() == Some(reason) && c.message.as_deref() == Some(message)
        };
        if pod.scheduled.as_ref().is_some_and(said) {
            return Done::Parked;
        }
        let condition = not_scheduled(pod.scheduled.as_ref(), reason, message, Time(Timestamp::now()));
        let patch = json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}});
        match self.pods(pod).patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => {}
            // Gone, or another pod of its name by now: the watch will tell.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => {
                let (namespace, error) = (&pod.namespace, chain(&error));
                tracing::warn!(pod = pod.name, %namespace, error, "the condition PodScheduled could not be written");
                return Done::Again;
            }
        }
        Done::Parked
    }
}

fn alone_message(host: &HostName, alone: &DecidedAlone) -> String {
    format!("DRS was not asked ({}); the scheduler chose {host}: {}", alone.why_alone, alone.why_host)
}

fn binding(pod: &PendingPod, host: &HostName, alone: Option<&DecidedAlone>) -> Binding {
    // The API server copies a binding's annotations to the pod in the same write.
    let annotations = alone.map(|alone| {
        [(DECIDED_BY.to_owned(), "scheduler".to_owned()), (DECISION_MESSAGE.to_owned(), alone_message(host, alone))]
            .into()
    });
    Binding {
        metadata: ObjectMeta {
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            uid: Some(pod.uid.clone()),
            annotations,
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(host.to_string()),
            ..ObjectReference::default()
        },
    }
}

/// The condition after `before`; its transition time moves only with its status.
fn not_scheduled(before: Option<&PodCondition>, reason: &str, message: &str, now: Time) -> PodCondition {
    let since = before.filter(|condition| condition.status == "False").and_then(|c| c.last_transition_time.clone());
    PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: since.or(Some(now)),
        ..PodCondition::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_drs::view::PodView;

    fn pod() -> PendingPod {
        PendingPod {
            namespace: "demo".into(),
            name: "hello".into(),
            uid: "u1".into(),
            priority: 0,
            created: 0,
            view: PodView::default(),
            scheduled: None,
        }
    }

    #[test]
    fn a_binding_names_the_pod_it_was_decided_for_and_who_decided() {
        let host = HostName::new("host-1").unwrap();
        let plain = binding(&pod(), &host, None);
        assert_eq!((plain.metadata.uid.as_deref(), plain.target.name.as_deref()), (Some("u1"), Some("host-1")));
        assert_eq!(plain.metadata.annotations, None);
        let alone = DecidedAlone { why_alone: "no manager".into(), why_host: "most room".into() };
        let annotations = binding(&pod(), &host, Some(&alone)).metadata.annotations.unwrap();
        assert_eq!(annotations[DECIDED_BY], "scheduler");
        assert_eq!(
            annotations[DECISION_MESSAGE],
            "DRS was not asked (no manager); the scheduler chose host-1: most room"
        );
    }

    #[test]
    fn the_condition_keeps_its_transition_time_while_the_pod_stays_unscheduled() {
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        let first = not_scheduled(None, "Unschedulable", "a", at(1));
        assert_eq!(first.last_transition_time, Some(at(1)));
        let second = not_scheduled(Some(&first), "Unschedulable", "b", at(2));
        assert_eq!((second.last_transition_time, second.message.as_deref()), (Some(at(1)), Some("b")));
    }
}
