//! The machines of the host: admission, release, and what is done again after a crash.
//!
//! A machine's steps are done under a gate of its own, so that machines do not wait for each other; the ledger and the
//! intents in memory are behind one lock that is never held across a step.
//!
//! ```text
//!   admit:   ledger -> next address saved -> intent saved -> directories -> control group -> taps -> shim
//!   release: intent saved as releasing -> shim ended -> taps -> control group -> runtime directory
//!            -> files, intent last -> ledger
//! ```
//!
//! Warm machines: see [`warm`]. All may end anywhere: [`Host::reconcile`] goes on, [`Host::start`] removes what none owns.

mod warm;

use crate::{
    Capacity,
    config::Layout,
    effects::{Devices, EffectError, Group, Loaded, Records, ShimView, Shims, chain},
    intent::{INTENT_VERSION, Intent, MalformedIntent, Standing, assign},
    ledger::{Grant, Ledger, Refusal, RestoreError},
    naming::Naming,
    templates::Key,
};
use futures::{StreamExt, stream};
use ipnet::Ipv4Net;
use orrery_api::names::MachineId;
use orrery_wire::{
    host::{Admission, MachineSpec},
    join::HeldMachine,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};
use tracing::{info, warn};
pub(crate) use warm::WarmRules;
use warm::Warmth;

/// Machines that are worked on at the same time when the agent itself decides.
const PARALLEL: usize = 8;

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) capacity: Capacity,
    pub(crate) range: Ipv4Net,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) naming: Naming,
    pub(crate) layout: Layout,
    /// What is kept warm, if anything is.
    pub(crate) warm: Option<WarmRules>,
}

/// The world that the host acts on.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) records: Arc<dyn Records>,
    pub(crate) devices: Arc<dyn Devices>,
    pub(crate) shims: Arc<dyn Shims>,
}

/// Why the host's machines could not be taken over at the start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the records of this host's machines can't be used")]
    Load(#[source] EffectError),
    #[error("the records of this host's machines contradict each other; remove one of the machines' directories")]
    Restore(#[source] RestoreError),
    #[error("a record of this host's machines is malformed; remove the machine's directory")]
    Malformed(#[source] MalformedIntent),
}

/// Why a machine was not admitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmitError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("machine {0} is being released; ask again when it is gone")]
    Releasing(MachineId),
    #[error("machine {id} could not be made ready")]
    Effect {
        id: MachineId,
        #[source]
        source: EffectError,
    },
}

/// Why a machine was not released.
#[derive(Debug, thiserror::Error)]
#[error("machine {id} could not be released")]
pub(crate) struct ReleaseError {
    id: MachineId,
    #[source]
    source: EffectError,
}

/// What the ledger says, for heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) machines: u32,
    pub(crate) cpu_milli: u64,
    pub(crate) memory_bytes: u64,
}

struct State {
    ledger: Ledger,
    intents: BTreeMap<MachineId, Intent>,
    /// Warm machines that may be claimed.
    ready: BTreeMap<MachineId, Ready>,
    gates: BTreeMap<MachineId, Arc<tokio::sync::Mutex<()>>>,
}

/// A warm machine.
struct Ready {
    kind: Key,
    since: Instant,
}

/// The machines of one host.
pub(crate) struct Host {
    settings: Settings,
    world: World,
    state: Mutex<State>,
    warmth: Option<Warmth>,
    /// Held while the next address is saved: a later value must not be overwritten by an earlier one.
    address_record: tokio::sync::Mutex<()>,
}

