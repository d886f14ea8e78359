//! When probes are done, and what follows from them. Pure: whoever does them tells how they went.
//!
//! ```text
//!   one probe of one attempt of a container
//!
//!   Waiting --initial delay over; startup probe succeeded--> due --look--> InFlight --finished--> Waiting (a period later)
//!
//!   its result   Unknown --successes in a row--> Good <--> Bad --failures in a row--
//! ```
//!
//! A container that starts anew begins anew. While a pod is being deleted only readiness is asked for. The rules and words are
//! the kubelet's (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes>).

use crate::handler::Probe;
use crate::pod::{ContainerView, Machine, Notice, PodView};
use orrery_api::k8s::jiff::{SignedDuration, Timestamp};
use orrery_wire::shim::MachinePhase;
use std::collections::BTreeMap;

/// How far behind its time a probe may be before its rhythm begins anew.
const LAG: SignedDuration = SignedDuration::from_secs(1);

/// Which of a container's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Whether it has started.
    Startup,
    /// Whether it still works.
    Liveness,
    /// Whether it wants work.
    Readiness,
}

impl ProbeKind {
    const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    fn of(self, container: &ContainerView) -> Option<&Probe> {
        let probes = &container.probes;
        match self {
            Self::Startup => probes.startup.as_ref(),
            Self::Liveness => probes.liveness.as_ref(),
            Self::Readiness => probes.readiness.as_ref(),
        }
    }
}

/// A probe that is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The container.
    pub container: String,
    /// Its attempt.
    pub attempt: u32,
    /// Which probe.
    pub kind: ProbeKind,
    /// What is to be done.
    pub probe: Probe,
    at: Timestamp,
}

/// How a probe went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Success,
    /// Badly; what happened, for people.
    Failure(String),
    /// It could not be done, and nothing is known.
    Unknown,
}

#[derive(Debug, Clone)]
struct State {
    attempt: u32,
    next: Timestamp,
    in_flight: bool,
    /// Outcomes in a row that were the same.
    streak: u32,
    last: Option<bool>,
    result: Option<bool>,
}

/// The probes of a pod. The default is what a new process knows.
#[derive(Debug, Clone, Default)]
pub struct Prober {
    states: BTreeMap<(String, ProbeKind), State>,
}

impl Prober {
    /// Takes in which containers run, and gives the probes that are to be done now. Each is to be followed by
    /// [`Prober::finished`].
    pub fn look(&mut self, pod: &PodView, machine: &Machine, now: Timestamp) -> Vec<Due> {
        let running = running(machine);
        self.states.retain(|(name, _), state| {
            running.get(name.as_str()).is_some_and(|(attempt, _)| *attempt == state.attempt)
        });
        let mut due = Vec::new();
        for container in pod.all_containers() {
            let Some((attempt, started)) = running.get(container.name.as_str()).copied() else { continue };
            for kind in ProbeKind::ALL {
                let Some(probe) = kind.of(container) else { continue };
                if !self.wanted(pod, container, kind) {
                    continue;
                }
                let key = (container.name.clone(), kind);
                let first = started + probe.initial_delay;
                let state = self.states.entry(key).or_insert_with(|| State::new(attempt, first));
                if state.in_flight || now < state.next {
                    continue;
                }
                state.in_flight = true;
                let (name, probe) = (container.name.clone(), probe.clone());
                due.push(Due { container: name, attempt, kind, probe, at: state.next.max(now - LAG) });
            }
        }
        due
    }

    fn wanted(&self, pod: &PodView, container: &ContainerView, kind: ProbeKind) -> bool {
        let started =
            container.probes.startup.is_none() || self.result(&container.name, ProbeKind::Startup) == Some(true);
        match kind {
            ProbeKind::Startup => !started && pod.deletion.is_none(),
            ProbeKind::Liveness => started && pod.deletion.is_none(),
            ProbeKind::Readiness => started,
        }
    }

    fn result(&self, container: &str, kind: ProbeKind) -> Option<bool> {
        self.states.get(&(container.to_owned(), kind))?.result
    }

