//! Pods that are to run.

use super::ending::{end_one, over};
use super::images;
use super::memory::Memory;
use super::run::{Ended, Run, observe};
use super::status::{Fate, Report, Shown, Waiting, find, is_complete, publish};
use super::view::{ContainerView, RestartPolicy, Unsupported};
use super::{Action, ImageState, Machine, Notice, Observation, PodPlan, VolumeState};
use orrery_api::k8s::api::core::v1::{ContainerStatus, PodStatus};
use orrery_api::k8s::jiff::{SignedDuration, Timestamp};
use orrery_wire::shim::{MachinePhase, MachineStatus};

/// How often a configuration that could not be made is tried again.
const LOOK_FOR_CONFIG: SignedDuration = SignedDuration::from_secs(10);
/// How long after a silent shim was asked for the machine is looked at again.
const LOOK_FOR_SHIM: SignedDuration = SignedDuration::from_secs(1);
/// How long a machine rests that ended before it had started any container.
const AFTER_USELESS_BOOT: SignedDuration = SignedDuration::from_secs(10);

/// What comes next for one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It runs.
    Stay,
    /// It has ended and is not started again.
    Rest,
    /// It is to be started now.
    Start,
    /// It is to be started then, because it crashed.
    Wait { until: Timestamp, wait: SignedDuration },
}

/// How far the init containers are.
struct Init {
    /// What comes next, by their places in the list: sidecars may have to be started again at any time.
    steps: Vec<(usize, Next)>,
    /// Whether the others may run.
    done: bool,
    /// Whether one of them failed for good.
    failed: bool,
}

/// Where each container stands: init containers, then the others.
pub(super) fn observe_all(seen: &Observation<'_>, memory: &Memory) -> (Vec<Run>, Vec<Run>) {
    let one = |container: &ContainerView, published: &Option<Vec<ContainerStatus>>| {
        let name = &container.name;
        observe(name, seen.machine, memory.starts.get(name), find(published, name), seen.now)
    };
    let init = seen.pod.init_containers.iter().map(|c| one(c, &seen.previous.init_container_statuses)).collect();
    let main = seen.pod.containers.iter().map(|c| one(c, &seen.previous.container_statuses)).collect();
    (init, main)
}

/// What the containers show by themselves.
pub(super) fn report<'a>(seen: &Observation<'a>, memory: &Memory) -> Report<'a> {
    let (init, main) = observe_all(seen, memory);
    // A pod that ever ran is not uninitialized by a machine that has to begin anew.
    let ever_ran = main.iter().any(|run| *run != Run::Never);
    let show = |containers: &'a [ContainerView], runs: Vec<Run>| -> Vec<_> {
        containers.iter().zip(runs).map(|(container, run)| Shown { container, run, waiting: None }).collect()
    };
    let init = show(&seen.pod.init_containers, init);
    let initialized = ever_ran || init.iter().all(|shown| is_complete(seen, shown));
    let machine_ready = match seen.machine {
        Machine::Present(machine) => machine.phase == MachinePhase::Running,
        Machine::Absent | Machine::Silent => false,
    };
    Report { init, main: show(&seen.pod.containers, main), fate: Fate::Open, initialized, machine_ready }
}

/// A pod that asks for what is not built.
pub(super) fn held(seen: &Observation<'_>, memory: &Memory, unsupported: &Unsupported) -> PodPlan {
    let mut report = report(seen, memory);
    let message = unsupported.message.clone();
    for shown in report.init.iter_mut().chain(&mut report.main) {
        shown.waiting = Some(Waiting { reason: "CreateContainerConfigError", message: Some(message.clone()) });
    }
    let news = seen.previous.message.as_deref() != Some(message.as_str());
    report.fate = Fate::Held { reason: "NotSupported".to_owned(), message: message.clone() };
    let notice = Notice { warning: true, reason: unsupported.event_reason, message, container: None };
    PodPlan {
        actions: Vec::new(),
        status: publish(seen, &report),
        notices: news.then_some(notice).into_iter().collect(),
        wake_at: None,
    }
}

