//! What a pod asks for and what a node has.

use orrery_api::units::{Bytes, MilliCpu};
use std::collections::BTreeMap;

/// Amounts of resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    /// CPU.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
    /// Everything else by its name, in whole units (`ephemeral-storage` in bytes, `example.com/card` in pieces).
    pub other: BTreeMap<String, u64>,
}

impl Amounts {
    /// Only CPU and memory.
    #[must_use]
    pub fn new(cpu: MilliCpu, memory: Bytes) -> Self {
        Self { cpu, memory, other: BTreeMap::new() }
    }

    /// Adds `more`; stops at the largest number instead of wrapping.
    pub fn add(&mut self, more: &Self) {
        self.cpu.0 = self.cpu.0.saturating_add(more.cpu.0);
        self.memory.0 = self.memory.0.saturating_add(more.memory.0);
        for (name, amount) in &more.other {
            let sum = self.other.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Takes the larger amount of each resource.
    pub fn raise_to(&mut self, floor: &Self) {
        self.cpu = self.cpu.max(floor.cpu);
        self.memory = self.memory.max(floor.memory);
        for (name, amount) in &floor.other {
            let present = self.other.entry(name.clone()).or_default();
            *present = (*present).max(*amount);
        }
    }
}

/// An init container's requests and whether it keeps running (`restartPolicy: Always`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitRequests {
    /// What it asks for.
    pub requests: Amounts,
    /// Whether it runs beside everything that starts after it.
    pub keeps_running: bool,
}

/// What a pod needs at its hungriest moment
/// (<https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers>):
/// init containers run one after another, each beside those before it that keep running; the containers run together,
/// beside all init containers that keep running. The larger counts, for each resource by itself. Overhead comes on top.
#[must_use]
pub fn effective_requests(containers: &[Amounts], init: &[InitRequests], overhead: &Amounts) -> Amounts {
    let mut running_init = Amounts::default();
    let mut peak_of_init = Amounts::default();
    for container in init {
        if container.keeps_running {
            running_init.add(&container.requests);
            peak_of_init.raise_to(&running_init);
        } else {
            let mut moment = running_init.clone();
            moment.add(&container.requests);
            peak_of_init.raise_to(&moment);
        }
    }
    let mut total = running_init;
    for container in containers {
        total.add(container);
    }
    total.raise_to(&peak_of_init);
    total.add(overhead);
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(milli: u64) -> Amounts {
        Amounts::new(MilliCpu(milli), Bytes(0))
    }

    fn init(milli: u64, keeps_running: bool) -> InitRequests {
        InitRequests { requests: cpu(milli), keeps_running }
    }

    #[test]
    fn a_pod_asks_for_the_larger_of_its_init_containers_and_its_containers_plus_overhead() {
        let table: [(&[u64], Vec<InitRequests>, u64, u64); 6] = [
            (&[100, 200], vec![], 0, 300),
            (&[100, 200], vec![init(250, false), init(50, false)], 0, 300),
            (&[100, 200], vec![init(500, false), init(400, false)], 10, 510),
            (&[100], vec![init(50, true)], 0, 150),
            (&[100], vec![init(50, true), init(300, false)], 0, 350),
            (&[100], vec![init(300, false), init(50, true)], 0, 300),
        ];
        for (containers, init, overhead, expected) in table {
            let containers: Vec<Amounts> = containers.iter().map(|milli| cpu(*milli)).collect();
            let total = effective_requests(&containers, &init, &cpu(overhead));
            assert_eq!(total.cpu, MilliCpu(expected), "{containers:?} {init:?} {overhead}");
        }
    }

    #[test]
    fn each_resource_counts_by_itself() {
        let containers = [Amounts::new(MilliCpu(100), Bytes(1000))];
        let init = [InitRequests { requests: Amounts::new(MilliCpu(500), Bytes(10)), keeps_running: false }];
        let total = effective_requests(&containers, &init, &Amounts::default());
        assert_eq!(total, Amounts::new(MilliCpu(500), Bytes(1000)));
    }
}
