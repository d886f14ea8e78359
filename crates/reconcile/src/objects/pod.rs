//! Pods.

use super::kept;
use crate::{Meta, Projected, Term};
use k8s_openapi::{
    api::core::v1::{self, ContainerStatus, PodSpec, PodStatus, Toleration},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

/// The annotations that some controller reads.
const ANNOTATIONS: [&str; 6] = [
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-index-failure-count",
    "batch.kubernetes.io/job-index-ignored-failure-count",
    "controller.kubernetes.io/pod-deletion-cost",
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubernetes.io/config.mirror",
];

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Phase {
    /// Not all containers have started.
    #[default]
    Pending,
    /// Its node does not answer.
    Unknown,
    /// Some container runs.
    Running,
    /// All containers have ended well.
    Succeeded,
    /// All containers have ended, and one badly.
    Failed,
}

/// A port that a container names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name, or nothing.
    pub name: String,
    /// Its number.
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The container.
    pub container: String,
    /// Its exit code.
    pub code: i32,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pod {
    /// Its metadata.
    pub meta: Meta,
    /// The annotations that some controller reads.
    pub annotations: BTreeMap<String, String>,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// The only node that its affinity allows by name, as daemons' pods have it.
    pub bound_to: Option<String>,
    /// `spec.hostname`.
    pub hostname: Option<String>,
    /// `spec.subdomain`.
    pub subdomain: Option<String>,
    /// What it bears.
    pub tolerations: Arc<[Toleration]>,
    /// The ports that its containers name.
    pub ports: Vec<ContainerPort>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Why it is there, in one word, such as `Evicted`.
    pub reason: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Since when it is ready, or not.
    pub ready_since: Option<Timestamp>,
    /// Conditions as (type, status).
    pub conditions: Vec<(String, String)>,
    /// Its addresses, the first of each family.
    pub ips: Vec<String>,
    /// When its node took it in.
    pub started: Option<Timestamp>,
    /// How often its containers were started again, all together.
    pub restarts: i32,
    /// How often that container was which was started again most.
    pub most_restarts: i32,
    /// How containers ended that are not running again.
    pub exits: Vec<Exit>,
    /// When its last container ended; none while one runs or did not say.
    pub finished: Option<Timestamp>,
}

impl Pod {
    /// Whether its containers have ended for good.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether it counts for its controller: it has not ended and is not being deleted.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.is_over() && self.meta.deleting.is_none()
    }

    /// Whether it has been ready for `min_ready` at `now`.
    #[must_use]
    pub fn is_available(&self, min_ready: Duration, now: Timestamp) -> bool {
        self.ready && self.available_in(min_ready, now).is_none()
    }

    /// How long it takes until it is available if it stays ready; none when it is, or is not even ready.
    #[must_use]
    pub fn available_in(&self, min_ready: Duration, now: Timestamp) -> Option<Duration> {
        if !self.ready || min_ready.is_zero() {
            return None;
        }
        let since = self.ready_since.unwrap_or(now);
        let ready_for = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        min_ready.checked_sub(ready_for).filter(|left| !left.is_zero())
    }

    /// Whether a condition has this status.
    #[must_use]
    pub fn has_condition(&self, type_: &str, status: &str) -> bool {
        self.conditions.iter().any(|(t, s)| t == type_ && s == status)
    }
}

impl Projected for Pod {
    type Object = v1::Pod;
    const PLURAL: &'static str = "pods";

    fn project(mut object: v1::Pod) -> Option<Self> {
        let annotations = kept(object.metadata.annotations.take(), &ANNOTATIONS);
        let mut pod = Self { meta: Meta::take(&mut object.metadata), annotations, ..Self::default() };
        if let Some(spec) = object.spec {
            pod.take_spec(spec);
        }
        if let Some(status) = object.status {
            pod.take_status(status);
        }
        Some(pod)
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        let node = self.node.iter().map(|node| Term::Node(node.clone()));
        std::iter::once(Term::of_controller(&self.meta)).chain(node).collect()
    }
}

impl Pod {
    fn take_spec(&mut self, spec: PodSpec) {
        self.ports = ports(&spec);
        self.bound_to = bound_to(&spec);
        self.node = spec.node_name.filter(|node| !node.is_empty());
        self.hostname = spec.hostname.filter(|name| !name.is_empty());
        self.subdomain = spec.subdomain.filter(|name| !name.is_empty());
        self.tolerations = shared(spec.tolerations.unwrap_or_default());
    }

