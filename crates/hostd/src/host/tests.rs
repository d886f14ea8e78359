//! The host's logic over a simulated world that can fail or crash at every step.

use super::*;
use crate::{config::Layout, effects::Found};
use async_trait::async_trait;
use orrery_api::names::{HostName, InstanceName};
use orrery_wire::{
    host::{AssignedInterface, InterfaceSpec, Owner, POD_SEGMENT},
    shim::{MachinePhase, MachineStatus},
};
use proptest::prelude::*;

/// What happens at the chosen step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The step is not done and says so; later steps work.
    Fail,
    /// The step is done, yet says that it failed; later steps work.
    FailAfterDoing,
    /// The agent is gone before the step: this one and all later ones do nothing.
    CrashBefore,
    /// The agent is gone after the step.
    CrashAfter,
}

const FAULTS: [Fault; 4] = [Fault::Fail, Fault::FailAfterDoing, Fault::CrashBefore, Fault::CrashAfter];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Things {
    intents: BTreeMap<MachineId, Intent>,
    files: BTreeSet<MachineId>,
    next_address: Option<Ipv4Addr>,
    runtimes: BTreeSet<MachineId>,
    groups: BTreeSet<Group>,
    taps: BTreeSet<String>,
    /// Shims by machine, and how often each was started.
    shims: BTreeMap<MachineId, u32>,
}

#[derive(Debug, Default)]
struct Simulated {
    things: Things,
    /// Steps until the fault.
    countdown: Option<(usize, Fault)>,
    crashed: bool,
    steps: usize,
}

#[derive(Clone, Default)]
struct Simulation(Arc<Mutex<Simulated>>);

impl Simulation {
    fn step<T>(&self, change: impl FnOnce(&mut Things) -> T) -> Result<(), EffectError> {
        let mut simulated = self.0.lock().unwrap();
        let failure = || EffectError::new("do a step", "the simulation says so");
        if simulated.crashed {
            return Err(failure());
        }
        simulated.steps += 1;
        let fault = match simulated.countdown.take() {
            Some((0, fault)) => Some(fault),
            Some((left, fault)) => {
                simulated.countdown = Some((left - 1, fault));
                None
            }
            None => None,
        };
        simulated.crashed = matches!(fault, Some(Fault::CrashBefore | Fault::CrashAfter));
        if !matches!(fault, Some(Fault::Fail | Fault::CrashBefore)) {
            change(&mut simulated.things);
        }
        if fault.is_some() { Err(failure()) } else { Ok(()) }
    }

    fn inject(&self, step: usize, fault: Fault) {
        self.0.lock().unwrap().countdown = Some((step, fault));
    }

    /// The machine is as it was, the agent is new.
    fn recover(&self) {
        let mut simulated = self.0.lock().unwrap();
        simulated.crashed = false;
        simulated.countdown = None;
    }

    fn things(&self) -> Things {
        self.0.lock().unwrap().things.clone()
    }

    fn fault_is_pending(&self) -> bool {
        self.0.lock().unwrap().countdown.is_some()
    }

    fn world(&self) -> World {
        let this = Arc::new(self.clone());
        World { records: this.clone(), devices: this.clone(), shims: this }
    }
}

#[async_trait]
impl Records for Simulation {
    async fn load(&self) -> Result<Loaded, EffectError> {
        let things = self.things();
        let intents: Vec<Intent> = things.intents.values().cloned().collect();
        let orphans = things.files.iter().filter(|id| !things.intents.contains_key(id)).copied().collect();
        Ok(Loaded { intents, orphans, next_address: things.next_address })
    }
    async fn save_next_address(&self, next: Ipv4Addr) -> Result<(), EffectError> {
        self.step(|things| things.next_address = Some(next))
    }
    async fn save(&self, intent: &Intent) -> Result<(), EffectError> {
        self.step(|things| {
            things.files.insert(intent.id);
            things.intents.insert(intent.id, intent.clone());
        })
    }
    async fn remove(&self, id: MachineId) -> Result<(), EffectError> {
        let things = self.things();
        if let Some(intent) = things.intents.get(&id) {
            // From now on nobody would know whose these are.
            assert!(!things.shims.contains_key(&id) && !things.runtimes.contains(&id), "{things:?}");
            assert!(!intent.taps().any(|tap| things.taps.contains(tap)), "{things:?}");
        }
        // Two steps: the intent is gone before its directory is.
        self.step(|things| things.intents.remove(&id))?;
        self.step(|things| things.files.remove(&id))
    }
}

