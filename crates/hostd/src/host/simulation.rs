//! A simulated world that can fail or crash at every step, for the host's logic.

use super::*;
use crate::{
    config::{GuestSize, Layout},
    effects::Found,
};
use async_trait::async_trait;
use orrery_api::names::{HostName, InstanceName};
use orrery_wire::{
    host::{AssignedInterface, InterfaceSpec, Owner, POD_SEGMENT},
    shim::{MachinePhase, MachineStatus},
};

/// What happens at the chosen step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The step is not done and says so; later steps work.
    Fail,
    /// The step is done, yet says that it failed; later steps work.
    FailAfterDoing,
    /// The agent is gone before the step: this one and all later ones do nothing.
    CrashBefore,
    /// The agent is gone after the step.
    CrashAfter,
}

pub(super) const FAULTS: [Fault; 4] = [Fault::Fail, Fault::FailAfterDoing, Fault::CrashBefore, Fault::CrashAfter];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Things {
    pub(super) intents: BTreeMap<MachineId, Intent>,
    pub(super) files: BTreeSet<MachineId>,
    pub(super) next_address: Option<Ipv4Addr>,
    pub(super) runtimes: BTreeSet<MachineId>,
    pub(super) groups: BTreeSet<Group>,
    pub(super) taps: BTreeSet<String>,
    /// Shims by the places of their machines, and how often each was started.
    pub(super) shims: BTreeMap<MachineId, u32>,
    /// Those of them that wait for a machine. They end with the agent.
    pub(super) warm: BTreeSet<MachineId>,
}

impl Things {
    fn has_all_of(&self, intent: &Intent) {
        let recorded = self.intents.get(&intent.place());
        assert!(recorded.is_some_and(|recorded| recorded.id == intent.id), "a shim was started without an intent");
        assert!(self.runtimes.contains(&intent.place()), "a shim was started without its directory");
        assert!(intent.taps().all(|tap| self.taps.contains(tap)), "a shim was started without its taps");
    }
}

#[derive(Debug, Default)]
pub(super) struct Simulated {
    pub(super) things: Things,
    /// Steps until the fault.
    countdown: Option<(usize, Fault)>,
    crashed: bool,
    pub(super) steps: usize,
}

#[derive(Clone, Default)]
pub(super) struct Simulation(pub(super) Arc<Mutex<Simulated>>);

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

    pub(super) fn inject(&self, step: usize, fault: Fault) {
        self.0.lock().unwrap().countdown = Some((step, fault));
    }

    /// The machine is as it was, the agent is new.
    pub(super) fn recover(&self) {
        let mut simulated = self.0.lock().unwrap();
        for place in std::mem::take(&mut simulated.things.warm) {
            simulated.things.shims.remove(&place);
        }
        simulated.crashed = false;
        simulated.countdown = None;
    }

    fn build(&self) -> crate::templates::Build {
        crate::templates::Build::default()
    }

    pub(super) fn things(&self) -> Things {
        self.0.lock().unwrap().things.clone()
    }

    pub(super) fn fault_is_pending(&self) -> bool {
        self.0.lock().unwrap().countdown.is_some()
    }

    pub(super) fn world(&self) -> World {
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
            things.files.insert(intent.place());
            things.intents.insert(intent.place(), intent.clone());
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
        self.step(|things| things.runtimes.insert(intent.place()))
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
        things.has_all_of(intent);
        assert!(!things.warm.contains(&intent.place()), "a warm shim does not serve");
        if self.is_alive(intent.place()).await {
            return self.step(|_| ());
        }
        self.step(|things| things.shims.insert(intent.place(), 1))
    }
    fn kind(&self, spec: &MachineSpec) -> Option<Key> {
        let size = GuestSize { memory_bytes: spec.memory_bytes, vcpus: spec.vcpus };
        (spec.interfaces.len() == 1).then(|| Key { domain: spec.pool.clone(), size, build: self.build() })
    }
    fn current(&self, kinds: &[(String, GuestSize)]) -> Vec<Key> {
        let key =
            |(domain, size): &(String, GuestSize)| Key { domain: domain.clone(), size: *size, build: self.build() };
        kinds.iter().map(key).collect()
    }
    fn has_template(&self, _kind: &Key) -> bool {
        true
    }
    async fn warm(&self, intent: &Intent) -> Result<(), EffectError> {
        self.things().has_all_of(intent);
        self.step(|things| {
            things.shims.insert(intent.place(), 1);
            things.warm.insert(intent.place());
        })
    }
    async fn assign(&self, intent: &Intent) -> Result<(), EffectError> {
        self.things().has_all_of(intent);
        assert!(self.things().warm.contains(&intent.place()), "it is not warm");
        self.step(|things| things.warm.remove(&intent.place()))
    }
    async fn is_alive(&self, id: MachineId) -> bool {
        self.things().shims.contains_key(&id)
    }
    async fn stop(&self, id: MachineId) -> Result<(), EffectError> {
        self.step(|things| {
            things.shims.remove(&id);
            things.warm.remove(&id);
        })
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

pub(super) fn settings() -> Settings {
    Settings {
        capacity: Capacity { cpu_milli: 4000, memory_bytes: 4000, machine_slots: 3 },
        range: "10.244.0.0/28".parse().unwrap(),
        gateway: "10.244.0.1".parse().unwrap(),
        naming: Naming::new(&InstanceName::new("test").unwrap(), &HostName::new("host-1").unwrap()),
        layout: Layout::new("/state".into(), "/run".into()),
        warm: None,
    }
}

pub(super) fn id(number: u8) -> MachineId {
    MachineId(uuid::Uuid::from_u128(u128::from(number)))
}

pub(super) fn spec(number: u8) -> MachineSpec {
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

pub(super) async fn start(simulation: &Simulation) -> Host {
    start_with(simulation, settings()).await
}

pub(super) async fn start_with(simulation: &Simulation, settings: Settings) -> Host {
    simulation.recover();
    Host::start(settings, simulation.world()).await.map_err(|error| chain(&error)).unwrap()
}

/// Nothing is there but what the intents own, and that is complete; the ledger says the same.
pub(super) fn check(simulation: &Simulation, host: &Host) {
    let things = simulation.things();
    let ids: BTreeSet<MachineId> = things.intents.keys().copied().collect();
    assert!(things.intents.values().all(|intent| intent.standing != Standing::Releasing));
    assert_eq!(things.files, ids);
    assert_eq!(things.runtimes, ids);
    assert_eq!(things.shims.keys().copied().collect::<BTreeSet<_>>(), ids);
    let taps: BTreeSet<String> = things.intents.values().flat_map(Intent::taps).map(str::to_owned).collect();
    assert_eq!(things.taps, taps);
    assert_eq!(things.groups, things.intents.values().map(|intent| host.group(intent)).collect());
    let state = host.state();
    let by_machine = things.intents.values().map(|intent| (intent.id, intent.clone())).collect();
    assert_eq!(state.intents, by_machine);
    assert_eq!(state.ready.keys().copied().collect::<BTreeSet<_>>(), things.warm);
    assert_eq!(state.ledger.machines(), ids.len());
    assert!(state.gates.is_empty(), "a gate was left");
}
