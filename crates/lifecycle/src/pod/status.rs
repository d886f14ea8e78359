//! The status of a pod, as it is published.
//!
//! The order of events that `kubectl` and controllers rely on is the kubelet's; so are the words.

use super::run::{Ended, Run, time};
use super::{Observation, view::ContainerView};
use orrery_api::k8s::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    PodCondition, PodIP, PodStatus,
};

/// How a pod's containers are shown, and what became of the pod.
pub(super) struct Report<'a> {
    pub(super) init: Vec<Shown<'a>>,
    pub(super) main: Vec<Shown<'a>>,
    pub(super) fate: Fate,
    /// Whether every init container has done its work.
    pub(super) initialized: bool,
    /// Whether the machine runs and has its address.
    pub(super) machine_ready: bool,
}

impl<'a> Report<'a> {
    /// All containers, init containers first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Shown<'a>> {
        self.init.iter().chain(&self.main)
    }
}

/// One container as it is shown.
pub(super) struct Shown<'a> {
    pub(super) container: &'a ContainerView,
    pub(super) run: Run,
    /// Shown instead of the run: why the container waits.
    pub(super) waiting: Option<Waiting>,
}

impl Shown<'_> {
    pub(super) fn is_running(&self) -> bool {
        matches!(self.run, Run::Running { .. })
    }

    /// Whether it runs and its startup probe, if it has one, has succeeded.
    pub(super) fn has_started(&self, seen: &Observation<'_>) -> bool {
        self.is_running() && seen.probes.started(self.container)
    }

    /// Whether it is ready; an init container is when it has done its work.
    fn is_ready(&self, seen: &Observation<'_>, init: bool) -> bool {
        if init && !self.container.sidecar {
            return matches!(&self.run, Run::Ended(ended) if ended.code == 0);
        }
        self.is_running() && seen.probes.ready(self.container)
    }
}

/// Why a container waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) reason: &'static str,
    pub(super) message: Option<String>,
}

/// What became of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its containers tell.
    Open,
    /// It is over.
    Over { succeeded: bool, reason: Option<String>, message: Option<String> },
    /// It waits, and this is why.
    Held { reason: String, message: String },
}

/// Whether a phase is one that a pod never leaves.
pub(super) fn is_terminal(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// The status to publish.
pub(super) fn publish(seen: &Observation<'_>, report: &Report<'_>) -> PodStatus {
    let previous = seen.previous;
    let machine = seen.pod.uid.to_string();
    let statuses = |shown: &[Shown<'_>], known: &Option<Vec<ContainerStatus>>, init: bool| -> Option<Vec<_>> {
        let list: Vec<_> =
            shown.iter().map(|s| container(seen, report, s, find(known, &s.container.name), &machine, init)).collect();
        (!list.is_empty()).then_some(list)
    };
    let (phase, reason, message) = match &report.fate {
        Fate::Over { succeeded, reason, message } => {
            (if *succeeded { "Succeeded" } else { "Failed" }, reason.clone(), message.clone())
        }
        Fate::Held { reason, message } => ("Pending", Some(reason.clone()), Some(message.clone())),
        Fate::Open => (phase_of(report), None, None),
    };
    let pod_ip = seen.addresses.pod_ip.clone().or_else(|| previous.pod_ip.clone());
    let host_ip = Some(seen.addresses.host_ip.clone()).filter(|ip| !ip.is_empty()).or_else(|| previous.host_ip.clone());
    PodStatus {
        phase: Some(phase.to_owned()),
        reason,
        message,
        init_container_statuses: statuses(&report.init, &previous.init_container_statuses, true),
        container_statuses: statuses(&report.main, &previous.container_statuses, false),
        conditions: Some(conditions(seen, report, phase)),
        start_time: previous.start_time.clone().or_else(|| Some(time(seen.now))),
        pod_ips: pod_ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip,
        host_ips: host_ip.clone().map(|ip| vec![HostIP { ip }]),
        host_ip,
        observed_generation: seen.pod.generation,
        // What others publish stays theirs.
        ..seen.pod.status.clone()
    }
}

/// The published status of container `name`.
pub(super) fn find<'a>(list: &'a Option<Vec<ContainerStatus>>, name: &str) -> Option<&'a ContainerStatus> {
    list.iter().flatten().find(|status| status.name == name)
}