#[async_trait]
impl Devices for Simulation {
    async fn create_directories(&self, intent: &Intent) -> Result<(), EffectError> {
        self.step(|things| things.runtimes.insert(intent.id))
    }
    async fn remove_runtime(&self, id: MachineId) -> Result<(), EffectError> {
        self.step(|things| things.runtimes.remove(&id))
    }
    async fn create_group(&self, intent: &Intent) -> Result<(), EffectError> {
        let group = Group(settings().naming.machine_group(intent.id, &intent.spec));
        self.step(|things| things.groups.insert(group))
    }
    async fn remove_group(&self, group: &Group) -> Result<(), EffectError> {
        self.step(|things| things.groups.remove(group))
    }
    async fn create_tap(&self, _intent: &Intent, interface: &AssignedInterface) -> Result<(), EffectError> {
        self.step(|things| things.taps.insert(interface.tap.clone()))
    }
    async fn remove_tap(&self, tap: &str) -> Result<(), EffectError> {
        self.step(|things| things.taps.remove(tap))
    }
    async fn found(&self) -> Result<Found, EffectError> {
        let Things { taps, groups, runtimes, .. } = self.things();
        Ok(Found {
            taps: taps.into_iter().collect(),
            groups: groups.into_iter().collect(),
            runtimes: runtimes.into_iter().collect(),
        })
    }
}

#[async_trait]
impl Shims for Simulation {
    async fn ensure(&self, intent: &Intent) -> Result<(), EffectError> {
        let things = self.things();
        assert!(things.intents.contains_key(&intent.id), "a shim was started without an intent");
        assert!(things.runtimes.contains(&intent.id), "a shim was started without its directory");
        assert!(intent.taps().all(|tap| things.taps.contains(tap)), "a shim was started without its taps");
        if self.is_alive(intent.id).await {
            return self.step(|_| ());
        }
        self.step(|things| things.shims.insert(intent.id, 1))
    }
    async fn is_alive(&self, id: MachineId) -> bool {
        self.things().shims.contains_key(&id)
    }
    async fn stop(&self, id: MachineId) -> Result<(), EffectError> {
        self.step(|things| things.shims.remove(&id))
    }
    async fn view(&self, id: MachineId) -> Option<ShimView> {
        let status = MachineStatus {
            sequence: 0,
            phase: MachinePhase::Off,
            boot: 0,
            booted_at: 0,
            qemu_pid: None,
            last_end: None,
            containers: Vec::new(),
        };
        self.things().shims.contains_key(&id).then_some(ShimView { pid: Some(1), status })
    }
}

fn settings() -> Settings {
    Settings {
        capacity: Capacity { cpu_milli: 4000, memory_bytes: 4000, machine_slots: 3 },
        range: "10.244.0.0/28".parse().unwrap(),
        gateway: "10.244.0.1".parse().unwrap(),
        naming: Naming::new(&InstanceName::new("test").unwrap(), &HostName::new("host-1").unwrap()),
        layout: Layout::new("/state".into(), "/run".into()),
    }
}

fn id(number: u8) -> MachineId {
    MachineId(uuid::Uuid::from_u128(u128::from(number)))
}

