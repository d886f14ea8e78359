//! What the host has given to whom. Pure: an admission is decided here, whole or not at all, and nowhere else.
//!
//! ```text
//!   unknown --admit--> held --release--> unknown
//!      |                ^ |
//!      +---restore------+ +--admit, same specification--> held (the same grant)
//!                         +--admit, other specification--> refused
//! ```
//!
//! CPU, memory, slots and addresses are reserved together. Memory is never given twice; reserved CPU is not either (how
//! many virtual CPUs share it is the kernel's business). A restored machine is held even when the host has become
//! smaller than what it holds; only new machines are then refused.

use crate::{Capacity, addresses::AddressPool, naming::MAX_INTERFACES, scratch::LEAST_BYTES};
use ipnet::Ipv4Net;
use orrery_api::names::{MachineId, check_dns_label};
use orrery_wire::{
    guest::MAX_DISKS,
    host::{MachineSpec, POD_SEGMENT, reason},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// What a machine got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its slot, from 0: the user id follows from it.
    pub slot: u32,
    /// One address for each interface.
    pub addresses: Vec<Ipv4Addr>,
}

/// Why a machine can't be admitted. Nothing was reserved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too little memory is left.
    #[error(
        "the machine needs {wanted} bytes of memory with its overhead and the host has {free} left; ask for less, or \
         release other machines"
    )]
    OutOfMemory {
        /// Guest and overhead, in bytes.
        wanted: u64,
        /// In bytes.
        free: u64,
    },
    /// Too little CPU is left.
    #[error(
        "the machine reserves {wanted}m of CPU and the host has {free}m left; ask for less, or release other machines"
    )]
    OutOfCpu {
        /// In thousandths of a core.
        wanted: u64,
        /// In thousandths of a core.
        free: u64,
    },
    /// Every slot is taken.
    #[error("all {0} machine slots of the host are taken; release other machines")]
    OutOfSlots(u32),
    /// Every address is taken.
    #[error("no address is left in {0}; release other machines, or give the host a larger range")]
    OutOfAddresses(Ipv4Net),
    /// An address was asked for that another machine has, or that no machine can have here.
    #[error("address {address} can't be given: {why}")]
    AddressUnavailable {
        /// What was asked for.
        address: String,
        /// Whose it is, or that it is outside the range.
        why: String,
    },
    /// The id is taken by a machine with another specification.
    #[error("machine {0} exists with another specification; release it first")]
    SpecChanged(MachineId),
    /// There is no such segment on this host.
    #[error("the host has no segment {0:?}; it has only {POD_SEGMENT:?}")]
    UnknownSegment(String),
    /// The specification makes no sense.
    #[error("the machine's specification is invalid: {0}")]
    Invalid(String),
}

impl Refusal {
    /// The word for machines to read, of [`orrery_wire::host::reason`].
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::OutOfMemory { .. } => reason::OUT_OF_MEMORY,
            Self::OutOfCpu { .. } => reason::OUT_OF_CPU,
            Self::OutOfSlots(_) => reason::OUT_OF_SLOTS,
            Self::OutOfAddresses(_) | Self::AddressUnavailable { .. } => reason::OUT_OF_ADDRESSES,
            Self::SpecChanged(_) => reason::SPEC_CHANGED,
            Self::UnknownSegment(_) => reason::UNKNOWN_SEGMENT,
            Self::Invalid(_) => reason::INVALID_SPEC,
        }
    }
}

/// Why a machine that was held before can't be held again: the records contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Two machines have the same slot.
    #[error("machines {one} and {other} both have slot {slot}")]
    SlotTwice {
        /// The slot.
        slot: u32,
        /// The machine that was restored before.
        one: MachineId,
        /// The machine that can't be.
        other: MachineId,
    },
    /// Two machines have the same address.
    #[error("machines {one} and {other} both have address {address}")]
    AddressTwice {
        /// The address.
        address: Ipv4Addr,
        /// The machine that was restored before.
        one: MachineId,
        /// The machine that can't be.
        other: MachineId,
    },
}

#[derive(Debug, Clone)]
struct Entry {
    spec: MachineSpec,
    grant: Grant,
}