/// The phase that the containers make, by the kubelet's rules.
fn phase_of(report: &Report<'_>) -> &'static str {
    if !report.initialized {
        return "Pending";
    }
    if report.main.iter().any(|shown| shown.run == Run::Never) { "Pending" } else { "Running" }
}

fn container(
    seen: &Observation<'_>,
    report: &Report<'_>,
    shown: &Shown<'_>,
    previous: Option<&ContainerStatus>,
    machine: &str,
    init: bool,
) -> ContainerStatus {
    let Shown { container, run, waiting } = shown;
    let id = |attempt: u32| format!("crx://{machine}/{}/{attempt}", container.name);
    let wait = |w: &Waiting| {
        let waiting = ContainerStateWaiting { reason: Some(w.reason.to_owned()), message: w.message.clone() };
        ContainerState { waiting: Some(waiting), ..ContainerState::default() }
    };
    let (state, last_state) = match (run, waiting) {
        (Run::Never, Some(waiting)) => (wait(waiting), None),
        (Run::Never, None) => (never_ran(report, previous, init), None),
        (Run::Ended(ended), Some(waiting)) => (wait(waiting), Some(terminated(ended, id(ended.attempt)))),
        (Run::Ended(ended), None) => {
            let state = terminated(ended, id(ended.attempt));
            let last = before(previous, ended.attempt).filter(|last| *last != state);
            (state, last)
        }
        (Run::Running { attempt, started }, _) => {
            let running = ContainerStateRunning { started_at: Some(time(*started)) };
            (ContainerState { running: Some(running), ..ContainerState::default() }, before(previous, *attempt))
        }
    };
    let count = run.attempt().and_then(|attempt| i32::try_from(attempt).ok()).unwrap_or(0);
    let image_id = seen.images.get(&container.name).and_then(|image| image.id());
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone(),
        image_id: match run {
            Run::Never => String::new(),
            Run::Running { .. } | Run::Ended(_) => {
                image_id.map(str::to_owned).or_else(|| previous.map(|p| p.image_id.clone())).unwrap_or_default()
            }
        },
        container_id: run.attempt().map(id),
        ready: shown.is_ready(seen, init),
        started: Some(shown.has_started(seen)),
        restart_count: count.max(previous.map_or(0, |previous| previous.restart_count)),
        state: Some(state),
        last_state,
        ..ContainerStatus::default()
    }
}

/// A container that never ran and whose reason for waiting nobody named.
fn never_ran(report: &Report<'_>, previous: Option<&ContainerStatus>, init: bool) -> ContainerState {
    let kept = previous.and_then(|p| p.state.clone()).filter(|state| state.waiting.is_some());
    match (&report.fate, kept) {
        (Fate::Over { .. }, Some(kept)) => kept,
        (Fate::Over { .. } | Fate::Open | Fate::Held { .. }, _) => {
            let reason = if init || report.initialized { "ContainerCreating" } else { "PodInitializing" };
            let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message: None };
            ContainerState { waiting: Some(waiting), ..ContainerState::default() }
        }
    }
}

/// How the attempt before `attempt` ended, as it was published.
fn before(previous: Option<&ContainerStatus>, attempt: u32) -> Option<ContainerState> {
    let previous = previous?;
    let shown = u32::try_from(previous.restart_count).unwrap_or(0);
    let state = previous.state.clone().filter(|state| state.terminated.is_some() && shown < attempt);
    state.or_else(|| previous.last_state.clone())
}

