//! Which host shall each pod of a batch get?
//!
//! Requests are placed in their order, each being charged before the next is looked at. Among the candidates with room
//! the one with the highest score wins; the score is high where much is left of CPU and memory, and in like parts.

use orrery_api::{
    names::HostName,
    units::{Bytes, MilliCpu},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A whole, in the parts in which scores are counted.
pub const SCORE_MAX: u32 = 10_000;

/// What is known of the hosts. Hosts that are not ready are left out by whoever takes the snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The hosts by name.
    pub hosts: BTreeMap<HostName, Host>,
}

/// A host's room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Host {
    /// CPU that machines may use.
    pub cpu: MilliCpu,
    /// Memory that machines may use.
    pub memory: Bytes,
    /// CPU that its machines have.
    pub used_cpu: MilliCpu,
    /// Memory that its machines have.
    pub used_memory: Bytes,
    /// How many machines it holds: the fewer, the better, when scores are equal.
    pub machines: u32,
}

/// A machine that wants a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// CPU, overhead included.
    pub cpu: MilliCpu,
    /// Memory, overhead included.
    pub memory: Bytes,
    /// The hosts that the filters let through.
    pub candidates: BTreeSet<HostName>,
}

/// The answer for one request, with all that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The host, or none when every candidate was rejected.
    pub host: Option<HostName>,
    /// Every candidate of the request.
    pub candidates: BTreeMap<HostName, Verdict>,
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has room; 0 to [`SCORE_MAX`], the higher the better.
    Fits(u32),
    /// It cannot take the machine.
    Rejected(Rejection),
}

/// Why a candidate cannot take a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// DRS does not know the host, or it is not ready.
    NotReady,
    /// Too little CPU is left.
    Cpu {
        /// What is asked for.
        asked: MilliCpu,
        /// What is left.
        free: MilliCpu,
    },
    /// Too little memory is left.
    Memory {
        /// What is asked for.
        asked: Bytes,
        /// What is left.
        free: Bytes,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => f.write_str("the host is not ready"),
            Self::Cpu { asked, free } => {
                write!(f, "{} CPU asked for, {} left", asked.to_quantity(), free.to_quantity())
            }
            Self::Memory { asked, free } => {
                write!(f, "{} memory asked for, {} left", asked.to_quantity(), free.to_quantity())
            }
        }
    }
}

impl Decision {
    /// Why this host, or why none, in one line.
    #[must_use]
    pub fn reason(&self) -> String {
        if let Some(host) = &self.host {
            let fitting = self.candidates.values().filter(|verdict| matches!(verdict, Verdict::Fits(_))).count();
            let score = match self.candidates.get(host) {
                Some(Verdict::Fits(score)) => *score,
                Some(Verdict::Rejected(_)) | None => 0,
            };
            return format!("most room of {fitting} hosts that fit: score {score} of {SCORE_MAX}");
        }
        let rejected: Vec<String> = self
            .candidates
            .iter()
            .filter_map(|(host, verdict)| match verdict {
                Verdict::Fits(_) => None,
                Verdict::Rejected(why) => Some(format!("{host}: {why}")),
            })
            .collect();
        if rejected.is_empty() { "no host passed the filters".to_owned() } else { rejected.join("; ") }
    }
}

/// Places `requests`, one after the other. One decision for each, in their order.
#[must_use]
pub fn plan(snapshot: &Snapshot, requests: &[Request]) -> Vec<Decision> {
    let mut hosts = snapshot.hosts.clone();
    requests.iter().map(|request| decide(&mut hosts, request)).collect()
}

fn decide(hosts: &mut BTreeMap<HostName, Host>, request: &Request) -> Decision {
    let candidates: BTreeMap<HostName, Verdict> =
        request.candidates.iter().map(|name| (name.clone(), judge(hosts.get(name), request))).collect();
    let best = candidates
        .iter()
        .filter_map(|(name, verdict)| match verdict {
            Verdict::Fits(score) => Some((score, Reverse(hosts.get(name)?.machines), Reverse(name))),
            Verdict::Rejected(_) => None,
        })
        .max()
        .map(|(_, _, Reverse(name))| name.clone());
    if let Some(host) = best.as_ref().and_then(|name| hosts.get_mut(name)) {
        host.charge(request.cpu, request.memory);
    }
    Decision { host: best, candidates }
}

impl Host {
    /// Counts one more machine.
    pub fn charge(&mut self, cpu: MilliCpu, memory: Bytes) {
        self.used_cpu.0 = self.used_cpu.0.saturating_add(cpu.0);
        self.used_memory.0 = self.used_memory.0.saturating_add(memory.0);
        self.machines = self.machines.saturating_add(1);
    }

    fn free_cpu(&self) -> MilliCpu {
        MilliCpu(self.cpu.0.saturating_sub(self.used_cpu.0))
    }

    fn free_memory(&self) -> Bytes {
        Bytes(self.memory.0.saturating_sub(self.used_memory.0))
    }
}

fn judge(host: Option<&Host>, request: &Request) -> Verdict {
    let Some(host) = host else { return Verdict::Rejected(Rejection::NotReady) };
    let (free_cpu, free_memory) = (host.free_cpu(), host.free_memory());
    if request.cpu > free_cpu {
        return Verdict::Rejected(Rejection::Cpu { asked: request.cpu, free: free_cpu });
    }
    if request.memory > free_memory {
        return Verdict::Rejected(Rejection::Memory { asked: request.memory, free: free_memory });
    }
    let cpu = part(free_cpu.0 - request.cpu.0, host.cpu.0);
    let memory = part(free_memory.0 - request.memory.0, host.memory.0);
    Verdict::Fits(score(cpu, memory))
}

/// Three parts for what is left on average, one part for how alike both are: a lopsided host would soon be full in one
/// and of no use in the other.
fn score(free_cpu: u32, free_memory: u32) -> u32 {
    let left = u32::midpoint(free_cpu, free_memory);
    let balance = SCORE_MAX - free_cpu.abs_diff(free_memory);
    (3 * left + balance) / 4
}

/// `amount` of `whole` in parts of [`SCORE_MAX`]; nothing of nothing.
fn part(amount: u64, whole: u64) -> u32 {
    if whole == 0 {
        return 0;
    }
    let scaled = u128::from(amount.min(whole)) * u128::from(SCORE_MAX) / u128::from(whole);
    u32::try_from(scaled).expect("at most SCORE_MAX")
}

#[cfg(test)]
mod tests;