fn spec(number: u8) -> MachineSpec {
    let uid = id(number).to_string();
    MachineSpec {
        id: uid.clone(),
        name: format!("demo/pod-{number}"),
        owner: Owner::Pod { namespace: "demo".into(), name: format!("pod-{number}"), uid },
        pool: "demo".into(),
        namespace: "demo".into(),
        vcpus: 1,
        cpu_milli: 100,
        memory_bytes: 900,
        overhead_bytes: 100,
        disks: Vec::new(),
        scratch_bytes: None,
        interfaces: vec![InterfaceSpec { segment: POD_SEGMENT.into(), address: None }; 2],
    }
}

async fn start(simulation: &Simulation) -> Host {
    simulation.recover();
    Host::start(settings(), simulation.world()).await.map_err(|error| chain(&error)).unwrap()
}

/// Nothing is there but what the intents own, and that is complete; the ledger says the same.
fn check(simulation: &Simulation, host: &Host) {
    let things = simulation.things();
    let ids: BTreeSet<MachineId> = things.intents.keys().copied().collect();
    assert!(things.intents.values().all(|intent| intent.standing == Standing::Active));
    assert_eq!(things.files, ids);
    assert_eq!(things.runtimes, ids);
    assert_eq!(things.shims.keys().copied().collect::<BTreeSet<_>>(), ids);
    let taps: BTreeSet<String> = things.intents.values().flat_map(Intent::taps).map(str::to_owned).collect();
    assert_eq!(things.taps, taps);
    assert_eq!(things.groups, things.intents.values().map(|intent| host.group(intent)).collect());
    let state = host.state();
    assert_eq!(state.intents, things.intents);
    assert_eq!(state.ledger.machines(), ids.len());
    assert!(state.gates.is_empty(), "a gate was left");
}

#[tokio::test]
async fn an_admission_that_crashes_at_any_step_leaks_nothing_and_can_be_asked_for_again() {
    for fault in FAULTS {
        for step in 0.. {
            let simulation = Simulation::default();
            let host = start(&simulation).await;
            host.admit(id(1), &spec(1)).await.unwrap();
            simulation.inject(step, fault);
            let result = host.admit(id(2), &spec(2)).await;
            if simulation.fault_is_pending() {
                assert!(result.is_ok() && step > 5, "all steps were tried");
                break;
            }
            assert!(result.is_err(), "{fault:?} at {step} was not told");
            drop(host);
            let host = start(&simulation).await;
            check(&simulation, &host);
            let admission = host.admit(id(2), &spec(2)).await.unwrap();
            check(&simulation, &host);
            assert_eq!(host.admit(id(2), &spec(2)).await.unwrap(), admission, "the same again changes nothing");
            assert_eq!(host.usage().machines, 2);
        }
    }
}

#[tokio::test]
async fn a_release_that_crashes_at_any_step_is_finished_at_the_next_start_or_pass() {
    for fault in FAULTS {
        for restart in [false, true] {
            for step in 0.. {
                let simulation = Simulation::default();
                let mut host = start(&simulation).await;
                host.admit(id(1), &spec(1)).await.unwrap();
                host.admit(id(2), &spec(2)).await.unwrap();
                simulation.inject(step, fault);
                let result = host.release(id(2)).await;
                if simulation.fault_is_pending() {
                    assert!(result.is_ok() && step > 5, "all steps were tried");
                    break;
                }
                assert!(result.is_err(), "{fault:?} at {step} was not told");
                simulation.recover();
                if restart {
                    host = start(&simulation).await;
                    let recorded = step > 0 || matches!(fault, Fault::FailAfterDoing | Fault::CrashAfter);
                    assert_eq!(host.usage().machines, if recorded { 1 } else { 2 }, "a release is not forgotten");
                } else {
                    host.reconcile().await;
                }
                host.release(id(2)).await.unwrap();
                check(&simulation, &host);
                assert_eq!(host.usage(), Usage { machines: 1, cpu_milli: 100, memory_bytes: 1000 });
            }
        }
    }
}

