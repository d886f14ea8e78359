//! What the manager remembers of hosts between heartbeats, in memory only.
//!
//! A host's heartbeat tells how much its machines have reserved. What was placed since is added until the host shows one
//! machine more for it, or until it has had time enough to come: so two reviews in a row don't give the same room away
//! twice.

use orrery_api::{
    names::HostName,
    units::{Bytes, MilliCpu},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A host that was not heard of for so long is silent.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(20);
/// A placement that did not become a machine within this time is forgotten.
const PLACEMENT_EXPIRES: Duration = Duration::from_secs(30);

/// What a host's machines have reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu: MilliCpu,
    pub(crate) memory: Bytes,
    pub(crate) machines: u32,
}

#[derive(Debug)]
struct Member {
    heard: Instant,
    reported: Usage,
    /// Oldest first.
    recent: Vec<Recent>,
}

/// A machine that DRS gave to a host and that has not been seen there yet.
#[derive(Debug)]
struct Recent {
    uid: String,
    cpu: MilliCpu,
    memory: Bytes,
    at: Instant,
}

/// All hosts that were heard of since the manager started.
#[derive(Debug)]
pub(crate) struct Fleet {
    started: Instant,
    members: Mutex<BTreeMap<HostName, Member>>,
}

impl Fleet {
    /// Nobody was heard of yet; silence counts from `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self { started: now, members: Mutex::new(BTreeMap::new()) }
    }

    /// A sign of life of `host`.
    pub(crate) fn heard(&self, host: &HostName, reported: Usage, now: Instant) {
        let mut members = self.members();
        match members.get_mut(host) {
            Some(member) => {
                let arrived = reported.machines.saturating_sub(member.reported.machines);
                let arrived = usize::try_from(arrived).unwrap_or(usize::MAX).min(member.recent.len());
                member.recent.drain(..arrived);
                member.reported = reported;
                member.heard = now;
            }
            None => drop(members.insert(host.clone(), Member { heard: now, reported, recent: Vec::new() })),
        }
    }

    /// Whether `host` was not heard of for too long.
    pub(crate) fn is_silent(&self, host: &HostName, now: Instant) -> bool {
        let heard = self.members().get(host).map_or(self.started, |member| member.heard);
        now.duration_since(heard) >= SILENT_AFTER
    }

    /// DRS gave the machine `uid` to `host`. A former placement of it is void.
    pub(crate) fn placed(&self, host: &HostName, uid: &str, cpu: MilliCpu, memory: Bytes, now: Instant) {
        let mut members = self.members();
        for member in members.values_mut() {
            member.recent.retain(|recent| recent.uid != uid);
        }
        if let Some(member) = members.get_mut(host) {
            member.recent.push(Recent { uid: uid.to_owned(), cpu, memory, at: now });
        }
    }

    /// What is taken on `host`: what it reported, and what was placed since.
    pub(crate) fn usage(&self, host: &HostName, now: Instant) -> Usage {
        let mut members = self.members();
        let Some(member) = members.get_mut(host) else { return Usage::default() };
        member.recent.retain(|recent| now.duration_since(recent.at) < PLACEMENT_EXPIRES);
        member.recent.iter().fold(member.reported, |sum, recent| Usage {
            cpu: MilliCpu(sum.cpu.0.saturating_add(recent.cpu.0)),
            memory: Bytes(sum.memory.0.saturating_add(recent.memory.0)),
            machines: sum.machines.saturating_add(1),
        })
    }

    /// Forgets hosts that are no longer in the inventory.
    pub(crate) fn keep_only(&self, known: impl Fn(&HostName) -> bool) {
        self.members().retain(|host, _| known(host));
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<HostName, Member>> {
        // Nothing panics while the lock is held, and the map is whole at each step.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(cpu: u64, machines: u32) -> Usage {
        Usage { cpu: MilliCpu(cpu), memory: Bytes(cpu), machines }
    }

    #[tokio::test(start_paused = true)]
    async fn a_placement_counts_until_its_machine_is_seen_or_it_expires() {
        let (start, host) = (Instant::now(), HostName::new("host-1").unwrap());
        let fleet = Fleet::new(start);
        fleet.heard(&host, usage(100, 1), start);
        fleet.placed(&host, "a", MilliCpu(50), Bytes(50), start);
        fleet.placed(&host, "b", MilliCpu(70), Bytes(70), start);
        assert_eq!(fleet.usage(&host, start), usage(220, 3));
        fleet.heard(&host, usage(150, 2), start);
        assert_eq!(fleet.usage(&host, start), usage(220, 3), "the first has come, the second has not");
        assert_eq!(fleet.usage(&host, start + PLACEMENT_EXPIRES), usage(150, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_is_placed_again_counts_once() {
        let (start, first, second) =
            (Instant::now(), HostName::new("host-1").unwrap(), HostName::new("host-2").unwrap());
        let fleet = Fleet::new(start);
        fleet.heard(&first, Usage::default(), start);
        fleet.heard(&second, Usage::default(), start);
        fleet.placed(&first, "a", MilliCpu(50), Bytes(50), start);
        fleet.placed(&second, "a", MilliCpu(50), Bytes(50), start);
        assert_eq!((fleet.usage(&first, start), fleet.usage(&second, start)), (Usage::default(), usage(50, 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_last_heartbeat_or_from_the_managers_start() {
        let (start, host) = (Instant::now(), HostName::new("host-1").unwrap());
        let fleet = Fleet::new(start);
        assert!(!fleet.is_silent(&host, start + SILENT_AFTER - Duration::from_millis(1)));
        assert!(fleet.is_silent(&host, start + SILENT_AFTER));
        fleet.heard(&host, Usage::default(), start + SILENT_AFTER);
        assert!(!fleet.is_silent(&host, start + SILENT_AFTER));
    }
}
