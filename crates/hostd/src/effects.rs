//! What the host's logic asks of the world. The real implementations are in `records`, `devices` and `shims`; the tests
//! run the same logic over a simulated world that fails and crashes at every step.
//!
//! Every operation may be repeated: what is there is left, what is gone is fine.

use crate::{config::GuestSize, intent::Intent, templates::Key};
use async_trait::async_trait;
use orrery_api::names::MachineId;
use orrery_wire::{
    host::{AssignedInterface, MachineSpec},
    shim::MachineStatus,
};
use std::{error::Error, net::Ipv4Addr, path::PathBuf};

/// Why something could not be done to the world.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub(crate) struct EffectError {
    doing: String,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl EffectError {
    pub(crate) fn new(doing: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { doing: doing.into(), source: source.into() }
    }
}

/// For `map_err`: what was being done.
pub(crate) fn failed<E: Into<Box<dyn Error + Send + Sync>>>(doing: impl Into<String>) -> impl FnOnce(E) -> EffectError {
    let doing = doing.into();
    move |source| EffectError::new(doing, source)
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What was on disk.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Every machine that shall be here or shall go.
    pub(crate) intents: Vec<Intent>,
    /// Machines' directories without an intent: the rest of an interrupted removal.
    pub(crate) orphans: Vec<MachineId>,
    /// Where the search for addresses goes on.
    pub(crate) next_address: Option<Ipv4Addr>,
}

/// The host's memory on disk. What was saved is there after a power cut.
#[async_trait]
pub(crate) trait Records: Send + Sync {
    /// Everything that was saved. An intent that can't be read is an error: nobody may take what it holds.
    async fn load(&self) -> Result<Loaded, EffectError>;
    /// Remembers where the search for addresses goes on.
    async fn save_next_address(&self, next: Ipv4Addr) -> Result<(), EffectError>;
    /// Saves the machine's intent, whole or not at all.
    async fn save(&self, intent: &Intent) -> Result<(), EffectError>;
    /// Removes the machine's files, its intent last.
    async fn remove(&self, id: MachineId) -> Result<(), EffectError>;
}

/// What machines have on the host besides files: directories, control groups, taps.
#[async_trait]
pub(crate) trait Devices: Send + Sync {
    /// Makes the machine's runtime and log directories, and its scratch disk when it has one.
    async fn create_directories(&self, intent: &Intent) -> Result<(), EffectError>;
    /// Removes the machine's runtime directory.
    async fn remove_runtime(&self, id: MachineId) -> Result<(), EffectError>;
    /// Makes the machine's control groups with their limits.
    async fn create_group(&self, intent: &Intent) -> Result<(), EffectError>;
    /// Kills what is left in a control group and removes it, with those above it that are empty.
    async fn remove_group(&self, group: &Group) -> Result<(), EffectError>;
    /// Makes a tap for the machine and plugs it in.
    async fn create_tap(&self, intent: &Intent, interface: &AssignedInterface) -> Result<(), EffectError>;
    /// Removes a tap.
    async fn remove_tap(&self, tap: &str) -> Result<(), EffectError>;
    /// Everything that is there, whosever it is.
    async fn found(&self) -> Result<Found, EffectError>;
}

/// A machine's control group, by its path below the mount point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group(pub(crate) PathBuf);

/// What is on the host under names that this host gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) taps: Vec<String>,
    pub(crate) groups: Vec<Group>,
    /// Machines with a runtime directory.
    pub(crate) runtimes: Vec<MachineId>,
}

/// A shim that answered.
#[derive(Debug, Clone)]
pub(crate) struct ShimView {
    pub(crate) pid: Option<u32>,
    pub(crate) status: MachineStatus,
}

/// The shims of the host's machines.
#[async_trait]
pub(crate) trait Shims: Send + Sync {
    /// Adopts the machine's shim when it runs, starts it when it does not, and returns when it answers.
    async fn ensure(&self, intent: &Intent) -> Result<(), EffectError>;
    /// What a warm machine has to be to become this one; none when it cannot go on from a warm one.
    fn kind(&self, spec: &MachineSpec) -> Option<Key>;
    /// The kinds as the host's files make them now.
    fn current(&self, kinds: &[(String, GuestSize)]) -> Vec<Key>;
    /// Whether a machine of this kind can be warmed up now. If not, it will be.
    fn has_template(&self, kind: &Key) -> bool;
    /// Starts the shim of a warm machine and returns when it has rehearsed.
    async fn warm(&self, intent: &Intent) -> Result<(), EffectError>;
    /// Tells the shim of a warm machine which one it has become, and returns when it answers as that.
    async fn assign(&self, intent: &Intent) -> Result<(), EffectError>;
    /// Whether the shim's process is there. A shim that is there may still not answer.
    async fn is_alive(&self, id: MachineId) -> bool;
    /// Powers the machine off and ends its shim, by force when it does not end by itself.
    async fn stop(&self, id: MachineId) -> Result<(), EffectError>;
    /// Asks a shim where its machine stands; none when it does not answer soon.
    async fn view(&self, id: MachineId) -> Option<ShimView>;
}