/// A pod that runs, or is to.
pub(super) fn plan(seen: &Observation<'_>, memory: &Memory) -> PodPlan {
    if matches!(seen.machine, Machine::Silent) {
        // Nothing can be said about the containers until the shim answers again.
        let mut plan =
            PodPlan { actions: vec![Action::Admit], status: seen.previous.clone(), notices: Vec::new(), wake_at: None };
        plan.wake(seen.now + LOOK_FOR_SHIM);
        return plan;
    }
    let deadline = deadline(seen);
    if deadline.is_some_and(|deadline| seen.now >= deadline) {
        let message = Some("Pod was active on the node longer than the specified deadline".to_owned());
        return over(
            seen,
            memory,
            Fate::Over { succeeded: false, reason: Some("DeadlineExceeded".to_owned()), message },
        );
    }
    let mut report = report(seen, memory);
    let nexts: Vec<Next> = report.main.iter().map(|shown| next(seen, memory, shown)).collect();
    let init = init_progress(seen, memory, &report);
    if init.failed || nexts.iter().all(|next| *next == Next::Rest) {
        let succeeded = report.main.iter().all(|shown| matches!(&shown.run, Run::Ended(ended) if ended.code == 0));
        return over(seen, memory, Fate::Over { succeeded, reason: None, message: None });
    }
    let empty = PodPlan { actions: Vec::new(), status: PodStatus::default(), notices: Vec::new(), wake_at: deadline };
    let mut round = Round { seen, memory, plan: empty };
    report.initialized |= init.done;
    round.containers(&mut report, &nexts, &init);
    round.end_failed(&report);
    round.tell_of_ended_machine(&report);
    PodPlan { status: publish(seen, &report), ..round.plan }
}

/// When the pod has been active for too long; none when it may be active for ever.
fn deadline(seen: &Observation<'_>) -> Option<Timestamp> {
    let start = seen.previous.start_time.as_ref().map_or(seen.now, |time| time.0);
    seen.pod.active_deadline_seconds.map(|seconds| start + SignedDuration::from_secs(seconds))
}

fn next(seen: &Observation<'_>, memory: &Memory, shown: &Shown<'_>) -> Next {
    match &shown.run {
        Run::Never => Next::Start,
        Run::Running { .. } => Next::Stay,
        Run::Ended(ended) => {
            let again = match seen.pod.restart_policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => ended.code != 0,
                RestartPolicy::Never => false,
            };
            if again { restart(seen, memory, &shown.container.name, ended) } else { Next::Rest }
        }
    }
}

/// When an ended container is started again.
fn restart(seen: &Observation<'_>, memory: &Memory, name: &str, ended: &Ended) -> Next {
    // Who lost its machine did nothing wrong.
    let wait = if ended.machine_ended { None } else { memory.wait_after(name, ended.ran()) };
    match wait {
        Some(wait) if seen.now < ended.finished + wait => Next::Wait { until: ended.finished + wait, wait },
        Some(_) | None => Next::Start,
    }
}

/// Init containers run in order, each to success, or as a sidecar from its start on; after a new boot of the machine all of
/// them run again, for what they had prepared is gone.
fn init_progress(seen: &Observation<'_>, memory: &Memory, report: &Report<'_>) -> Init {
    let boot = match seen.machine {
        Machine::Present(machine) if machine.phase == MachinePhase::Running => Some(machine.boot),
        Machine::Present(_) | Machine::Absent | Machine::Silent => None,
    };
    let main_runs = report.main.iter().any(Shown::is_running);
    let mut progress = Init { steps: Vec::new(), done: false, failed: false };
    for (index, shown) in report.init.iter().enumerate() {
        let again = |ended: &Ended| restart(seen, memory, &shown.container.name, ended);
        let step = match &shown.run {
            // Those that had done their work are left alone while their work is used.
            Run::Never | Run::Running { .. } | Run::Ended(_) if main_runs && !shown.container.sidecar => continue,
            Run::Running { .. } if shown.container.sidecar && (main_runs || shown.has_started(seen)) => continue,
            Run::Running { .. } => return progress,
            Run::Never => Next::Start,
            Run::Ended(ended) if shown.container.sidecar => again(ended),
            Run::Ended(ended) if ended.code == 0 => {
                if boot.is_none_or(|boot| ended.boot == Some(boot)) {
                    continue;
                }
                Next::Start
            }
            Run::Ended(ended) => match seen.pod.restart_policy {
                RestartPolicy::Never => {
                    progress.failed = true;
                    return progress;
                }
                RestartPolicy::Always | RestartPolicy::OnFailure => again(ended),
            },
        };
        progress.steps.push((index, step));
        if !main_runs {
            return progress;
        }
    }
    progress.done = true;
    progress
}

/// One round of decisions about a pod's containers.
struct Round<'a, 'b> {
    seen: &'a Observation<'b>,
    memory: &'a Memory,
    plan: PodPlan,
}

