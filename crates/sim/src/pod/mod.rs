//! One hollow pod: the kubelet's state machine over a machine that is only pretended.
//!
//! Decisions are `orrery_lifecycle`'s, as on a real host; what they ask for is done at once, in memory:
//!
//! ```text
//!   pod seen --Admit--> Off --PowerOn--> Running --Start--> container runs --its course is over--> it has ended
//!                                                               +--- Stop, Kill ------------------------^
//! ```
//!
//! [`HollowPod::advance`] takes the pod as far as it comes without waiting and says what is to be written. It knows no clock
//! and no API: time comes in, [`Write`]s go out.

mod readiness;
mod status_patch;

#[cfg(test)]
mod tests;

pub use readiness::READY;

use crate::behaviour::{Course, code_when_stopped, course};
use orrery_api::k8s::{
    api::core::v1::{Pod, PodStatus},
    jiff::{SignedDuration, Timestamp},
};
use orrery_lifecycle::{
    env::{self, Addresses, KnownValues},
    handler::{Hooks, Probes},
    pod::{
        Action, ContainerView, ImageState, Machine, Memory, Observation, PodPlan, PodView, ProjectError, StartRecord,
        VolumeState, plan,
    },
    probe::Prober,
};
use orrery_wire::{
    guest::ProcessExit,
    shim::{ContainerExit, ContainerStatus, MachineEnd, MachinePhase, MachineStatus},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A round of decisions that leads to another one is followed so often before the pod is looked at again later.
const ROUNDS: usize = 16;
/// Exit code of a killed process.
const KILLED: i32 = 137;

/// What is to be written to the API.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    /// This merge patch to the pod's status.
    Status(Value),
    /// The pod's object is to be removed, with grace 0.
    Delete,
}

/// What a pod shares with its node.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The node's address.
    pub(crate) host_ip: String,
    /// The pod's own, which its node keeps for it.
    pub(crate) pod_ip: String,
}

/// A pod on a hollow node.
#[derive(Debug)]
pub(crate) struct HollowPod {
    pub(crate) view: PodView,
    host_network: bool,
    place: Place,
    machine: Machine,
    memory: Memory,
    previous: PodStatus,
    /// When the running containers end by themselves, and with which code.
    exits: BTreeMap<String, (Timestamp, i32)>,
    files: BTreeSet<String>,
    images: BTreeMap<String, ImageState>,
    /// When it is to be looked at again.
    pub(crate) wake_at: Option<Timestamp>,
}