    fn take_status(&mut self, status: PodStatus) {
        self.phase = match status.phase.as_deref() {
            Some("Running") => Phase::Running,
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            Some("Unknown") => Phase::Unknown,
            // A pod without a phase was never looked at by anybody.
            _ => Phase::Pending,
        };
        self.reason = status.reason;
        let conditions = status.conditions.unwrap_or_default();
        if let Some(ready) = conditions.iter().find(|condition| condition.type_ == "Ready") {
            self.ready = ready.status == "True";
            self.ready_since = ready.last_transition_time.as_ref().map(|time| time.0);
        }
        self.conditions = conditions.into_iter().map(|condition| (condition.type_, condition.status)).collect();
        let ips: Vec<String> = status.pod_ips.into_iter().flatten().map(|ip| ip.ip).collect();
        self.ips = if ips.is_empty() { status.pod_ip.filter(|ip| !ip.is_empty()).into_iter().collect() } else { ips };
        self.started = status.start_time.map(|time| time.0);
        let regular = status.container_statuses.unwrap_or_default();
        let init = status.init_container_statuses.unwrap_or_default();
        let all = || init.iter().chain(&regular);
        self.restarts = all().map(|container| container.restart_count).sum();
        self.most_restarts = regular.iter().map(|container| container.restart_count).max().unwrap_or_default();
        self.exits = all().filter_map(exit).collect();
        let ends: Option<Vec<Timestamp>> = regular.iter().map(|container| Some(ended(container)?.0)).collect();
        self.finished = ends.and_then(|ends| ends.into_iter().max());
    }
}

fn exit(container: &ContainerStatus) -> Option<Exit> {
    let terminated = container.state.as_ref()?.terminated.as_ref()?;
    Some(Exit { container: container.name.clone(), code: terminated.exit_code })
}

fn ended(container: &ContainerStatus) -> Option<&Time> {
    container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()
}

fn ports(spec: &PodSpec) -> Vec<ContainerPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports
        .map(|port| ContainerPort {
            name: port.name.clone().unwrap_or_default(),
            port: port.container_port,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        })
        .collect()
}

fn bound_to(spec: &PodSpec) -> Option<String> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let mut fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let by_name = fields.find(|field| field.key == "metadata.name" && field.operator == "In")?;
    by_name.values.as_ref()?.first().cloned()
}

/// The tolerations; those that nearly all pods have, which admission adds, are the same ones in each.
fn shared(tolerations: Vec<Toleration>) -> Arc<[Toleration]> {
    static USUAL: LazyLock<Arc<[Toleration]>> = LazyLock::new(|| {
        let usual = |key: &str| Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some("NoExecute".to_owned()),
            toleration_seconds: Some(300),
            value: None,
        };
        Arc::new(["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map(usual))
    });
    if tolerations == **USUAL { Arc::clone(&USUAL) } else { tolerations.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_keeps_what_controllers_ask_for() {
        let pod = Pod::project(
            serde_json::from_value(json!({
                "metadata": {"namespace": "demo", "name": "p", "uid": "u", "resourceVersion": "7",
                             "annotations": {"controller.kubernetes.io/pod-deletion-cost": "5", "noise": "x"}},
                "spec": {"nodeName": "host-1", "containers": [
                    {"name": "c", "ports": [{"name": "web", "containerPort": 80}],
                     "resources": {"requests": {"cpu": "100m"}}}]},
                "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                    "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 2,
                        "state": {"terminated": {"exitCode": 3, "finishedAt": "2026-01-01T00:01:00Z"}}}]},
            }))
            .unwrap(),
        )
        .unwrap();
        assert_eq!((pod.phase, pod.ready, pod.restarts, pod.ips.len()), (Phase::Running, true, 2, 2));
        assert_eq!(pod.annotations.len(), 1);
        assert_eq!(pod.exits, [Exit { container: "c".into(), code: 3 }]);
        assert_eq!(pod.terms(), [Term::NoController("demo".into()), Term::Node("host-1".into())]);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(pod.finished, Some(at("2026-01-01T00:01:00Z")));
        let minute = Duration::from_secs(60);
        assert_eq!(pod.available_in(minute, at("2026-01-01T00:00:20Z")), Some(Duration::from_secs(40)));
        assert!(pod.is_available(minute, at("2026-01-01T00:01:00Z")));
    }
}
