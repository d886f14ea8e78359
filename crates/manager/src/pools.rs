//! Whether what resource pools reserve can be had.
//!
//! A pool takes its reservation from what its parent has reserved and not yet given away; when that is too little and the
//! parent is expandable, from the parent's parent, and so on up to the cluster, whose room is that of its ready hosts. Pools are
//! looked at from the cluster down and by their names: the same pools always get the same answer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use orrery_api::{
    condition::{condition, is_true, set_condition},
    inventory::{Host, ResourcePool, ResourcePoolStatus},
};
use std::collections::BTreeMap;

/// CPU (thousandths of a core) and memory (bytes).
type Amounts = [u64; 2];
/// Why a pool is not admitted: a word and a sentence.
type Verdict = Result<(), (&'static str, String)>;

/// The statuses that pools should have, by name.
pub(crate) fn statuses(pools: &[ResourcePool], hosts: &[Host], now: &Time) -> BTreeMap<String, ResourcePoolStatus> {
    let mut books = Books::open(pools, hosts);
    let mut statuses = BTreeMap::new();
    let mut left: BTreeMap<&str, &ResourcePool> = pools.iter().map(|pool| (name(pool), pool)).collect();
    loop {
        let ready = left.iter().find(|(_, pool)| !pool.spec.parent.as_deref().is_some_and(|p| left.contains_key(p)));
        let Some((name, pool)) = ready.map(|(name, pool)| (*name, *pool)) else { break };
        left.remove(name);
        statuses.insert(name.to_owned(), (pool, books.admit(pool)));
    }
    for (name, pool) in left {
        let why = "The pools that it is part of are part of each other; give one of them another parent";
        statuses.insert(name.to_owned(), (pool, Err(("Circle", why.to_owned()))));
    }
    let status = |(name, (pool, admitted)): (String, (&ResourcePool, Verdict))| {
        let [unreserved_cpu_milli, unreserved_memory_bytes] = books.unreserved.get(&name).copied().unwrap_or_default();
        let conditions = pool.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let mut status = ResourcePoolStatus { conditions, unreserved_cpu_milli, unreserved_memory_bytes };
        set_condition(&mut status.conditions, told(&admitted, now.clone()));
        (name, status)
    };
    statuses.into_iter().map(status).collect()
}

fn told(admitted: &Verdict, now: Time) -> Condition {
    match admitted {
        Ok(()) => condition("Admitted", true, "Reserved", "What it reserves can be had", now),
        Err((reason, message)) => condition("Admitted", false, reason, message, now),
    }
}

fn name(pool: &ResourcePool) -> &str {
    pool.metadata.name.as_deref().unwrap_or_default()
}

/// Who has how much left to give.
struct Books<'a> {
    pools: BTreeMap<&'a str, &'a ResourcePool>,
    clusters: BTreeMap<&'a str, Amounts>,
    /// Of admitted pools.
    unreserved: BTreeMap<String, Amounts>,
}

impl<'a> Books<'a> {
    fn open(pools: &'a [ResourcePool], hosts: &'a [Host]) -> Self {
        let mut clusters: BTreeMap<&str, Amounts> = BTreeMap::new();
        for host in hosts {
            let status = host.status.as_ref().filter(|status| is_true(&status.conditions, "Ready"));
            let Some(facts) = status.and_then(|status| status.facts.as_ref()) else { continue };
            let room = clusters.entry(&host.spec.cluster).or_default();
            room[0] = room[0].saturating_add(facts.cpu_milli.0);
            room[1] = room[1].saturating_add(facts.memory_bytes.0);
        }
        Self { pools: pools.iter().map(|pool| (name(pool), pool)).collect(), clusters, unreserved: BTreeMap::new() }
    }

    /// Takes a pool's reservation from who has it; else tells why it cannot be had.
    fn admit(&mut self, pool: &ResourcePool) -> Verdict {
        let mut givers = Vec::new();
        let mut at = pool.spec.parent.as_deref();
        let wanted = [pool.spec.cpu.reservation, pool.spec.memory.reservation];
        // For each resource: whether the next one above may be asked, too.
        let mut reaches = [true, true];
        while let Some(parent) = at {
            let Some(found) = self.pools.get(parent).filter(|found| found.spec.cluster == pool.spec.cluster) else {
                return Err(("NoParent", format!("There is no pool {parent} in the cluster {}", pool.spec.cluster)));
            };
            if !self.unreserved.contains_key(parent) {
                return Err(("ParentNotAdmitted", format!("The pool {parent} that it is part of is not admitted")));
            }
            givers.push((Some(parent.to_owned()), reaches));
            reaches[0] &= found.spec.cpu.expandable_reservation;
            reaches[1] &= found.spec.memory.expandable_reservation;
            at = found.spec.parent.as_deref();
        }
        givers.push((None, reaches));
        for (resource, what) in [(0, "CPU"), (1, "memory")] {
            let reached = givers.iter().filter(|(_, reaches)| reaches[resource]);
            let room: u64 = reached.map(|(giver, _)| self.left(giver.as_deref(), pool)[resource]).sum();
            if room < wanted[resource] {
                let unit = if resource == 0 { "thousandths of a core" } else { "bytes" };
                let why = format!(
                    "It reserves {} {unit} of {what}, and {room} are left; reserve less, or make the parent's reservation \
                     larger or expandable",
                    wanted[resource]
                );
                return Err(("TooLittle", why));
            }
        }
        for (resource, wanted) in wanted.into_iter().enumerate() {
            let mut missing = wanted;
            for (giver, _) in givers.iter().filter(|(_, reaches)| reaches[resource]) {
                let given = self.left(giver.as_deref(), pool)[resource].min(missing);
                missing -= given;
                self.take(giver.as_deref(), pool, resource, given);
            }
        }
        self.unreserved.insert(name(pool).to_owned(), wanted);
        Ok(())
    }

