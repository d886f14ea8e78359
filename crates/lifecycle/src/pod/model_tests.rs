//! A simulated machine under random luck: what must hold whatever happens.

use super::table_tests::{Scene, at, nanos};
use super::*;
use orrery_wire::guest::ProcessExit;
use orrery_wire::shim::{ContainerExit, ContainerStatus, MachineEnd, MachinePhase};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

/// What happens to the simulated machine between two plans.
#[derive(Debug, Clone)]
enum Luck {
    Nothing,
    TimePasses(u16),
    ContainerEnds { index: usize, code: i32 },
    MachineEnds,
    MachineVanishes,
    ShimSilent,
    ImageMissing(bool),
    VolumeMissing(bool),
    SphereletRestarts,
    ActionsFail,
    Deleted,
}

fn luck() -> impl Strategy<Value = Luck> {
    prop_oneof![
        8 => Just(Luck::Nothing),
        4 => (1u16..700).prop_map(Luck::TimePasses),
        6 => (0usize..3, prop_oneof![Just(0), Just(1), Just(137)]).prop_map(|(index, code)| Luck::ContainerEnds { index, code }),
        2 => Just(Luck::MachineEnds),
        1 => Just(Luck::MachineVanishes),
        1 => Just(Luck::ShimSilent),
        1 => any::<bool>().prop_map(Luck::ImageMissing),
        1 => any::<bool>().prop_map(Luck::VolumeMissing),
        1 => Just(Luck::SphereletRestarts),
        1 => Just(Luck::ActionsFail),
        1 => Just(Luck::Deleted),
    ]
}

struct World {
    scene: Scene,
    machine: Option<MachineStatus>,
    silent: bool,
    now: i64,
    started: BTreeSet<(String, u32)>,
    volume_missing: bool,
    /// The boot whose volumes were filled.
    filled: Option<u32>,
    deleted: bool,
}

impl World {
    fn new(policy: &str, init: bool) -> Self {
        let setup = if init { json!([{ "name": "setup", "image": "i" }]) } else { json!([]) };
        let containers = json!([{ "name": "a", "image": "i" }, { "name": "b", "image": "i" }]);
        let over = json!({ "spec": { "restartPolicy": policy, "containers": containers, "initContainers": setup } });
        let scene = Scene::new(&over);
        Self {
            scene,
            machine: None,
            silent: false,
            now: 1,
            started: BTreeSet::new(),
            volume_missing: false,
            filled: None,
            deleted: false,
        }
    }

    fn befall(&mut self, luck: &Luck) {
        match luck {
            Luck::Nothing | Luck::ActionsFail => {}
            Luck::TimePasses(seconds) => self.now += i64::from(*seconds),
            Luck::ContainerEnds { index, code } => self.end_container(*index, *code),
            Luck::MachineEnds => self.end_machine(false),
            Luck::MachineVanishes => (self.machine, self.filled) = (None, None),
            Luck::ShimSilent => self.silent = true,
            Luck::ImageMissing(missing) => {
                let image = if *missing { ImageState::Absent } else { ImageState::Present { id: "sha256:1".into() } };
                self.scene.images.insert("a".into(), image);
            }
            Luck::VolumeMissing(missing) => self.volume_missing = *missing,
            Luck::SphereletRestarts => self.scene.memory = Memory::default(),
            Luck::Deleted => {
                let deadline = at(self.now + 30);
                self.scene.pod.deletion.get_or_insert(Deletion { deadline, grace_seconds: 30 });
            }
        }
    }

    fn end_container(&mut self, index: usize, code: i32) {
        let end = nanos(self.now);
        let Some(machine) = self.machine.as_mut().filter(|machine| machine.phase == MachinePhase::Running) else {
            return;
        };
        let boot = machine.boot;
        if let Some(container) = machine.containers.get_mut(index)
            && container.boot == boot
            && container.exit.is_none()
        {
            let exit = ProcessExit { code, signal: None, out_of_memory: false, unix_nanos: end, message: None };
            container.exit = Some(ContainerExit { exit, at: end, machine_ended: false });
        }
    }

