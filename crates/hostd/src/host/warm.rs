//! Machines that are ready before they are asked for.
//!
//! ```text
//!   warm up: ledger -> intent saved as warm -> directories -> control group -> tap -> shim, rehearsed
//!   claim:   ledger -> intent saved as the machine's -> directories, control group -> told to the shim -> warm group removed
//! ```
//! The intent of a claimed machine lies where the warm one's did, so that one file's replacement is the whole decision. A warm
//! machine holds what it needs like any other, but gives way when a machine is to be admitted, and nobody is told of it.

use super::{Host, Ready, ReleaseError, State};
use crate::{
    config::GuestSize,
    effects::{EffectError, chain},
    intent::{Intent, Standing},
    ledger::Refusal,
    templates::{Key, OVERHEAD},
    warm::Demand,
};
use orrery_api::names::MachineId;
use orrery_wire::host::{DiskSpec, InterfaceSpec, MachineSpec, Owner, POD_SEGMENT, WarmMachines};
use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

/// How often warm machines are looked over when nobody claims one.
const LOOK_OVER: Duration = Duration::from_secs(2);
/// So long nothing is warmed up after a claim: the machine that was claimed is just starting, and shall have the processors.
const SETTLE: Duration = Duration::from_secs(1);
/// When claims come one after the other, it is not put off for longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// In place of a namespace, and what the disk is called that a warm machine rehearses with.
const WARM: &str = "warm";

/// What is kept warm.
#[derive(Debug, Clone)]
pub(crate) struct WarmRules {
    /// Kinds that always are.
    pub(crate) always: Vec<(String, GuestSize)>,
    /// Most machines of one kind.
    pub(crate) most: usize,
    /// Most memory of all warm machines together, overhead included, in bytes.
    pub(crate) memory_bytes: u64,
    /// How old one may get: all clones of a template share what was random at its boot.
    pub(crate) max_age: Duration,
    /// The image to rehearse with.
    pub(crate) rehearsal: PathBuf,
}

/// The host's part that sees to warm machines.
pub(crate) struct Warmth {
    rules: WarmRules,
    demand: Mutex<Demand<Key>>,
    /// When a machine was claimed, or would have been, last.
    claimed: Mutex<Option<Instant>>,
    wake: Notify,
}

impl Warmth {
    pub(super) fn new(rules: WarmRules) -> Self {
        Self { demand: Mutex::new(Demand::new(rules.most)), claimed: Mutex::default(), wake: Notify::new(), rules }
    }

    /// How long to leave the processors to what was just claimed.
    fn pause(&self, put_off: Duration) -> Duration {
        let claimed = *self.claimed.lock().expect("nothing panics while it holds the lock");
        let settling = claimed.map_or(Duration::ZERO, |claimed| SETTLE.saturating_sub(claimed.elapsed()));
        settling.min(LONGEST_WAIT.saturating_sub(put_off))
    }

    fn demand(&self) -> MutexGuard<'_, Demand<Key>> {
        self.demand.lock().expect("no step panics while it holds the lock: it only reads and writes maps")
    }
}

