//! The record that a machine shall be on this host: written before anything is done for the machine, removed after
//! everything is undone.
//!
//! ```text
//!   (none) --admit: saved--> Active --release: saved--> Releasing --all undone: removed--> (none)
//!      |                        ^                           ^
//!      +--warmed: saved--> Warm +--claimed by a machine     |
//!                            +--nobody's agent lives--------+
//! ```
//!
//! Whatever the host agent finds at its start that no intent owns is left over from a crash, and is removed.

use crate::{ledger::Grant, naming};
use ipnet::Ipv4Net;
use orrery_api::names::MachineId;
use orrery_network::InterfaceName;
use orrery_wire::{
    host::{Admission, AssignedInterface, MachineSpec},
    join::HeldMachine,
};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The version of the record that is written.
pub(crate) const INTENT_VERSION: u32 = 1;

/// Largest packet on the host's segment, in bytes.
const MTU: u32 = 1500;

/// What shall become of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It shall be here, with its shim running.
    Active,
    /// It is ready to become a machine that is not known yet. It goes with the agent that made it.
    Warm,
    /// It shall go; part of it may be gone.
    Releasing,
}

/// One machine of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// [`INTENT_VERSION`].
    pub(crate) version: u32,
    pub(crate) id: MachineId,
    /// The id of the warm machine that it was, if it was one: its files, its shim and its taps are known by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<MachineId>,
    pub(crate) standing: Standing,
    pub(crate) slot: u32,
    pub(crate) spec: MachineSpec,
    pub(crate) admission: Admission,
}

/// Why a record does not give a grant.
#[derive(Debug, thiserror::Error)]
#[error("the intent of machine {id} has the malformed address {address:?}")]
pub(crate) struct MalformedIntent {
    id: MachineId,
    address: String,
}

impl Intent {
    pub(crate) fn releasing(&self) -> Self {
        Self { standing: Standing::Releasing, ..self.clone() }
    }

    /// By what the machine's directories are called, and its shim is found.
    pub(crate) fn place(&self) -> MachineId {
        self.place.unwrap_or(self.id)
    }

    /// The intent of the machine `id` that this warm machine becomes.
    pub(crate) fn claimed(&self, id: MachineId, spec: MachineSpec) -> Self {
        Self { id, place: Some(self.id), standing: Standing::Active, spec, ..self.clone() }
    }

    /// What the ledger gave to the machine.
    pub(crate) fn grant(&self) -> Result<Grant, MalformedIntent> {
        let parse = |interface: &AssignedInterface| {
            let network: Result<Ipv4Net, _> = interface.address.parse();
            network.map_err(|_| MalformedIntent { id: self.id, address: interface.address.clone() })
        };
        let addresses: Result<Vec<Ipv4Addr>, _> =
            self.admission.interfaces.iter().map(|interface| Ok(parse(interface)?.addr())).collect();
        Ok(Grant { slot: self.slot, addresses: addresses? })
    }

    /// The machine as the manager is told of it.
    pub(crate) fn held(&self) -> HeldMachine {
        let spec = &self.spec;
        HeldMachine {
            id: self.id.to_string(),
            name: spec.name.clone(),
            owner: spec.owner.clone(),
            pool: spec.pool.clone(),
            vcpus: spec.vcpus,
            cpu_milli: spec.cpu_milli,
            memory_bytes: spec.memory_bytes,
            overhead_bytes: spec.overhead_bytes,
            addresses: self.admission.interfaces.iter().map(|interface| interface.address.clone()).collect(),
            releasing: self.standing == Standing::Releasing,
        }
    }

    /// The names of the machine's taps.
    pub(crate) fn taps(&self) -> impl Iterator<Item = &str> {
        self.admission.interfaces.iter().map(|interface| interface.tap.as_str())
    }
}

/// The network interfaces of a machine with `grant`.
pub(crate) fn assign(
    id: MachineId,
    grant: &Grant,
    range: Ipv4Net,
    gateway: Ipv4Addr,
    tap: impl Fn(u32, usize) -> InterfaceName,
) -> Vec<AssignedInterface> {
    let assign = |(index, address): (usize, &Ipv4Addr)| AssignedInterface {
        mac: naming::mac(id, index),
        address: format!("{address}/{}", range.prefix_len()),
        gateway: gateway.to_string(),
        mtu: MTU,
        tap: tap(grant.slot, index).to_string(),
    };
    grant.addresses.iter().enumerate().map(assign).collect()
}