    /// What a pool, or the cluster when none is named, has left.
    fn left(&self, giver: Option<&str>, pool: &ResourcePool) -> Amounts {
        match giver {
            Some(giver) => self.unreserved.get(giver),
            None => self.clusters.get(pool.spec.cluster.as_str()),
        }
        .copied()
        .unwrap_or_default()
    }

    fn take(&mut self, giver: Option<&str>, pool: &ResourcePool, resource: usize, amount: u64) {
        let left = match giver {
            Some(giver) => self.unreserved.get_mut(giver),
            None => self.clusters.get_mut(pool.spec.cluster.as_str()),
        };
        if let Some(left) = left {
            left[resource] = left[resource].saturating_sub(amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;
    use orrery_api::{
        inventory::{Allocation, HostFacts, HostSpec, HostStatus, ResourcePoolSpec},
        units::{Bytes, MilliCpu},
    };

    fn now() -> Time {
        Time(Timestamp::from_second(1).unwrap())
    }

    fn host(cpu: u64) -> Host {
        let mut host = Host::new("h", HostSpec { cluster: "c".into() });
        host.status = Some(HostStatus {
            conditions: vec![condition("Ready", true, "Test", "", now())],
            facts: Some(HostFacts { cpu_milli: MilliCpu(cpu), memory_bytes: Bytes(1000), ..HostFacts::default() }),
            ..HostStatus::default()
        });
        host
    }

    fn pool(name: &str, parent: Option<&str>, cpu: u64, expandable: bool) -> ResourcePool {
        let cpu = Allocation { reservation: cpu, expandable_reservation: expandable, ..Allocation::default() };
        let parent = parent.map(str::to_owned);
        ResourcePool::new(name, ResourcePoolSpec { cluster: "c".into(), parent, cpu, ..ResourcePoolSpec::default() })
    }

    /// The reason of each pool's condition, and its unreserved CPU.
    fn outcome(pools: &[ResourcePool], cpu: u64) -> Vec<(String, u64)> {
        let statuses = statuses(pools, &[host(cpu)], &now());
        statuses.into_values().map(|s| (s.conditions[0].reason.clone(), s.unreserved_cpu_milli)).collect()
    }

    #[test]
    fn pools_take_from_their_parents_and_these_from_theirs_if_they_are_expandable() {
        let so = |reason: &str, left| (reason.to_owned(), left);
        let tree = |expandable| {
            [pool("a", None, 100, expandable), pool("a1", Some("a"), 60, false), pool("a2", Some("a"), 60, false)]
        };
        assert_eq!(outcome(&tree(false), 1000), [so("Reserved", 40), so("Reserved", 60), so("TooLittle", 0)]);
        assert_eq!(outcome(&tree(true), 1000), [so("Reserved", 0), so("Reserved", 60), so("Reserved", 60)]);
        assert_eq!(outcome(&tree(true), 110), [so("Reserved", 40), so("Reserved", 60), so("TooLittle", 0)]);
        assert_eq!(
            outcome(&tree(true), 99),
            [so("TooLittle", 0), so("ParentNotAdmitted", 0), so("ParentNotAdmitted", 0)]
        );
    }

    #[test]
    fn what_stands_nowhere_is_told() {
        let orphan = pool("a", Some("x"), 0, false);
        let mut elsewhere = pool("b", Some("root"), 0, false);
        elsewhere.spec.cluster = "d".into();
        let root = pool("root", None, 0, false);
        let reasons: Vec<String> =
            outcome(&[orphan, elsewhere, root], 10).into_iter().map(|(reason, _)| reason).collect();
        assert_eq!(reasons, ["NoParent", "NoParent", "Reserved"]);
        let circle = [pool("a", Some("b"), 0, false), pool("b", Some("a"), 0, false)];
        assert!(outcome(&circle, 10).iter().all(|(reason, _)| reason == "Circle"));
    }
}