fn terminated(ended: &Ended, container_id: String) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(container_id),
            exit_code: ended.code,
            reason: Some(ended.reason.clone()),
            message: ended.message.clone(),
            started_at: ended.started.map(time),
            finished_at: Some(time(ended.finished)),
            signal: None,
        }),
        ..ContainerState::default()
    }
}

/// A condition's status with reason and message; both empty when it is true.
struct Verdict {
    type_: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

fn verdict(type_: &'static str, holds: bool, reason: &'static str, message: String) -> Verdict {
    let message = Some(message).filter(|text| !text.is_empty() && !holds);
    Verdict { type_, holds, reason: (!holds).then_some(reason), message }
}

fn conditions(seen: &Observation<'_>, report: &Report<'_>, phase: &str) -> Vec<PodCondition> {
    let sidecars = report.init.iter().filter(|shown| shown.container.sidecar);
    let unready = names(sidecars.chain(&report.main).filter(|shown| !shown.is_ready(seen, false)));
    let incomplete = names(report.init.iter().filter(|shown| !is_complete(seen, shown)));
    let (why, message) = match phase {
        "Succeeded" => ("PodCompleted", String::new()),
        "Failed" => ("PodFailed", String::new()),
        _ => ("ContainersNotReady", format!("containers with unready status: [{unready}]")),
    };
    let containers_ready = unready.is_empty() && matches!(report.fate, Fate::Open) && report.machine_ready;
    let gates = open_gates(seen);
    let ready = match (containers_ready, gates.is_empty()) {
        (true, false) => verdict("Ready", false, "ReadinessGatesNotReady", gates),
        (holds, _) => verdict("Ready", holds, why, message.clone()),
    };
    let initialized = report.initialized || phase == "Succeeded";
    let own = [
        verdict("PodReadyToStartContainers", report.machine_ready, "MachineNotReady", String::new()),
        verdict(
            "Initialized",
            initialized,
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{incomplete}]"),
        ),
        ready,
        verdict("ContainersReady", containers_ready, why, message),
        verdict("PodScheduled", true, "", String::new()),
    ];
    let others = seen.pod.status.conditions.iter().flatten();
    let others = others.filter(|present| own.iter().all(|verdict| verdict.type_ != present.type_)).cloned();
    let mut list: Vec<PodCondition> = own.iter().map(|verdict| condition(seen, verdict)).collect();
    list.extend(others);
    list
}

fn condition(seen: &Observation<'_>, verdict: &Verdict) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let known = seen.previous.conditions.iter().flatten().find(|present| present.type_ == verdict.type_);
    let since =
        known.filter(|present| present.status == status).and_then(|present| present.last_transition_time.clone());
    PodCondition {
        type_: verdict.type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message.clone(),
        last_transition_time: since.or_else(|| Some(time(seen.now))),
        observed_generation: seen.pod.generation,
        ..PodCondition::default()
    }
}

/// Whether an init container lets those after it begin.
pub(super) fn is_complete(seen: &Observation<'_>, shown: &Shown<'_>) -> bool {
    if shown.container.sidecar { shown.has_started(seen) } else { shown.is_ready(seen, true) }
}

/// Names of containers as the kubelet lists them.
fn names<'a>(shown: impl Iterator<Item = &'a Shown<'a>>) -> String {
    let names: Vec<&str> = shown.map(|shown| shown.container.name.as_str()).collect();
    names.join(" ")
}

fn open_gates(seen: &Observation<'_>) -> String {
    let conditions = seen.pod.status.conditions.iter().flatten();
    let open = seen.pod.readiness_gates.iter().filter_map(|gate| {
        match conditions.clone().find(|condition| &condition.type_ == gate) {
            None => Some(format!("corresponding condition of pod readiness gate {gate:?} does not exist.")),
            Some(condition) if condition.status != "True" => {
                Some(format!("the status of pod readiness gate {gate:?} is not \"True\", but {}", condition.status))
            }
            Some(_) => None,
        }
    });
    open.collect::<Vec<_>>().join(", ")
}