/// Why no machine was warmed up.
#[derive(Debug, thiserror::Error)]
enum WarmError {
    #[error(transparent)]
    NoRoom(#[from] Refusal),
    #[error(transparent)]
    Effect(#[from] EffectError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

impl Host {
    /// Keeps machines warm, for ever.
    pub(crate) async fn keep_warm(&self) {
        let Some(warmth) = &self.warmth else { return };
        let mut put_off = Duration::ZERO;
        loop {
            self.let_go(warmth).await;
            let pause = warmth.pause(put_off);
            if pause > Duration::ZERO {
                put_off += pause;
                tokio::time::sleep(pause).await;
                continue;
            }
            put_off = Duration::ZERO;
            if !self.warm_next(warmth).await {
                // Cancel-safe, and a wake-up that comes before is kept.
                let _ = tokio::time::timeout(LOOK_OVER, warmth.wake.notified()).await;
            }
        }
    }

    pub(crate) fn warm_machines(&self) -> WarmMachines {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let wanted = self.warmth.as_ref().map_or(0, |warmth| warmth.demand().wanted(Instant::now()));
        WarmMachines { ready: count(self.state().ready.len()), wanted: count(wanted) }
    }

    /// Warms up what lacks most. False when nothing is to be done, or can be now.
    pub(super) async fn warm_next(&self, warmth: &Warmth) -> bool {
        let Some(kind) = self.next_kind(warmth) else { return false };
        let began = Instant::now();
        let made = self.warm_up(&kind, &warmth.rules).await;
        match &made {
            Ok(()) => debug!(?kind, seconds = began.elapsed().as_secs_f32(), "warmed up a machine"),
            Err(WarmError::NoRoom(refusal)) => debug!(?kind, %refusal, "no machine was warmed up"),
            Err(error) => warn!(?kind, error = chain(error), "no machine was warmed up"),
        }
        warmth.demand().made(&kind, made.is_ok(), Instant::now());
        made.is_ok()
    }

    /// Makes a machine of a warm one, if there is one that it can go on from. Else the next may find one.
    pub(super) async fn claim(&self, id: MachineId, spec: &MachineSpec) -> Option<Result<Intent, EffectError>> {
        let warmth = self.warmth.as_ref()?;
        let kind = self.world.shims.kind(spec)?;
        warmth.demand().wish(kind.clone(), Instant::now());
        *warmth.claimed.lock().expect("nothing panics while it holds the lock") = Some(Instant::now());
        warmth.wake.notify_one();
        let candidates: Vec<MachineId> = self.state().ready_of(&kind).collect();
        for warm in candidates {
            // Somebody may be letting go of it.
            let Some(_gate) = self.try_enter(warm) else { continue };
            let claimed = self.state().claim(warm, id, spec);
            let Some((before, intent)) = claimed else { continue };
            info!(machine = %id, name = %spec.name, place = %warm, "admitted a machine that was warm");
            let made = self.take_over(&intent).await;
            if let Err(error) = self.world.devices.remove_group(&self.group(&before)).await {
                warn!(machine = %id, error = chain(&error), "the warm machine's control group is still there");
            }
            return Some(made.map(|()| intent));
        }
        None
    }

    async fn take_over(&self, intent: &Intent) -> Result<(), EffectError> {
        if let Err(error) = self.world.records.save(intent).await {
            self.undo_unrecorded(intent).await;
            return Err(error);
        }
        match self.hand_over(intent).await {
            Ok(()) => Ok(()),
            Err(error) => {
                warn!(machine = %intent.id, error = chain(&error), "the warm machine was of no use");
                // What is left of it must not be in the way of the shim that comes in its place.
                self.world.shims.stop(intent.place()).await?;
                self.make_ready(intent).await
            }
        }
    }

    async fn hand_over(&self, intent: &Intent) -> Result<(), EffectError> {
        self.world.devices.create_directories(intent).await?;
        self.world.devices.create_group(intent).await?;
        self.world.shims.assign(intent).await
    }

    /// Whether a machine would be admitted if none were warm. Else it is of no use to give any up.
    pub(super) fn fits_without_warm(&self, id: MachineId, spec: &MachineSpec) -> bool {
        let state = self.state();
        let mut ledger = state.ledger.clone();
        state.ready.keys().for_each(|warm| ledger.release(*warm));
        ledger.admit(id, spec).is_ok()
    }

    /// Gives back what some warm machine holds. False when there is none.
    pub(super) async fn make_room(&self) -> bool {
        let warm = self.state().ready.keys().next_back().copied();
        let Some(warm) = warm else { return false };
        match self.release(warm).await {
            Ok(()) => true,
            Err(error) => {
                warn!(error = chain(&error), "a warm machine does not give way");
                false
            }
        }
    }

    fn next_kind(&self, warmth: &Warmth) -> Option<Key> {
        let (state, now) = (self.state(), Instant::now());
        let free = warmth.rules.memory_bytes.saturating_sub(state.warm_bytes());
        let kind = warmth.demand().next(|kind| state.ready_of(kind).count(), now)?;
        (kind.size.memory_bytes.saturating_add(OVERHEAD) <= free && self.world.shims.has_template(&kind))
            .then_some(kind)
    }

    /// Releases what is too old, of another build, or not wanted any more.
    pub(super) async fn let_go(&self, warmth: &Warmth) {
        let now = Instant::now();
        let kinds = self.world.shims.current(&warmth.rules.always);
        {
            let mut demand = warmth.demand();
            demand.always(kinds);
            demand.tidy(now);
        }
        let of_no_use: Vec<MachineId> = {
            let (state, demand) = (self.state(), warmth.demand());
            let too_many = |ready: &Ready| state.ready_of(&ready.kind).count() > demand.target(&ready.kind, now);
            let too_old = |ready: &Ready| now.duration_since(ready.since) >= warmth.rules.max_age;
            let ready = state.ready.iter().filter(|(_, ready)| too_old(ready) || too_many(ready));
            ready.map(|(id, _)| *id).collect()
        };
        // One of many at a time: the next look counts again.
        if let Some(warm) = of_no_use.first()
            && let Err(error) = self.release(*warm).await
        {
            warn!(error = chain(&error), "a warm machine that nobody wants is still there");
        }
    }

    async fn warm_up(&self, kind: &Key, rules: &WarmRules) -> Result<(), WarmError> {
        let id = MachineId(uuid::Uuid::new_v4());
        let _gate = self.enter(id).await;
        let intent = self.warm_intent(id, kind, rules)?;
        let made = async {
            self.record(&intent).await?;
            self.make_devices(&intent).await?;
            self.world.shims.warm(&intent).await
        };
        if let Err(error) = made.await {
            self.undo(&intent).await?;
            return Err(error.into());
        }
        self.state().ready.insert(id, Ready { kind: kind.clone(), since: Instant::now() });
        Ok(())
    }

    fn warm_intent(&self, id: MachineId, kind: &Key, rules: &WarmRules) -> Result<Intent, Refusal> {
        let spec = spec(id, kind, rules);
        let grant = self.state().ledger.admit(id, &spec)?;
        let intent = self.intent(id, spec, Standing::Warm, &grant);
        self.state().intents.insert(id, intent.clone());
        Ok(intent)
    }
}

impl Host {
    pub(super) fn is_ready(&self, id: MachineId) -> bool {
        self.state().ready.contains_key(&id)
    }
}

impl State {
    /// The machines that somebody asked for.
    pub(super) fn asked_for(&self) -> impl Iterator<Item = &Intent> {
        self.intents.values().filter(|intent| intent.standing != Standing::Warm)
    }

    /// The warm machines of a kind.
    fn ready_of(&self, kind: &Key) -> impl Iterator<Item = MachineId> {
        self.ready.iter().filter(move |(_, ready)| ready.kind == *kind).map(|(id, _)| *id)
    }

    /// What warm machines hold of the memory.
    pub(super) fn warm_bytes(&self) -> u64 {
        let warm = self.intents.values().filter(|intent| intent.standing == Standing::Warm);
        warm.fold(0, |sum, intent| {
            sum.saturating_add(intent.spec.memory_bytes).saturating_add(intent.spec.overhead_bytes)
        })
    }

    /// The intents of a warm machine and of what it becomes; none when it cannot.
    fn claim(&mut self, warm: MachineId, id: MachineId, spec: &MachineSpec) -> Option<(Intent, Intent)> {
        self.ready.get(&warm)?;
        let before = self.intents.get(&warm)?.clone();
        if let Err(refusal) = self.ledger.claim(warm, id, spec) {
            debug!(machine = %id, %refusal, "a warm machine is no help");
            return None;
        }
        let intent = before.claimed(id, spec.clone());
        self.ready.remove(&warm);
        self.intents.remove(&warm);
        self.intents.insert(id, intent.clone());
        Some((before, intent))
    }
}

fn spec(id: MachineId, kind: &Key, rules: &WarmRules) -> MachineSpec {
    let rehearsal = rules.rehearsal.display().to_string();
    MachineSpec {
        id: id.to_string(),
        owner: Owner::Host { purpose: WARM.to_owned() },
        name: format!("{WARM}/{}", kind.domain),
        pool: kind.domain.clone(),
        namespace: WARM.to_owned(),
        vcpus: kind.size.vcpus,
        // The least share there is: nobody waits for it.
        cpu_milli: 0,
        memory_bytes: kind.size.memory_bytes,
        overhead_bytes: OVERHEAD,
        disks: vec![DiskSpec { path: rehearsal, serial: WARM.to_owned(), read_only: true }],
        scratch_bytes: None,
        interfaces: vec![InterfaceSpec { segment: POD_SEGMENT.to_owned(), address: None }],
    }
}