/// What the host has given to whom.
#[derive(Debug, Clone)]
pub struct Ledger {
    capacity: Capacity,
    pool: AddressPool,
    entries: BTreeMap<MachineId, Entry>,
}

impl Ledger {
    /// A ledger that has given nothing yet. Addresses come from `range`.
    #[must_use]
    pub fn new(capacity: Capacity, range: Ipv4Net) -> Self {
        Self { capacity, pool: AddressPool::new(range), entries: BTreeMap::new() }
    }

    /// Goes on giving addresses where an earlier ledger was.
    pub fn resume_at(&mut self, next: Ipv4Addr) {
        self.pool.resume_at(next);
    }

    /// The address that is tried first for the next machine: what [`Ledger::resume_at`] wants to know.
    #[must_use]
    pub fn next_address(&self) -> Ipv4Addr {
        self.pool.next_address()
    }

    /// Reserves all that `spec` needs; or gives the grant that it has already.
    ///
    /// # Errors
    /// The first thing that is missing; then nothing is reserved.
    pub fn admit(&mut self, id: MachineId, spec: &MachineSpec) -> Result<Grant, Refusal> {
        if let Some(entry) = self.entries.get(&id) {
            return if entry.spec == *spec { Ok(entry.grant.clone()) } else { Err(Refusal::SpecChanged(id)) };
        }
        check(spec)?;
        self.check_amounts(spec)?;
        let slot = self.free_slot()?;
        // On a copy, so that a machine whose second interface gets no address does not keep the first one's.
        let mut pool = self.pool.clone();
        let addresses = grant_addresses(&mut pool, id, spec)?;
        self.pool = pool;
        let grant = Grant { slot, addresses };
        self.entries.insert(id, Entry { spec: spec.clone(), grant: grant.clone() });
        Ok(grant)
    }

    /// Holds a machine again that was held before a restart, whatever the host's size is now.
    ///
    /// # Errors
    /// When the slot or an address is another machine's.
    pub fn restore(&mut self, id: MachineId, spec: &MachineSpec, grant: Grant) -> Result<(), RestoreError> {
        if let Some((one, _)) = self.entries.iter().find(|(_, entry)| entry.grant.slot == grant.slot) {
            return Err(RestoreError::SlotTwice { slot: grant.slot, one: *one, other: id });
        }
        for address in &grant.addresses {
            if let Some(one) = self.pool.owner(*address) {
                return Err(RestoreError::AddressTwice { address: *address, one, other: id });
            }
        }
        for address in &grant.addresses {
            self.pool.mark(*address, id);
        }
        self.entries.insert(id, Entry { spec: spec.clone(), grant });
        Ok(())
    }

    /// Gives slot and addresses of the warm machine `warm` to machine `id`, and reserves for it what `spec` needs instead of
    /// what the warm one held.
    ///
    /// # Errors
    /// When that does not fit, or the two have not as many interfaces; then nothing has changed.
    pub fn claim(&mut self, warm: MachineId, id: MachineId, spec: &MachineSpec) -> Result<Grant, Refusal> {
        check(spec)?;
        let Some(held) = self.entries.remove(&warm) else {
            return Err(Refusal::Invalid(format!("there is no warm machine {warm}")));
        };
        let fits = if held.grant.addresses.len() == spec.interfaces.len() {
            self.check_amounts(spec)
        } else {
            Err(Refusal::Invalid("the warm machine has another number of interfaces".into()))
        };
        if let Err(refusal) = fits {
            self.entries.insert(warm, held);
            return Err(refusal);
        }
        self.pool.release(warm);
        held.grant.addresses.iter().for_each(|address| self.pool.mark(*address, id));
        self.entries.insert(id, Entry { spec: spec.clone(), grant: held.grant.clone() });
        Ok(held.grant)
    }

    /// Gives back all that the machine held. A machine that is not held is fine.
    pub fn release(&mut self, id: MachineId) {
        self.entries.remove(&id);
        self.pool.release(id);
    }

    /// How many machines are held.
    #[must_use]
    pub fn machines(&self) -> usize {
        self.entries.len()
    }

    /// CPU that is reserved, in thousandths of a core.
    #[must_use]
    pub fn used_cpu_milli(&self) -> u64 {
        self.entries.values().fold(0, |sum, entry| sum.saturating_add(entry.spec.cpu_milli))
    }

