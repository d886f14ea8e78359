//! Pods that are over, refused or being deleted.

use super::live::{observe_all, report};
use super::memory::{Ending, Memory, Refusal};
use super::run::Run;
use super::status::{Fate, Report, is_terminal, publish};
use super::{Action, Machine, Notice, Observation, PodPlan};
use orrery_api::k8s::jiff::SignedDuration;
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

/// A pod whose fate is sealed.
pub(super) fn over(seen: &Observation<'_>, memory: &Memory, fate: Fate) -> PodPlan {
    let mut report = report(seen, memory);
    report.fate = fate;
    let actions = match seen.machine {
        Machine::Present(machine) => match machine.phase {
            MachinePhase::Booting | MachinePhase::Running => vec![Action::PowerOff],
            MachinePhase::Off | MachinePhase::Stopping => Vec::new(),
        },
        Machine::Absent | Machine::Silent => Vec::new(),
    };
    report.machine_ready = false;
    PodPlan { actions, status: publish(seen, &report), notices: Vec::new(), wake_at: None }
}

/// A pod that is being deleted.
///
/// ```text
///   NotAsked --stop signals--> Asked --deadline, some still run--> Killed --2 s, some still run--> Release
///       +------------------------+--- none runs (any more), or it is over ---+---------------------> Release
/// ```
pub(super) fn deletion(seen: &Observation<'_>, memory: &Memory) -> PodPlan {
    let running = match seen.machine {
        Machine::Absent | Machine::Silent => Vec::new(),
        Machine::Present(machine) => match machine.phase {
            MachinePhase::Running | MachinePhase::Stopping => running_containers(seen, memory),
            MachinePhase::Off | MachinePhase::Booting => Vec::new(),
        },
    };
    // What was published as over stays over, also when something is left running: its machine goes.
    if running.is_empty() || is_terminal(seen.previous) {
        return gone(seen, memory);
    }
    let report = report(seen, memory);
    let mut plan = PodPlan { actions: Vec::new(), status: publish(seen, &report), notices: Vec::new(), wake_at: None };
    let deadline = seen.pod.deletion.map_or(seen.now, |deletion| deletion.deadline);
    match memory.ending {
        Ending::Killed { at } if seen.now >= at + AFTER_KILL => return gone(seen, memory),
        Ending::Killed { at } => plan.wake(at + AFTER_KILL),
        Ending::NotAsked | Ending::Asked if seen.now >= deadline => {
            plan.actions = running.into_iter().map(|container| Action::Kill { container }).collect();
            plan.wake(seen.now + AFTER_KILL);
        }
        Ending::NotAsked => {
            plan.notices = running.iter().map(|container| killing(container)).collect();
            plan.actions = running.into_iter().map(|container| Action::Stop { container }).collect();
            plan.wake(deadline);
        }
        Ending::Asked => plan.wake(deadline),
    }
    plan
}

fn killing(container: &str) -> Notice {
    Notice {
        warning: false,
        reason: "Killing",
        message: format!("Stopping container {container}"),
        container: Some(container.to_owned()),
    }
}

fn running_containers(seen: &Observation<'_>, memory: &Memory) -> Vec<String> {
    let (init, main) = observe_all(seen, memory);
    let names = seen.pod.all_containers().map(|container| container.name.clone());
    names
        .zip(init.into_iter().chain(main))
        .filter(|(_, run)| matches!(run, Run::Running { .. }))
        .map(|(n, _)| n)
        .collect()
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
    PodPlan { actions, status: publish(seen, &report), notices: Vec::new(), wake_at: None }
}

fn all_succeeded(report: &Report<'_>) -> bool {
    report.main.iter().all(|shown| matches!(&shown.run, Run::Ended(ended) if ended.code == 0))
}