    fn end_machine(&mut self, requested: bool) {
        let end = nanos(self.now);
        let Some(machine) = self.machine.as_mut() else { return };
        for container in machine.containers.iter_mut().filter(|container| container.exit.is_none()) {
            let exit = ProcessExit { code: 137, signal: Some(9), out_of_memory: false, unix_nanos: end, message: None };
            container.exit = Some(ContainerExit { exit, at: end, machine_ended: true });
        }
        machine.phase = MachinePhase::Off;
        machine.last_end = Some(MachineEnd { at: end, requested, message: "QEMU ended".into() });
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Pull { image, .. } => {
                let here = ImageState::Present { id: "sha256:1".into() };
                self.scene.images.values_mut().for_each(|state| *state = here.clone());
                self.scene.memory.pulls.begun(image);
                self.scene.memory.pulls.done(image);
            }
            Action::Admit => {
                self.silent = false;
                self.machine.get_or_insert(MachineStatus {
                    sequence: 0,
                    phase: MachinePhase::Off,
                    boot: 0,
                    booted_at: 0,
                    qemu_pid: None,
                    last_end: None,
                    containers: vec![],
                });
            }
            Action::PowerOn => {
                let machine = self.machine.as_mut().expect("only an admitted machine is powered on");
                assert_eq!(machine.phase, MachinePhase::Off);
                machine.phase = MachinePhase::Running;
                machine.boot += 1;
            }
            Action::FillVolumes => {
                let machine = self.machine.as_ref().expect("only an admitted machine has volumes");
                assert!(machine.phase == MachinePhase::Running && !self.volume_missing);
                self.filled = Some(machine.boot);
            }
            Action::Start { container, attempt, after } => self.start(container, *attempt, *after),
            Action::Stop { container, attempt, deadline } => {
                self.scene.memory.asked_to_end(container, *attempt, *deadline);
            }
            Action::Kill { container, attempt } => self.scene.memory.killed(container, *attempt, at(self.now)),
            Action::PowerOff => self.end_machine(true),
            Action::Release => (self.machine, self.filled) = (None, None),
            Action::DeletePod => self.deleted = true,
        }
    }

    fn start(&mut self, name: &str, attempt: u32, after: Option<SignedDuration>) {
        let started_at = nanos(self.now);
        let machine = self.machine.as_mut().expect("only an admitted machine starts containers");
        assert_eq!((machine.phase, self.filled), (MachinePhase::Running, Some(machine.boot)));
        assert!(self.started.insert((name.to_owned(), attempt)), "attempt {attempt} of {name} was started twice");
        let log_file = format!("{name}/{attempt}.log");
        let status =
            ContainerStatus { name: name.into(), attempt, boot: machine.boot, started_at, exit: None, log_file };
        machine.containers.retain(|container| container.name != name);
        machine.containers.push(status);
        let record = StartRecord { attempt, at: at(self.now), refused: None };
        self.scene.memory.started(name, record, after);
    }

    fn step(&mut self, luck: &Luck) -> PodPlan {
        self.now += 1;
        self.befall(luck);
        self.scene.machine = match (&self.machine, self.silent) {
            (None, _) => Machine::Absent,
            (Some(_), true) => Machine::Silent,
            (Some(machine), false) => Machine::Present(machine.clone()),
        };
        let filled = self.machine.as_ref().is_some_and(|machine| self.filled == Some(machine.boot));
        self.scene.volumes = match (filled, self.volume_missing) {
            (true, _) => VolumeState::Filled,
            (false, false) => VolumeState::Unfilled,
            (false, true) => VolumeState::Obstructed,
        };
        let plan = self.scene.plan(self.now);
        if !matches!(luck, Luck::ActionsFail) {
            plan.actions.iter().for_each(|action| self.apply(action));
        }
        plan
    }
}

fn counts(status: &PodStatus) -> Vec<i32> {
    let lists = [&status.init_container_statuses, &status.container_statuses];
    lists.into_iter().flatten().flatten().map(|container| container.restart_count).collect()
}

fn rank(phase: Option<&str>) -> u8 {
    match phase {
        Some("Succeeded" | "Failed") => 2,
        Some("Running") => 1,
        _ => 0,
    }
}

proptest! {
    #[test]
    fn phases_only_go_forward_and_attempts_only_up(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        init in any::<bool>(),
        story in prop::collection::vec(luck(), 1..60),
    ) {
        let mut world = World::new(policy, init);
        let mut before: Option<PodStatus> = None;
        for luck in &story {
            let plan = world.step(luck);
            if let Some(before) = &before {
                let (old, new) = (before.phase.as_deref(), plan.status.phase.as_deref());
                prop_assert!(rank(new) >= rank(old), "{old:?} became {new:?}");
                if rank(old) == 2 {
                    prop_assert_eq!(old, new);
                }
                let (old, new) = (counts(before), counts(&plan.status));
                prop_assert!(old.iter().zip(&new).all(|(old, new)| old <= new), "{old:?} became {new:?}");
            }
            let fresh = world.scene.pod.deletion.is_some() || rank(plan.status.phase.as_deref()) == 2;
            let starts = plan.actions.iter().any(|action| matches!(action, Action::Start { .. } | Action::Admit | Action::PowerOn));
            prop_assert!(!(fresh && starts), "a pod that is over is not started: {:?}", plan.actions);
            before = Some(plan.status);
            if world.deleted {
                prop_assert!(world.machine.is_none(), "the object goes after the machine");
                break;
            }
        }
        if policy == "Never" {
            prop_assert!(world.started.iter().all(|(name, attempt)| name == "setup" || *attempt == 0));
        }
    }

    #[test]
    fn a_deleted_pod_is_gone_soon_after_its_grace_period(
        story in prop::collection::vec(luck(), 0..30),
    ) {
        let mut world = World::new("Always", true);
        for luck in &story {
            world.step(luck);
            if world.deleted { return Ok(()) }
        }
        world.step(&Luck::Deleted);
        for _ in 0..40 {
            world.step(&Luck::Nothing);
        }
        prop_assert!(world.deleted);
    }

    #[test]
    fn left_alone_a_pod_settles_and_is_not_published_again(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        story in prop::collection::vec(luck(), 0..30),
    ) {
        let mut world = World::new(policy, false);
        for luck in &story {
            if matches!(luck, Luck::Deleted) { continue }
            world.step(luck);
        }
        world.befall(&Luck::ImageMissing(false));
        world.befall(&Luck::VolumeMissing(false));
        for _ in 0..10 {
            world.step(&Luck::TimePasses(400));
        }
        let settled = world.scene.previous.clone();
        let plan = world.step(&Luck::TimePasses(400));
        prop_assert_eq!(&plan.status, &settled);
        prop_assert!(plan.actions.is_empty(), "{:?}", plan.actions);
        let phase = settled.phase.as_deref();
        prop_assert!(phase == Some("Running") || rank(phase) == 2, "{:?}", phase);
    }
}