impl Host {
    /// Takes over what an earlier run left: rebuilds the ledger, removes what no intent owns, finishes releases, and
    /// adopts or starts the shims of all other machines. A machine for which that fails is tried again by
    /// [`Host::reconcile`].
    pub(crate) async fn start(settings: Settings, world: World) -> Result<Self, StartError> {
        let loaded = world.records.load().await.map_err(StartError::Load)?;
        let ledger = rebuild(&settings, &loaded)?;
        let intents = loaded.intents.into_iter().map(|intent| (intent.id, intent)).collect();
        let state = Mutex::new(State { ledger, intents, ready: BTreeMap::new(), gates: BTreeMap::new() });
        let warmth = settings.warm.clone().map(Warmth::new);
        let host = Self { settings, world, state, warmth, address_record: tokio::sync::Mutex::new(()) };
        host.sweep(&loaded.orphans).await;
        host.reconcile().await;
        Ok(host)
    }

    /// Admits a machine and makes it ready. The same specification again makes ready what is missing.
    pub(crate) async fn admit(&self, id: MachineId, spec: &MachineSpec) -> Result<Admission, AdmitError> {
        let _gate = self.enter(id).await;
        let existing = self.state().intents.get(&id).cloned();
        let failed = |source| AdmitError::Effect { id, source };
        let intent = match existing {
            Some(intent) if intent.spec != *spec => return Err(Refusal::SpecChanged(id).into()),
            Some(intent) => match intent.standing {
                Standing::Active => intent,
                Standing::Warm | Standing::Releasing => return Err(AdmitError::Releasing(id)),
            },
            None => match self.claim(id, spec).await {
                Some(claimed) => return claimed.map(|intent| intent.admission).map_err(failed),
                None => self.reserve_with_room(id, spec).await?,
            },
        };
        self.make_ready(&intent).await.map_err(failed)?;
        Ok(intent.admission)
    }

    /// Undoes everything that was done for a machine. A machine that is not here is fine.
    pub(crate) async fn release(&self, id: MachineId) -> Result<(), ReleaseError> {
        let _gate = self.enter(id).await;
        let existing = self.state().intents.get(&id).cloned();
        let Some(intent) = existing else { return Ok(()) };
        let failed = |source| ReleaseError { id, source };
        let intent = match intent.standing {
            Standing::Releasing => intent,
            Standing::Active | Standing::Warm => {
                let intent = intent.releasing();
                self.world.records.save(&intent).await.map_err(failed)?;
                let mut state = self.state();
                state.ready.remove(&id);
                state.intents.insert(id, intent.clone());
                intent
            }
        };
        self.undo(&intent).await.map_err(failed)
    }

    /// Goes over all machines: finishes releases, starts shims that are gone. Failures are logged; the next call tries
    /// again. A machine that somebody is working on is left to them.
    pub(crate) async fn reconcile(&self) {
        let ids: Vec<MachineId> = self.state().intents.keys().copied().collect();
        stream::iter(ids).for_each_concurrent(PARALLEL, |id| self.reconcile_machine(id)).await;
    }

    async fn reconcile_machine(&self, id: MachineId) {
        let Some(_gate) = self.try_enter(id) else { return };
        let existing = self.state().intents.get(&id).cloned();
        let Some(intent) = existing else { return };
        let result = match intent.standing {
            Standing::Releasing => self.undo(&intent).await,
            Standing::Active if self.world.shims.is_alive(intent.place()).await => Ok(()),
            Standing::Active => self.make_ready(&intent).await,
            Standing::Warm if self.is_ready(id) && self.world.shims.is_alive(id).await => Ok(()),
            Standing::Warm => self.undo(&intent).await,
        };
        if let Err(error) = result {
            let (name, error) = (&intent.spec.name, chain(&error));
            warn!(machine = %id, name, error, "a machine is not as it should be yet");
        }
    }

    /// Every machine, with what its shim says of it.
    pub(crate) async fn list(&self) -> Vec<(Intent, Option<ShimView>)> {
        let intents: Vec<Intent> = self.state().asked_for().cloned().collect();
        stream::iter(intents)
            .map(|intent| async move {
                let view = self.world.shims.view(intent.place()).await;
                (intent, view)
            })
            .buffered(PARALLEL)
            .collect()
            .await
    }