    /// Takes in how a probe went; what is to be told.
    pub fn finished(&mut self, due: &Due, outcome: Outcome, now: Timestamp) -> Option<Notice> {
        let state = self.states.get_mut(&(due.container.clone(), due.kind))?;
        if state.attempt != due.attempt {
            return None;
        }
        state.in_flight = false;
        // One that took longer than its period is done again at once.
        state.next = (due.at + due.probe.period).max(now);
        let (good, message) = match outcome {
            Outcome::Unknown => return None,
            Outcome::Success => (true, None),
            Outcome::Failure(message) => (false, Some(message)),
        };
        state.streak = if state.last == Some(good) { state.streak.saturating_add(1) } else { 1 };
        state.last = Some(good);
        let threshold = if good { due.probe.success_threshold } else { due.probe.failure_threshold };
        if state.streak >= threshold {
            state.result = Some(good);
        }
        let message = format!("{} probe failed: {}", due.kind.as_str(), message?);
        Some(Notice { warning: true, reason: "Unhealthy", message, container: Some(due.container.clone()) })
    }

    /// When the next probe is due that is not being done.
    #[must_use]
    pub fn wake_at(&self, pod: &PodView) -> Option<Timestamp> {
        let open = self.states.iter().filter(|((name, kind), state)| {
            !state.in_flight && pod.container(name).is_some_and(|container| self.wanted(pod, container, *kind))
        });
        open.map(|(_, state)| state.next).min()
    }

    /// Whether a running container has started, as far as its startup probe tells.
    #[must_use]
    pub fn started(&self, container: &ContainerView) -> bool {
        container.probes.startup.is_none() || self.result(&container.name, ProbeKind::Startup) == Some(true)
    }

    /// Whether a running container is ready, as far as its probes tell.
    #[must_use]
    pub fn ready(&self, container: &ContainerView) -> bool {
        let ready =
            container.probes.readiness.is_none() || self.result(&container.name, ProbeKind::Readiness) == Some(true);
        self.started(container) && ready
    }

    /// The probe for which attempt `attempt` of a container has to be ended, and how long it may take to end, if the probe says.
    #[must_use]
    pub fn failed(&self, container: &ContainerView, attempt: u32) -> Option<(ProbeKind, Option<SignedDuration>)> {
        [ProbeKind::Startup, ProbeKind::Liveness].into_iter().find_map(|kind| {
            let state = self.states.get(&(container.name.clone(), kind))?;
            let failed = state.attempt == attempt && state.result == Some(false);
            failed.then(|| (kind, kind.of(container).and_then(|probe| probe.grace)))
        })
    }
}

impl State {
    fn new(attempt: u32, next: Timestamp) -> Self {
        Self { attempt, next, in_flight: false, streak: 0, last: None, result: None }
    }
}