impl HollowPod {
    /// A pod that was just seen, or is seen again by a new process: a container that was published as running is taken
    /// to have ended with its machine.
    pub(crate) fn new(pod: &Pod, place: Place) -> Result<Self, ProjectError> {
        let view = hollow_view(pod)?;
        let images = view.all_containers().map(|container| {
            let id = format!("sim://{}", container.image);
            (container.name.clone(), ImageState::Present { id })
        });
        Ok(Self {
            images: images.collect(),
            host_network: pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false),
            previous: view.status.clone(),
            view,
            place,
            machine: Machine::Absent,
            memory: Memory::default(),
            exits: BTreeMap::new(),
            files: BTreeSet::new(),
            wake_at: None,
        })
    }

    /// The pod's address, which the node gives to another pod once this one is gone.
    pub(crate) fn pod_ip(&self) -> &str {
        &self.place.pod_ip
    }

    /// Takes over what the API shows now. What is older than what is known is passed over.
    pub(crate) fn update(&mut self, pod: &Pod) -> Result<(), ProjectError> {
        let view = hollow_view(pod)?;
        let version = |view: &PodView| view.resource_version.parse::<u64>().ok();
        if version(&view).zip(version(&self.view)).is_none_or(|(told, known)| told >= known) {
            // A pod that somebody else has ended is over for its node too, as it is for a kubelet.
            if is_over(&view.status) && !is_over(&self.previous) {
                self.previous = view.status.clone();
            }
            self.view = view;
        }
        Ok(())
    }

    /// Takes the pod as far as it comes at `now`. Gives what is to be written, one thing at a time: it is asked again once
    /// that is done.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Option<Write> {
        for _ in 0..ROUNDS {
            self.end_what_is_over(now);
            let mut planned = self.plan(now);
            readiness::apply(&mut planned.status, &self.previous, &self.view);
            self.previous = planned.status.clone();
            self.wake_at = self.exits.values().map(|(at, _)| *at).chain(planned.wake_at).min();
            let delete = planned.actions.contains(&Action::DeletePod);
            let acted = self.apply(&planned.actions, now);
            if delete {
                // The last status first: whoever counts pods by their end must see it.
                return Some(
                    status_patch::status_patch(&self.view, &planned.status).map_or(Write::Delete, Write::Status),
                );
            }
            if !acted {
                return status_patch::status_patch(&self.view, &planned.status).map(Write::Status);
            }
        }
        self.wake_at = Some(now + SignedDuration::from_secs(1));
        status_patch::status_patch(&self.view, &self.previous).map(Write::Status)
    }

    fn addresses(&self) -> Addresses {
        let ip = if self.host_network { &self.place.host_ip } else { &self.place.pod_ip };
        Addresses { pod_ip: Some(ip.clone()), host_ip: self.place.host_ip.clone() }
    }

    fn plan(&self, now: Timestamp) -> PodPlan {
        let seen = Observation {
            pod: &self.view,
            images: &self.images,
            config_errors: &BTreeMap::new(),
            volumes: VolumeState::Filled,
            probes: &Prober::default(),
            machine: &self.machine,
            addresses: &self.addresses(),
            previous: &self.previous,
            now,
        };
        plan(&seen, &self.memory)
    }

    /// Carries out the actions; whether any of them changed something, so that there is more to plan.
    fn apply(&mut self, actions: &[Action], now: Timestamp) -> bool {
        let mut changed = false;
        for action in actions {
            changed |= match action {
                Action::Admit => self.admit(),
                Action::PowerOn => self.power_on(now),
                Action::Start { container, attempt, after } => {
                    self.start(container, *attempt, now);
                    self.memory.started(container, StartRecord { attempt: *attempt, at: now, refused: None }, *after);
                    true
                }
                Action::Stop { container, attempt, deadline } => {
                    self.memory.asked_to_end(container, *attempt, *deadline);
                    let argv = self.view.container(container).map(argv).unwrap_or_default();
                    self.end(container, code_when_stopped(&argv), None, now)
                }
                Action::Kill { container, attempt } => {
                    self.memory.killed(container, *attempt, now);
                    self.end(container, KILLED, Some(9), now)
                }
                Action::PowerOff => self.power_off(now),
                Action::Release => {
                    self.machine = Machine::Absent;
                    true
                }
                // The images of hollow nodes are always there.
                Action::Pull { .. } | Action::FillVolumes | Action::DeletePod => false,
            };
        }
        changed
    }

    fn admit(&mut self) -> bool {
        let absent = matches!(self.machine, Machine::Absent);
        if absent {
            self.machine = Machine::Present(MachineStatus {
                sequence: 1,
                phase: MachinePhase::Off,
                boot: 0,
                booted_at: 0,
                qemu_pid: None,
                last_end: None,
                containers: Vec::new(),
            });
        }
        absent
    }

    fn present(&mut self) -> Option<&mut MachineStatus> {
        match &mut self.machine {
            Machine::Present(status) => Some(status),
            Machine::Absent | Machine::Silent => None,
        }
    }

    fn power_on(&mut self, now: Timestamp) -> bool {
        let Some(machine) = self.present() else { return false };
        machine.phase = MachinePhase::Running;
        machine.boot += 1;
        machine.booted_at = nanos(now);
        true
    }

    fn power_off(&mut self, now: Timestamp) -> bool {
        let names: Vec<String> = self.exits.keys().cloned().collect();
        let running = self.view.all_containers().map(|container| container.name.clone()).chain(names);
        for name in running.collect::<BTreeSet<_>>() {
            self.end(&name, KILLED, Some(9), now);
        }
        let Some(machine) = self.present() else { return false };
        machine.phase = MachinePhase::Off;
        machine.last_end = Some(MachineEnd { at: nanos(now), requested: true, message: "it was switched off".into() });
        true
    }

    fn start(&mut self, name: &str, attempt: u32, now: Timestamp) {
        let addresses = self.addresses();
        let Some(container) = self.view.container(name) else { return };
        let init = self.view.init_containers.iter().any(|init| init.name == name && !init.sidecar);
        // What ConfigMaps and Secrets would add decides nothing here.
        let variables =
            env::resolve(&self.view, container, &[], &KnownValues::default(), &addresses).unwrap_or_default();
        let argv: Vec<String> = argv(container).iter().map(|word| env::expand(word, &variables)).collect();
        let course = match course(&argv, &variables, &self.view.annotations, &mut self.files) {
            // Nothing would ever come after it.
            Course::ForEver if init => Course::Ends { after: SignedDuration::ZERO, code: 0 },
            course => course,
        };
        // An end beyond the end of time is none.
        if let Course::Ends { after, code } = course
            && let Ok(at) = now.checked_add(after)
        {
            self.exits.insert(name.to_owned(), (at, code));
        }
        let Some(machine) = self.present() else { return };
        let log_file = format!("{name}/{attempt}.log");
        let started_at = nanos(now);
        machine.containers.retain(|container| container.name != name);
        machine.containers.push(ContainerStatus {
            name: name.to_owned(),
            attempt,
            boot: machine.boot,
            started_at,
            exit: None,
            log_file,
        });
    }

    fn end_what_is_over(&mut self, now: Timestamp) {
        let over: Vec<_> = self.exits.iter().filter(|(_, (at, _))| *at <= now).map(|(n, e)| (n.clone(), *e)).collect();
        for (name, (at, code)) in over {
            self.end(&name, code, None, at);
        }
    }

    /// Ends a container; whether it ran.
    fn end(&mut self, name: &str, code: i32, signal: Option<i32>, at: Timestamp) -> bool {
        self.exits.remove(name);
        let Some(machine) = self.present() else { return false };
        let running =
            machine.containers.iter_mut().find(|container| container.name == name && container.exit.is_none());
        let Some(container) = running else { return false };
        let unix_nanos = nanos(at);
        let exit = ProcessExit { code, signal, out_of_memory: false, unix_nanos, message: None };
        container.exit = Some(ContainerExit { exit, at: unix_nanos, machine_ended: false });
        true
    }
}

/// The pod as a hollow node takes it: volumes, probes and the like change nothing where nothing runs.
fn hollow_view(pod: &Pod) -> Result<PodView, ProjectError> {
    let mut view = PodView::project(pod)?;
    view.unsupported = None;
    for container in view.init_containers.iter_mut().chain(&mut view.containers) {
        container.probes = Probes::default();
        container.hooks = Hooks::default();
    }
    Ok(view)
}

fn argv(container: &ContainerView) -> Vec<String> {
    // Arguments alone go to the image's own entry point, which is not known.
    if container.command.is_empty() { Vec::new() } else { [container.command.clone(), container.args.clone()].concat() }
}

fn is_over(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}