    /// Memory that is reserved, overhead included, in bytes.
    #[must_use]
    pub fn used_memory_bytes(&self) -> u64 {
        self.entries.values().fold(0, |sum, entry| sum.saturating_add(memory(&entry.spec)))
    }

    fn check_amounts(&self, spec: &MachineSpec) -> Result<(), Refusal> {
        let free = self.capacity.memory_bytes.saturating_sub(self.used_memory_bytes());
        if memory(spec) > free {
            return Err(Refusal::OutOfMemory { wanted: memory(spec), free });
        }
        let free = self.capacity.cpu_milli.saturating_sub(self.used_cpu_milli());
        if spec.cpu_milli > free {
            return Err(Refusal::OutOfCpu { wanted: spec.cpu_milli, free });
        }
        Ok(())
    }

    fn free_slot(&self) -> Result<u32, Refusal> {
        let taken: BTreeSet<u32> = self.entries.values().map(|entry| entry.grant.slot).collect();
        let free = (0..self.capacity.machine_slots).find(|slot| !taken.contains(slot));
        free.ok_or(Refusal::OutOfSlots(self.capacity.machine_slots))
    }
}

/// Guest and overhead; the sum of two amounts that do not fit is more than any host has.
fn memory(spec: &MachineSpec) -> u64 {
    spec.memory_bytes.saturating_add(spec.overhead_bytes)
}

fn grant_addresses(pool: &mut AddressPool, id: MachineId, spec: &MachineSpec) -> Result<Vec<Ipv4Addr>, Refusal> {
    let mut addresses = Vec::new();
    for interface in &spec.interfaces {
        let address = match &interface.address {
            None => pool.take(id).ok_or(Refusal::OutOfAddresses(pool.range()))?,
            Some(text) => {
                let refuse = |why: String| Refusal::AddressUnavailable { address: text.clone(), why };
                let address: Ipv4Addr = text.parse().map_err(|_| refuse("it is no IPv4 address".into()))?;
                if !pool.is_usable(address) {
                    return Err(refuse(format!("machines of this host have addresses of {}", pool.range())));
                }
                if let Some(owner) = pool.owner(address) {
                    return Err(refuse(format!("machine {owner} has it")));
                }
                pool.mark(address, id);
                address
            }
        };
        addresses.push(address);
    }
    Ok(addresses)
}

/// Whether a specification makes sense on any host: its texts become parts of paths and names.
fn check(spec: &MachineSpec) -> Result<(), Refusal> {
    let invalid = |what: String| Err(Refusal::Invalid(what));
    for (what, text) in [("resource pool", &spec.pool), ("namespace", &spec.namespace)] {
        if let Err(why) = check_dns_label(text) {
            return invalid(format!("{text:?} is no name of a {what}: {why}"));
        }
    }
    if spec.vcpus == 0 || spec.memory_bytes == 0 {
        return invalid("a machine needs at least one virtual CPU and some memory".into());
    }
    if spec.interfaces.len() > MAX_INTERFACES {
        return invalid(format!("a machine has at most {MAX_INTERFACES} network interfaces"));
    }
    // The first slot is the scratch disk's, also of a machine that has none.
    let most = usize::from(MAX_DISKS) - 1;
    if spec.disks.len() > most {
        let disks = spec.disks.len();
        return invalid(format!("it has {disks} disks, one for each image, and a machine has room for {most}"));
    }
    if let Some(interface) = spec.interfaces.iter().find(|interface| interface.segment != POD_SEGMENT) {
        return Err(Refusal::UnknownSegment(interface.segment.clone()));
    }
    if let Some(disk) = spec.disks.iter().find(|disk| !disk.path.starts_with('/')) {
        return invalid(format!("the disk path {:?} is not absolute", disk.path));
    }
    if let Some(disk) = spec.disks.iter().find(|disk| disk.serial.is_empty() || disk.serial.len() > 20) {
        return invalid(format!("the disk serial {:?} does not have 1 to 20 characters", disk.serial));
    }
    if let Some(bytes) = spec.scratch_bytes.filter(|bytes| *bytes < LEAST_BYTES) {
        return invalid(format!("a scratch disk of {bytes} bytes is too small; ask for {LEAST_BYTES} or more"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