impl Round<'_, '_> {
    fn wake(&mut self, at: Timestamp) {
        self.plan.wake(at);
    }

    fn containers(&mut self, report: &mut Report<'_>, nexts: &[Next], init: &Init) {
        let mut ready = Vec::new();
        for (index, next) in &init.steps {
            ready.extend(self.container(&mut report.init[*index], *next, true));
        }
        if init.done {
            for (shown, next) in report.main.iter_mut().zip(nexts) {
                ready.extend(self.container(shown, *next, false));
            }
        }
        match self.seen.machine {
            Machine::Absent => self.without_machine(report, !ready.is_empty()),
            Machine::Silent => {}
            Machine::Present(machine) => match machine.phase {
                MachinePhase::Running => match self.seen.volumes {
                    VolumeState::Filled => self.plan.actions.extend(ready),
                    VolumeState::Unfilled => self.plan.actions.push(Action::FillVolumes),
                    VolumeState::Obstructed => {}
                },
                MachinePhase::Off if !ready.is_empty() && !self.obstructed() => self.power_on(machine),
                MachinePhase::Off | MachinePhase::Booting | MachinePhase::Stopping => {}
            },
        }
    }

    /// Whether volumes that cannot be filled hold everything up.
    fn obstructed(&mut self) -> bool {
        let obstructed = self.seen.volumes == VolumeState::Obstructed;
        if obstructed {
            self.wake(self.seen.now + LOOK_FOR_CONFIG);
        }
        obstructed
    }

    /// What shall be shown of a container, and its start when it is to be started now.
    fn container(&mut self, shown: &mut Shown<'_>, next: Next, init: bool) -> Option<Action> {
        let name = &shown.container.name;
        let published =
            if init { &self.seen.previous.init_container_statuses } else { &self.seen.previous.container_statuses };
        let published = find(published, name).cloned();
        match next {
            Next::Stay | Next::Rest => return None,
            Next::Wait { until, wait } => {
                self.wake(until);
                let pod = self.seen.pod.describe();
                let message = format!("back-off {} restarting failed container={name} pod={pod}", go_duration(wait));
                let waiting = Waiting { reason: "CrashLoopBackOff", message: Some(message) };
                let text = format!("Back-off restarting failed container {name} in pod {pod}");
                self.hold(shown, published.as_ref(), waiting, vec![warning(name, "BackOff", text)]);
                return None;
            }
            Next::Start => {}
        }
        if self.image_missing(shown, published.as_ref()) {
            return None;
        }
        if let Some((waiting, text)) = self.obstacle(shown.container) {
            let told = vec![warning(name, "Failed", text)];
            self.hold(shown, published.as_ref(), waiting, told);
            return None;
        }
        let after = match &shown.run {
            Run::Ended(ended) if !ended.machine_ended => Some(ended.ran()),
            Run::Ended(_) | Run::Never | Run::Running { .. } => None,
        };
        // A container that waited after a crash is shown so until it runs.
        if let Some(waiting) = published.and_then(|status| status.state).and_then(|state| state.waiting)
            && waiting.reason.as_deref() == Some("CrashLoopBackOff")
        {
            shown.waiting = Some(Waiting { reason: "CrashLoopBackOff", message: waiting.message });
        }
        Some(Action::Start { container: name.clone(), attempt: shown.run.next_attempt(), after })
    }

    /// Why the container's configuration cannot be made: what is shown, and the text of the event.
    fn obstacle(&mut self, container: &ContainerView) -> Option<(Waiting, String)> {
        let message = self.seen.config_errors.get(&container.name)?.clone();
        self.wake(self.seen.now + LOOK_FOR_CONFIG);
        let text = format!("Error: {message}");
        Some((Waiting { reason: "CreateContainerConfigError", message: Some(message) }, text))
    }

    /// What is done about an image that is missing; false when it is here.
    fn image_missing(&mut self, shown: &mut Shown<'_>, published: Option<&ContainerStatus>) -> bool {
        let container = shown.container;
        let state = self.seen.images.get(&container.name);
        let Some(missing) = images::missing(container, state, &self.memory.pulls, self.seen.now) else { return false };
        if missing.pull {
            let pull = |action: &Action| matches!(action, Action::Pull { image, .. } if *image == container.image);
            if !self.plan.actions.iter().any(pull) {
                let (image, container) = (container.image.clone(), container.name.clone());
                self.plan.actions.push(Action::Pull { image, container });
            }
        }
        missing.wake.into_iter().for_each(|at| self.wake(at));
        if let Some(waiting) = missing.waiting {
            self.hold(shown, published, waiting, missing.notices);
        }
        true
    }