#[tokio::test]
async fn a_start_that_crashes_at_any_step_is_made_good_by_the_next() {
    for step in 0.. {
        let simulation = Simulation::default();
        {
            let host = start(&simulation).await;
            host.admit(id(1), &spec(1)).await.unwrap();
            let mut simulated = simulation.0.lock().unwrap();
            // A reboot took everything but the disk; an earlier crash left a stranger's things.
            let intents = simulated.things.intents.clone();
            simulated.things = Things { intents, files: [id(1), id(9)].into(), ..Things::default() };
            simulated.things.taps.insert("o000000t7i0".into());
            simulated.things.runtimes.insert(id(9));
            simulated.things.shims.insert(id(9), 1);
            simulated.things.groups.insert(Group(settings().naming.machine_group(id(9), &spec(9))));
        }
        simulation.inject(step, Fault::CrashAfter);
        drop(Host::start(settings(), simulation.world()).await);
        let finished = simulation.fault_is_pending();
        let host = start(&simulation).await;
        check(&simulation, &host);
        if finished {
            assert!(step > 5, "all steps were tried");
            break;
        }
    }
}

#[tokio::test]
async fn a_shim_that_died_is_started_again_by_the_next_pass_and_a_living_one_is_left_alone() {
    let simulation = Simulation::default();
    let host = start(&simulation).await;
    host.admit(id(1), &spec(1)).await.unwrap();
    let before = simulation.0.lock().unwrap().steps;
    host.reconcile().await;
    assert_eq!(simulation.0.lock().unwrap().steps, before, "nothing was to be done");
    simulation.0.lock().unwrap().things.shims.clear();
    host.reconcile().await;
    check(&simulation, &host);
}

#[tokio::test]
async fn a_machine_that_is_being_released_is_not_admitted_again_before_it_is_gone() {
    let simulation = Simulation::default();
    let host = start(&simulation).await;
    host.admit(id(1), &spec(1)).await.unwrap();
    simulation.inject(1, Fault::Fail);
    host.release(id(1)).await.unwrap_err();
    assert!(matches!(host.admit(id(1), &spec(1)).await, Err(AdmitError::Releasing(_))));
    host.release(id(1)).await.unwrap();
    host.admit(id(1), &spec(1)).await.unwrap();
    check(&simulation, &host);
}

#[tokio::test]
async fn refused_machines_leave_no_trace() {
    let simulation = Simulation::default();
    let host = start(&simulation).await;
    for number in 1..=3 {
        host.admit(id(number), &spec(number)).await.unwrap();
    }
    let error = host.admit(id(4), &spec(4)).await.unwrap_err();
    assert!(matches!(error, AdmitError::Refused(Refusal::OutOfSlots(3))), "{error}");
    let mut other = spec(1);
    other.vcpus = 2;
    assert!(matches!(host.admit(id(1), &other).await, Err(AdmitError::Refused(Refusal::SpecChanged(_)))));
    check(&simulation, &host);
}

#[derive(Debug, Clone)]
enum Operation {
    Admit(u8),
    Release(u8),
    Fault(usize, Fault),
    Restart,
    Reconcile,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0u8..6).prop_map(Operation::Admit),
        3 => (0u8..6).prop_map(Operation::Release),
        2 => (0usize..12, prop::sample::select(FAULTS.to_vec()))
            .prop_map(|(step, fault)| Operation::Fault(step, fault)),
        1 => Just(Operation::Restart),
        1 => Just(Operation::Reconcile),
    ]
}

proptest! {
    #[test]
    fn whatever_happened_a_quiet_restart_makes_everything_right(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let simulation = Simulation::default();
            let mut host = start(&simulation).await;
            for operation in operations {
                match operation {
                    Operation::Admit(number) => drop(host.admit(id(number), &spec(number)).await),
                    Operation::Release(number) => drop(host.release(id(number)).await),
                    Operation::Fault(step, fault) => simulation.inject(step, fault),
                    Operation::Restart => host = start(&simulation).await,
                    Operation::Reconcile => host.reconcile().await,
                }
            }
            let host = start(&simulation).await;
            check(&simulation, &host);
        });
    }
}
