//! Pods that are over, refused or being deleted, and containers that are to end.

use super::live::report;
use super::memory::{Memory, Refusal};
use super::run::Run;
use super::status::{Fate, Report, Shown, is_terminal, publish};
use super::{Action, Machine, Notice, Observation, PodPlan};
use orrery_api::k8s::jiff::{SignedDuration, Timestamp};
use orrery_wire::shim::MachinePhase;

/// How long killed containers have to be seen ended before their machine is taken from under them.
const AFTER_KILL: SignedDuration = SignedDuration::from_secs(2);

/// A pod in its last phase: its machine is switched off, its files stay for `kubectl logs` until it is deleted.
pub(super) fn after_the_end(seen: &Observation<'_>, memory: &Memory) -> PodPlan {
    let previous = seen.previous;
    let fate = Fate::Over {
        succeeded: previous.phase.as_deref() == Some("Succeeded"),
        reason: previous.reason.clone(),
        message: previous.message.clone(),
    };
    over(seen, memory, fate)
}

/// The host will not have the machine: the pod has failed and its owner makes another.
pub(super) fn refused(seen: &Observation<'_>, memory: &Memory, refusal: &Refusal) -> PodPlan {
    let message = Some(format!("Pod was rejected: {}", refusal.message));
    over(seen, memory, Fate::Over { succeeded: false, reason: Some(refusal.reason.clone()), message })
}

/// The pod asks for a setting of the kernel that it may not change.
pub(super) fn forbidden(seen: &Observation<'_>, memory: &Memory, sysctl: &str) -> PodPlan {
    let message = Some(format!("Pod was rejected: forbidden sysctl: {sysctl:?} not allowlisted"));
    over(seen, memory, Fate::Over { succeeded: false, reason: Some("SysctlForbidden".to_owned()), message })
}

/// A pod whose fate is sealed: what still runs is ended, then the machine is switched off.
pub(super) fn over(seen: &Observation<'_>, memory: &Memory, fate: Fate) -> PodPlan {
    let mut report = report(seen, memory);
    // What was published as over stays over, also when something is left running: its machine goes.
    if !is_terminal(seen.previous) {
        let mut plan = empty_plan(seen, &report);
        if end_all(seen, memory, &report, seen.now + seen.pod.grace, &mut plan) {
            return plan;
        }
    }
    report.fate = fate;
    let actions = match seen.machine {
        Machine::Present(machine) => match machine.phase {
            MachinePhase::Booting | MachinePhase::Running => vec![Action::PowerOff],
            MachinePhase::Off | MachinePhase::Stopping => Vec::new(),
        },
        Machine::Absent | Machine::Silent => Vec::new(),
    };
    report.machine_ready = false;
    PodPlan { actions, ..empty_plan(seen, &report) }
}

/// A pod that is being deleted.
///
/// ```text
///   runs --Stop, sidecars last--> deadline, some still run --Kill--> 2 s, some still run --> Release
///     +------------------------+--- none runs (any more), or it is over ----------------> Release
/// ```
pub(super) fn deletion(seen: &Observation<'_>, memory: &Memory) -> PodPlan {
    let report = report(seen, memory);
    let deadline = seen.pod.deletion.map_or(seen.now, |deletion| deletion.deadline);
    let mut plan = empty_plan(seen, &report);
    if !is_terminal(seen.previous) && end_all(seen, memory, &report, deadline, &mut plan) {
        return plan;
    }
    gone(seen, memory)
}

fn empty_plan(seen: &Observation<'_>, report: &Report<'_>) -> PodPlan {
    PodPlan { actions: Vec::new(), status: publish(seen, report), notices: Vec::new(), wake_at: None }
}

/// Ends all containers, sidecars only when no other runs, and the last of them first. False when none runs, or when those
/// that do cannot even be killed.
fn end_all(
    seen: &Observation<'_>,
    memory: &Memory,
    report: &Report<'_>,
    deadline: Timestamp,
    plan: &mut PodPlan,
) -> bool {
    let runs = match seen.machine {
        Machine::Absent | Machine::Silent => false,
        Machine::Present(machine) => match machine.phase {
            MachinePhase::Running | MachinePhase::Stopping => true,
            MachinePhase::Off | MachinePhase::Booting => false,
        },
    };
    let running: Vec<&Shown<'_>> = report.all().filter(|shown| runs && shown.is_running()).collect();
    let (mut sidecars, others): (Vec<_>, Vec<_>) = running.into_iter().partition(|shown| shown.container.sidecar);
    // By the deadline everything has to be over.
    let now: Vec<_> = if seen.now >= deadline {
        others.into_iter().chain(sidecars).collect()
    } else if others.is_empty() {
        sidecars.pop().into_iter().collect()
    } else {
        others
    };
    let mut end = |shown: &Shown<'_>| {
        let message = format!("Stopping container {}", shown.container.name);
        end_one(seen, memory, shown, deadline, message, plan)
    };
    let steps: Vec<_> = now.into_iter().map(&mut end).collect();
    steps.contains(&Step::UnderWay)
}

/// How the end of a container goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It was asked to end, now or before.
    UnderWay,
    /// It was killed a while ago and still runs.
    Stuck,
}

/// Takes the next step to the end of a running container, and tells `message` with the first one.
pub(super) fn end_one(
    seen: &Observation<'_>,
    memory: &Memory,
    shown: &Shown<'_>,
    deadline: Timestamp,
    message: String,
    plan: &mut PodPlan,
) -> Step {
    let (Run::Running { attempt, .. }, name) = (&shown.run, &shown.container.name) else { return Step::Stuck };
    let (attempt, container) = (*attempt, name.clone());
    let known = memory.endings.get(name).filter(|ending| ending.attempt == attempt);
    match known.map(|ending| (ending.killed, ending.deadline.min(deadline))) {
        None if seen.now < deadline => {
            plan.actions.push(Action::Stop { container, attempt, deadline });
            plan.notices.push(Notice { warning: false, reason: "Killing", message, container: Some(name.clone()) });
            plan.wake(deadline);
        }
        Some((None, by)) if seen.now < by => plan.wake(by),
        Some((Some(killed), _)) if seen.now >= killed + AFTER_KILL => return Step::Stuck,
        Some((Some(killed), _)) => plan.wake(killed + AFTER_KILL),
        None | Some((None, _)) => {
            plan.actions.push(Action::Kill { container, attempt });
            plan.wake(seen.now + AFTER_KILL);
        }
    }
    Step::UnderWay
}

/// Nothing of the pod runs any more.
fn gone(seen: &Observation<'_>, memory: &Memory) -> PodPlan {
    let mut report = report(seen, memory);
    report.machine_ready = false;
    report.fate = if is_terminal(seen.previous) {
        Fate::Over {
            succeeded: seen.previous.phase.as_deref() == Some("Succeeded"),
            reason: seen.previous.reason.clone(),
            message: seen.previous.message.clone(),
        }
    } else {
        Fate::Over { succeeded: all_succeeded(&report), reason: None, message: None }
    };
    let release = !matches!(seen.machine, Machine::Absent);
    let actions = release.then_some(Action::Release).into_iter().chain([Action::DeletePod]).collect();
    PodPlan { actions, ..empty_plan(seen, &report) }
}

fn all_succeeded(report: &Report<'_>) -> bool {
    report.main.iter().all(|shown| matches!(&shown.run, Run::Ended(ended) if ended.code == 0))
}
