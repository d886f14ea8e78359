//! The addresses of a host's machines. Pure.
//!
//! Addresses are given in the order of the range, each after the last one given, around and around: an address that was
//! just freed is given again only when the whole range has been through, so that nobody talks to a successor by
//! mistake.

use ipnet::Ipv4Net;
use orrery_api::names::MachineId;
use std::{collections::BTreeMap, net::Ipv4Addr};

/// Which addresses are whose.
#[derive(Debug, Clone)]
pub(crate) struct AddressPool {
    range: Ipv4Net,
    /// Offset in the range of the address that is tried first.
    next: u32,
    taken: BTreeMap<Ipv4Addr, MachineId>,
}

impl AddressPool {
    pub(crate) fn new(range: Ipv4Net) -> Self {
        Self { range: range.trunc(), next: 0, taken: BTreeMap::new() }
    }

    /// Where the next search begins, to be remembered.
    pub(crate) fn next_address(&self) -> Ipv4Addr {
        self.at(self.next)
    }

    /// Goes on where an earlier pool was. An address of another range is of no use and is ignored.
    pub(crate) fn resume_at(&mut self, next: Ipv4Addr) {
        if self.range.contains(&next) {
            self.next = u32::from(next) - u32::from(self.range.network());
        }
    }

    pub(crate) fn range(&self) -> Ipv4Net {
        self.range
    }

    /// Whose `address` is.
    pub(crate) fn owner(&self, address: Ipv4Addr) -> Option<MachineId> {
        self.taken.get(&address).copied()
    }

    /// Whether machines may have `address`: not the network's own, the gateway's or the broadcast address.
    pub(crate) fn is_usable(&self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.range.network()));
        self.range.contains(&address) && offset > 1 && address != self.range.broadcast()
    }

    /// The next free address, or none when all are taken.
    pub(crate) fn take(&mut self, id: MachineId) -> Option<Ipv4Addr> {
        let size = self.size();
        let offset = (0..size)
            .map(|step| (self.next + step) % size)
            .find(|offset| self.is_usable(self.at(*offset)) && !self.taken.contains_key(&self.at(*offset)))?;
        self.next = (offset + 1) % size;
        let address = self.at(offset);
        self.taken.insert(address, id);
        Some(address)
    }

    /// Marks an address that somebody else chose, even outside the range. The caller has looked that nobody has it.
    pub(crate) fn mark(&mut self, address: Ipv4Addr, id: MachineId) {
        self.taken.insert(address, id);
    }

    /// Frees all addresses of a machine.
    pub(crate) fn release(&mut self, id: MachineId) {
        self.taken.retain(|_, owner| *owner != id);
    }

    fn size(&self) -> u32 {
        1 << (32 - u32::from(self.range.prefix_len()))
    }

    fn at(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.range.network()) + offset)
    }
}