/// Attempt and start of each container that runs.
fn running(machine: &Machine) -> BTreeMap<&str, (u32, Timestamp)> {
    let Machine::Present(status) = machine else { return BTreeMap::new() };
    if status.phase != MachinePhase::Running {
        return BTreeMap::new();
    }
    let running = status.containers.iter().filter(|c| c.exit.is_none() && c.boot == status.boot);
    running
        .map(|c| {
            let started = i64::try_from(c.started_at).ok().map(i128::from);
            let started = started.and_then(|nanos| Timestamp::from_nanosecond(nanos).ok()).unwrap_or_default();
            (c.name.as_str(), (c.attempt, started))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::{Deletion, test_pod};
    use orrery_wire::shim::{ContainerStatus, MachineStatus};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn machine(attempt: u32, started: i64) -> Machine {
        let started_at = u64::try_from(at(started).as_nanosecond()).unwrap();
        let log_file = String::new();
        let container = ContainerStatus { name: "main".into(), attempt, boot: 1, started_at, exit: None, log_file };
        Machine::Present(MachineStatus {
            sequence: 1,
            phase: MachinePhase::Running,
            boot: 1,
            booted_at: 0,
            qemu_pid: None,
            last_end: None,
            containers: vec![container],
        })
    }

    fn pod(probes: &Value) -> PodView {
        let mut container = json!({ "name": "main", "image": "i" });
        container.as_object_mut().unwrap().extend(probes.as_object().unwrap().clone());
        test_pod(&json!({ "spec": { "containers": [container] } }))
    }

    fn exec(over: &Value) -> Value {
        let mut probe = json!({ "exec": { "command": ["true"] }, "periodSeconds": 5, "failureThreshold": 2 });
        probe.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        probe
    }

    fn bad() -> Outcome {
        Outcome::Failure("it is broken".into())
    }

    #[test]
    fn a_container_is_ready_after_its_delay_and_first_success() {
        let pod = pod(&json!({ "readinessProbe": exec(&json!({ "initialDelaySeconds": 30 })) }));
        let container = &pod.containers[0];
        let mut prober = Prober::default();
        assert_eq!(prober.look(&pod, &machine(0, 0), at(29)), []);
        assert_eq!((prober.wake_at(&pod), prober.ready(container)), (Some(at(30)), false));
        let due = prober.look(&pod, &machine(0, 0), at(30));
        assert_eq!((due.len(), prober.wake_at(&pod)), (1, None));
        assert_eq!(prober.look(&pod, &machine(0, 0), at(31)), [], "it is being done");
        assert_eq!(prober.finished(&due[0], Outcome::Success, at(31)), None);
        assert_eq!((prober.wake_at(&pod), prober.ready(container)), (Some(at(35)), true));
        for (second, ready) in [(35, true), (40, false)] {
            let due = prober.look(&pod, &machine(0, 0), at(second));
            let notice = prober.finished(&due[0], bad(), at(second)).unwrap();
            assert_eq!(notice.message, "Readiness probe failed: it is broken");
            assert_eq!(prober.ready(container), ready, "{second}");
        }
        assert_eq!(prober.failed(container, 0), None);
    }

    #[test]
    fn liveness_waits_for_startup_and_a_failure_is_of_one_attempt() {
        let grace = exec(&json!({ "terminationGracePeriodSeconds": 3, "failureThreshold": 1 }));
        let pod = pod(&json!({ "startupProbe": exec(&json!({})), "livenessProbe": grace }));
        let container = &pod.containers[0];
        let mut prober = Prober::default();
        let due = prober.look(&pod, &machine(0, 0), at(0));
        assert_eq!(due.iter().map(|due| due.kind).collect::<Vec<_>>(), [ProbeKind::Startup]);
        assert!(!prober.started(container));
        prober.finished(&due[0], Outcome::Success, at(0));
        assert!(prober.started(container) && prober.ready(container));
        let due = prober.look(&pod, &machine(0, 0), at(1));
        assert_eq!(due.iter().map(|due| due.kind).collect::<Vec<_>>(), [ProbeKind::Liveness]);
        prober.finished(&due[0], bad(), at(1));
        let why = (ProbeKind::Liveness, Some(SignedDuration::from_secs(3)));
        assert_eq!((prober.failed(container, 0), prober.failed(container, 1)), (Some(why), None));
        // What was under way when the container started anew tells nothing about the new one.
        let next = prober.look(&pod, &machine(1, 2), at(2));
        assert_eq!(prober.finished(&due[0], bad(), at(2)), None);
        assert_eq!((next[0].kind, prober.started(container)), (ProbeKind::Startup, false));
    }

    #[test]
    fn a_pod_that_is_deleted_is_asked_for_readiness_alone() {
        let probe = exec(&json!({}));
        let mut pod = pod(&json!({ "livenessProbe": probe, "readinessProbe": probe }));
        pod.deletion = Some(Deletion { deadline: at(30), grace_seconds: 30 });
        let due = Prober::default().look(&pod, &machine(0, 0), at(0));
        assert_eq!(due.iter().map(|due| due.kind).collect::<Vec<_>>(), [ProbeKind::Readiness]);
    }

    proptest! {
        /// Whatever happens, the result is what the last outcomes in a row say, and a probe is never done twice at once.
        #[test]
        fn results_follow_outcomes_in_a_row(
            thresholds in (1u32..4, 1u32..4),
            outcomes in prop::collection::vec(prop_oneof![Just(Some(true)), Just(Some(false)), Just(None)], 0..40),
            slow in prop::collection::vec(0i64..12, 40),
        ) {
            let probe = exec(&json!({ "successThreshold": thresholds.0, "failureThreshold": thresholds.1 }));
            let pod = pod(&json!({ "readinessProbe": probe }));
            let mut prober = Prober::default();
            let (mut now, mut model, mut row) = (0, false, (None, 0));
            for (outcome, takes) in outcomes.into_iter().zip(slow) {
                let due = prober.look(&pod, &machine(0, 0), at(now));
                prop_assert_eq!(due.len(), 1, "at {}", now);
                prop_assert!(prober.look(&pod, &machine(0, 0), at(now + 1)).is_empty());
                now += takes;
                let told = match outcome { Some(true) => Outcome::Success, Some(false) => bad(), None => Outcome::Unknown };
                prober.finished(&due[0], told, at(now));
                if let Some(good) = outcome {
                    row = if row.0 == Some(good) { (row.0, row.1 + 1) } else { (Some(good), 1) };
                    if row.1 >= if good { thresholds.0 } else { thresholds.1 } { model = good; }
                }
                prop_assert_eq!(prober.ready(&pod.containers[0]), model);
                let wake = prober.wake_at(&pod).unwrap();
                prop_assert!(wake <= at(now + 5) && wake >= at(now - 5));
                now = now.max(wake.as_second() - at(0).as_second());
            }
        }
    }
}