    pub(crate) fn usage(&self) -> Usage {
        let state = self.state();
        Usage {
            machines: u32::try_from(state.asked_for().count()).unwrap_or(u32::MAX),
            cpu_milli: state.ledger.used_cpu_milli(),
            memory_bytes: state.ledger.used_memory_bytes().saturating_sub(state.warm_bytes()),
        }
    }

    /// All machines, for heartbeats.
    pub(crate) fn held(&self) -> Vec<HeldMachine> {
        self.state().asked_for().map(Intent::held).collect()
    }

    /// The same as [`Host::reserve`], with what warm machines hold when nothing else is left.
    async fn reserve_with_room(&self, id: MachineId, spec: &MachineSpec) -> Result<Intent, AdmitError> {
        loop {
            match self.reserve(id, spec).await {
                Err(AdmitError::Refused(_)) if self.fits_without_warm(id, spec) && self.make_room().await => {}
                result => return result,
            }
        }
    }

    /// Decides on a new machine and records the decision. Nothing is reserved when the record could not be made.
    async fn reserve(&self, id: MachineId, spec: &MachineSpec) -> Result<Intent, AdmitError> {
        let grant = self.state().ledger.admit(id, spec)?;
        let intent = self.intent(id, spec.clone(), Standing::Active, &grant);
        match self.record(&intent).await {
            Ok(()) => {
                self.state().intents.insert(id, intent.clone());
                info!(machine = %id, name = %spec.name, slot = grant.slot, "admitted a machine");
                Ok(intent)
            }
            Err(source) => {
                self.undo_unrecorded(&intent).await;
                Err(AdmitError::Effect { id, source })
            }
        }
    }

    fn intent(&self, id: MachineId, spec: MachineSpec, standing: Standing, grant: &Grant) -> Intent {
        let Settings { range, gateway, naming, layout, .. } = &self.settings;
        let admission = Admission {
            shim_socket: layout.shim_socket(id).display().to_string(),
            log_directory: layout.logs(id).display().to_string(),
            interfaces: assign(id, grant, *range, *gateway, |slot, index| naming.tap(slot, index)),
        };
        Intent { version: INTENT_VERSION, id, place: None, standing, slot: grant.slot, spec, admission }
    }

    /// The record may be there although saving it failed; until it surely is not, the grant stays taken.
    async fn undo_unrecorded(&self, intent: &Intent) {
        let (id, intent) = (intent.id, intent.releasing());
        self.state().intents.insert(id, intent.clone());
        if let Err(error) = self.undo(&intent).await {
            warn!(machine = %id, error = chain(&error), "a machine that could not be recorded is undone later");
        }
    }

    async fn record(&self, intent: &Intent) -> Result<(), EffectError> {
        {
            let _order = self.address_record.lock().await;
            let next = self.state().ledger.next_address();
            self.world.records.save_next_address(next).await?;
        }
        self.world.records.save(intent).await
    }

    async fn make_ready(&self, intent: &Intent) -> Result<(), EffectError> {
        self.make_devices(intent).await?;
        self.world.shims.ensure(intent).await
    }

    async fn make_devices(&self, intent: &Intent) -> Result<(), EffectError> {
        let devices = &self.world.devices;
        devices.create_directories(intent).await?;
        devices.create_group(intent).await?;
        for interface in &intent.admission.interfaces {
            devices.create_tap(intent, interface).await?;
        }
        Ok(())
    }

    async fn undo(&self, intent: &Intent) -> Result<(), EffectError> {
        let id = intent.id;
        dismantle(&self.world, intent, &self.settings.naming).await?;
        self.world.records.remove(intent.place()).await?;
        let mut state = self.state();
        state.ledger.release(id);
        state.intents.remove(&id);
        state.ready.remove(&id);
        info!(machine = %id, name = %intent.spec.name, "released a machine");
        Ok(())
    }

