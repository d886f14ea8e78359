//! One pod on one machine.
//!
//! ```text
//!   pod      Pending --images, volumes known--> Admit --> PowerOn --> FillVolumes --> init containers --> Running
//!               |                               |                                                          |
//!               | not built, something missing  | refused                    all containers ended for good |
//!               v                               v                                                          v
//!            Pending (says why)              Failed                                         Succeeded or Failed
//!
//!   machine  Absent --Admit--> Off --PowerOn--> Booting --> Running --QEMU ends--> Off --PowerOn--> ... (at once)
//!                               ^                              |
//!                               +--------- PowerOff (pod over)-+
//!
//!   container  Never --Start--> Running --> Ended --policy says so: wait, Start the next attempt--> Running
//!                                             +---- policy says no: stays ended
//!
//!              Running --failed probe or hook, or the pod is over: Stop, at the deadline Kill--> Ended
//!
//!   deletion   --Stop all, sidecars last--> wait for them or the deadline --Kill all--> Release --> DeletePod
//! ```
//!
//! `Succeeded` and `Failed` are never left. An attempt number is never used twice. [`plan`] is asked again after each
//! change and at [`PodPlan::wake_at`]; it takes no account of what it said before.

mod ending;
mod images;
mod live;
mod memory;
mod run;
mod security;
mod status;
mod unsupported;
mod view;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod table_tests;

pub use memory::{Ending, FailedBoots, Memory, Refusal, StartRecord};
pub use security::Privileges;
pub use view::{ContainerView, Deletion, Dns, PodView, ProjectError, RestartPolicy, Unsupported};

use crate::env::Addresses;
use crate::probe::Prober;
use orrery_api::k8s::api::core::v1::PodStatus;
use orrery_api::k8s::jiff::{SignedDuration, Timestamp};
use orrery_wire::shim::MachineStatus;
use std::collections::BTreeMap;

/// What is known of a container's image on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageState {
    /// It is here and the pod may use it.
    Present {
        /// Its id as it is published, such as `docker.io/library/busybox@sha256:...`.
        id: String,
    },
    /// Its registry has to be asked first.
    Absent,
    /// It could not be looked up or cannot be used.
    Unusable {
        /// Why, as one of the kubelet's words: `InvalidImageName`.
        reason: &'static str,
        /// Why and what to do, for people.
        message: String,
    },
}

impl ImageState {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Present { id } => Some(id),
            Self::Absent | Self::Unusable { .. } => None,
        }
    }
}

/// The pod's machine, as it was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Machine {
    /// The host holds none.
    Absent,
    /// The host holds it, but its shim does not answer.
    Silent,
    /// It is there.
    Present(MachineStatus),
}

/// How the pod's volumes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeState {
    /// The machine has them as they should be, or there are none.
    Filled,
    /// What they should hold is known, and this boot of the machine does not have it (all of it, or the newest).
    Unfilled,
    /// What they should hold is not known, and this boot of the machine has nothing of it.
    Obstructed,
}

/// All that a plan is made from.
#[derive(Debug)]
pub struct Observation<'a> {
    /// What is wanted.
    pub pod: &'a PodView,
    /// The images, by container name.
    pub images: &'a BTreeMap<String, ImageState>,
    /// Containers whose configuration cannot be made, with why.
    pub config_errors: &'a BTreeMap<String, String>,
    /// The volumes.
    pub volumes: VolumeState,
    /// How the probes stand.
    pub probes: &'a Prober,
    /// The machine.
    pub machine: &'a Machine,
    /// The addresses to publish.
    pub addresses: &'a Addresses,
    /// The status that the last plan gave, or the published one before the first plan.
    pub previous: &'a PodStatus,
    /// The time.
    pub now: Timestamp,
}

/// One thing to do. Each may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin to pull an image. [`Memory::pulls`] is to be told, of this and of how it ends.
    Pull {
        /// Its reference, as the container has it.
        image: String,
        /// The first container that needs it.
        container: String,
    },
    /// Have the host admit the machine, or bring back its shim.
    Admit,
    /// Boot the machine and give it its identity.
    PowerOn,
    /// Make the pod's volumes in the machine and fill them.
    FillVolumes,
    /// Start a container.
    Start {
        /// Its name.
        container: String,
        /// The attempt: 0 for the first.
        attempt: u32,
        /// How long the attempt before had run, when this one counts against the container. [`Memory::started`] is to
        /// be told.
        after: Option<SignedDuration>,
    },
    /// Run the container's hook before its end, if it has one, and send it its stop signal, all by `deadline`.
    /// [`Memory::asked_to_end`] is to be told.
    Stop {
        /// Its name.
        container: String,
        /// Its attempt.
        attempt: u32,
        /// When it is killed.
        deadline: Timestamp,
    },
    /// Kill every process of a container. [`Memory::killed`] is to be told.
    Kill {
        /// Its name.
        container: String,
        /// Its attempt.
        attempt: u32,
    },
    /// Power the machine off; it stays the pod's.
    PowerOff,
    /// Give the machine back to the host, with all its files.
    Release,
    /// Remove the pod's object: everything of it is gone.
    DeletePod,
}

/// Something to tell people, once: the plan has compared with what was published before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is a warning.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The container that it is about, if it is about one.
    pub container: Option<String>,
}

/// What to do about a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodPlan {
    /// To be done in this order, after the status was published. The first one that fails ends the round.
    pub actions: Vec<Action>,
    /// To be published when it differs from what is published.
    pub status: PodStatus,
    /// To be told.
    pub notices: Vec<Notice>,
    /// When to look again, if nothing changes before.
    pub wake_at: Option<Timestamp>,
}

impl PodPlan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |present| present.min(at)));
    }
}

/// Decides what to do about a pod.
#[must_use]
pub fn plan(seen: &Observation<'_>, memory: &Memory) -> PodPlan {
    if seen.pod.deletion.is_some() {
        return ending::deletion(seen, memory);
    }
    if status::is_terminal(seen.previous) {
        return ending::after_the_end(seen, memory);
    }
    if let Some(refusal) = &memory.refusal {
        return ending::refused(seen, memory, refusal);
    }
    if let Some(name) = security::forbidden_sysctl(&seen.pod.sysctls) {
        return ending::forbidden(seen, memory, name);
    }
    if let Some(unsupported) = &seen.pod.unsupported {
        return live::held(seen, memory, unsupported);
    }
    live::plan(seen, memory)
}

/// What a refusal of the host means for a pod: a final reason in the kubelet's words, or none when it may be asked again.
#[must_use]
pub fn final_refusal(reason: &str) -> Option<&str> {
    use orrery_wire::host::reason as host;
    match reason {
        host::OUT_OF_MEMORY => Some("OutOfmemory"),
        host::OUT_OF_CPU => Some("OutOfcpu"),
        host::OUT_OF_SLOTS => Some("OutOfpods"),
        host::OUT_OF_ADDRESSES => Some(host::OUT_OF_ADDRESSES),
        // A host that shuts down comes back; a changed specification is looked at again.
        _ => None,
    }
}

#[cfg(test)]
pub(crate) use table_tests::test_pod;