    /// Shows a container as waiting, and tells of it when that is news.
    fn hold(
        &mut self,
        shown: &mut Shown<'_>,
        published: Option<&ContainerStatus>,
        waiting: Waiting,
        notices: Vec<Notice>,
    ) {
        let before = published.and_then(|status| status.state.as_ref()).and_then(|state| state.waiting.as_ref());
        let known = before.is_some_and(|before| {
            before.reason.as_deref() == Some(waiting.reason) && before.message == waiting.message
        });
        if !known {
            self.plan.notices.extend(notices);
        }
        shown.waiting = Some(waiting);
    }

    /// The machine can be asked for once every image is here: its disks are fixed then.
    fn without_machine(&mut self, report: &mut Report<'_>, wanted: bool) {
        let mut complete = true;
        for (index, container) in self.seen.pod.all_containers().enumerate() {
            if matches!(self.seen.images.get(&container.name), Some(ImageState::Present { .. })) {
                continue;
            }
            complete = false;
            let init = index < report.init.len();
            let shown = if init { &mut report.init[index] } else { &mut report.main[index - report.init.len()] };
            if shown.waiting.is_none() && !matches!(shown.run, Run::Running { .. }) {
                self.container(shown, Next::Start, init);
            }
        }
        if complete && wanted && !self.obstructed() {
            self.plan.actions.push(Action::Admit);
        }
    }

    fn power_on(&mut self, machine: &MachineStatus) {
        let useless = machine.last_end.as_ref().filter(|end| {
            !end.requested && machine.boot > 0 && machine.containers.iter().all(|c| c.boot != machine.boot)
        });
        let rested = useless.and_then(|end| {
            let at = i64::try_from(end.at / 1_000_000_000).ok().and_then(|s| Timestamp::from_second(s).ok())?;
            Some(at + AFTER_USELESS_BOOT)
        });
        match self.memory.next_boot().max(rested).filter(|until| self.seen.now < *until) {
            Some(until) => self.wake(until),
            None => self.plan.actions.push(Action::PowerOn),
        }
    }

    /// Ends containers that failed a probe or the hook after their start.
    fn end_failed(&mut self, report: &Report<'_>) {
        for shown in report.all() {
            let Run::Running { attempt, .. } = &shown.run else { continue };
            let name = &shown.container.name;
            let (why, grace) = match self.seen.probes.failed(shown.container, *attempt) {
                Some((kind, grace)) => (format!("{} probe", kind.as_str().to_lowercase()), grace),
                None if self.memory.failed_starts.get(name) == Some(attempt) => ("PostStartHook".to_owned(), None),
                None => continue,
            };
            let again = shown.container.sidecar || self.seen.pod.restart_policy != RestartPolicy::Never;
            let message = format!("Container {name} failed {why}{}", if again { ", will be restarted" } else { "" });
            let deadline = self.seen.now + grace.unwrap_or(self.seen.pod.grace);
            end_one(self.seen, self.memory, shown, deadline, message, &mut self.plan);
        }
    }

    /// Tells once when containers that were published as running are seen ended with their machine.
    fn tell_of_ended_machine(&mut self, report: &Report<'_>) {
        let lost = report.main.iter().find_map(|shown| {
            let published = find(&self.seen.previous.container_statuses, &shown.container.name)?;
            let was_running = published.state.as_ref().is_some_and(|state| state.running.is_some());
            match &shown.run {
                Run::Ended(ended) if ended.machine_ended && was_running => ended.message.clone(),
                Run::Ended(_) | Run::Never | Run::Running { .. } => None,
            }
        });
        if let Some(message) = lost {
            self.plan.notices.push(Notice { warning: true, reason: "MachineEnded", message, container: None });
        }
    }
}

fn warning(container: &str, reason: &'static str, message: String) -> Notice {
    Notice { warning: true, reason, message, container: Some(container.to_owned()) }
}

/// A duration as Go prints it: `10s`, `1m20s`, `5m0s`.
fn go_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_the_kubelet_writes_them() {
        let table = [(10, "10s"), (59, "59s"), (60, "1m0s"), (80, "1m20s"), (300, "5m0s")];
        for (seconds, text) in table {
            assert_eq!(go_duration(SignedDuration::from_secs(seconds)), text);
        }
    }
}