    /// Removes what carries this host's names and belongs to no intent. Failures are logged; the next start tries
    /// again.
    async fn sweep(&self, orphans: &[MachineId]) {
        let World { records, devices, shims } = &self.world;
        let found = match devices.found().await {
            Ok(found) => found,
            Err(error) => return warn!(error = chain(&error), "what an earlier run left could not be listed"),
        };
        let intents = self.state().intents.clone();
        let taps: BTreeSet<&str> = intents.values().flat_map(Intent::taps).collect();
        let places: BTreeSet<MachineId> = intents.values().map(Intent::place).collect();
        let groups: BTreeSet<Group> = intents.values().map(|intent| self.group(intent)).collect();
        let log = |what: &str, result: Result<(), EffectError>| match result {
            Ok(()) => info!("removed {what} that belongs to no machine"),
            Err(error) => warn!(error = chain(&error), "{what} belongs to no machine and could not be removed"),
        };
        // Shims first: they hold the rest in use.
        for id in found.runtimes.iter().filter(|id| !places.contains(id)) {
            let result = match shims.stop(*id).await {
                Ok(()) => devices.remove_runtime(*id).await,
                Err(error) => Err(error),
            };
            log(&format!("runtime directory of {id}"), result);
        }
        for group in found.groups.iter().filter(|group| !groups.contains(group)) {
            log(&format!("control group {}", group.0.display()), devices.remove_group(group).await);
        }
        for tap in found.taps.iter().filter(|tap| !taps.contains(tap.as_str())) {
            log(&format!("tap {tap}"), devices.remove_tap(tap).await);
        }
        for id in orphans {
            log(&format!("directory of {id}"), records.remove(*id).await);
        }
    }

    fn group(&self, intent: &Intent) -> Group {
        Group(self.settings.naming.machine_group(intent.id, &intent.spec))
    }

    fn gate(&self, id: MachineId) -> Arc<tokio::sync::Mutex<()>> {
        self.state().gates.entry(id).or_default().clone()
    }

    /// Waits until nobody else works on the machine.
    async fn enter(&self, id: MachineId) -> Entered<'_> {
        let gate = self.gate(id);
        Entered { host: self, id, guard: Some(gate.lock_owned().await) }
    }

    /// The same, unless somebody works on the machine right now.
    fn try_enter(&self, id: MachineId) -> Option<Entered<'_>> {
        let guard = self.gate(id).try_lock_owned().ok()?;
        Some(Entered { host: self, id, guard: Some(guard) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no step panics while it holds the lock: it only reads and writes maps")
    }
}

/// The right to work on one machine. The gate goes with the last who wanted through it.
struct Entered<'a> {
    host: &'a Host,
    id: MachineId,
    guard: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut state = self.host.state();
        drop(self.guard.take());
        // Gates are handed out under the same lock, so nobody can take this one between the count and the removal.
        if state.gates.get(&self.id).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            state.gates.remove(&self.id);
        }
    }
}

/// Ends the machine's shim and removes what it had on the host; its files stay.
pub(crate) async fn dismantle(world: &World, intent: &Intent, naming: &Naming) -> Result<(), EffectError> {
    world.shims.stop(intent.place()).await?;
    for tap in intent.taps() {
        world.devices.remove_tap(tap).await?;
    }
    world.devices.remove_group(&Group(naming.machine_group(intent.id, &intent.spec))).await?;
    world.devices.remove_runtime(intent.place()).await
}

fn rebuild(settings: &Settings, loaded: &Loaded) -> Result<Ledger, StartError> {
    let mut ledger = Ledger::new(settings.capacity, settings.range);
    for intent in &loaded.intents {
        let grant = intent.grant().map_err(StartError::Malformed)?;
        ledger.restore(intent.id, &intent.spec, grant).map_err(StartError::Restore)?;
    }
    if let Some(next) = loaded.next_address {
        ledger.resume_at(next);
    }
    Ok(ledger)
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod warm_tests;
