//! The ledger against an oracle, and case by case.

use super::*;
use orrery_wire::host::{DiskSpec, InterfaceSpec, Owner};
use proptest::prelude::*;

const CAPACITY: Capacity = Capacity { cpu_milli: 4000, memory_bytes: 1000, machine_slots: 5 };

fn range() -> Ipv4Net {
    "10.244.0.0/28".parse().unwrap()
}

fn id(number: u8) -> MachineId {
    MachineId(uuid::Uuid::from_u128(u128::from(number)))
}

fn spec(number: u8, cpu_milli: u64, memory_bytes: u64, interfaces: usize) -> MachineSpec {
    let uid = id(number).to_string();
    MachineSpec {
        id: uid.clone(),
        name: format!("demo/pod-{number}"),
        owner: Owner::Pod { namespace: "demo".into(), name: format!("pod-{number}"), uid },
        pool: "demo".into(),
        namespace: "demo".into(),
        vcpus: 1,
        cpu_milli,
        memory_bytes,
        overhead_bytes: 10,
        disks: Vec::new(),
        scratch_bytes: None,
        interfaces: vec![InterfaceSpec { segment: POD_SEGMENT.into(), address: None }; interfaces],
    }
}

#[test]
fn each_kind_of_shortage_has_its_reason() {
    let mut ledger = Ledger::new(CAPACITY, range());
    ledger.admit(id(1), &spec(1, 1000, 500, 1)).unwrap();
    let mut outside = spec(2, 1, 1, 1);
    outside.interfaces[0].address = Some("10.9.9.9".into());
    let mut taken = spec(2, 1, 1, 1);
    taken.interfaces[0].address = Some("10.244.0.2".into());
    let mut elsewhere = spec(2, 1, 1, 1);
    elsewhere.interfaces[0].segment = "blue".into();
    let mut climbing = spec(2, 1, 1, 1);
    climbing.namespace = "..".into();
    let mut disk = spec(2, 1, 1, 1);
    disk.disks.push(DiskSpec { path: "relative".into(), serial: "root".into(), read_only: true });
    let mut many = spec(2, 1, 1, 1);
    many.disks = vec![DiskSpec { path: "/image".into(), serial: "root".into(), read_only: true }; 23];
    let table = [
        (many, reason::INVALID_SPEC),
        (spec(2, 1, 481, 1), reason::OUT_OF_MEMORY),
        (spec(2, 1, u64::MAX, 1), reason::OUT_OF_MEMORY),
        (spec(2, 3001, 1, 1), reason::OUT_OF_CPU),
        (outside, reason::OUT_OF_ADDRESSES),
        (taken, reason::OUT_OF_ADDRESSES),
        (elsewhere, reason::UNKNOWN_SEGMENT),
        (climbing, reason::INVALID_SPEC),
        (disk, reason::INVALID_SPEC),
    ];
    for (wanted, reason) in table {
        assert_eq!(ledger.admit(id(2), &wanted).unwrap_err().reason(), reason, "{wanted:?}");
    }
    assert_eq!(ledger.admit(id(1), &spec(1, 1001, 500, 1)).unwrap_err().reason(), reason::SPEC_CHANGED);
    assert_eq!(ledger.machines(), 1);
}

#[test]
fn a_machine_without_enough_addresses_keeps_none_of_them() {
    let mut ledger = Ledger::new(CAPACITY, "10.244.0.0/29".parse().unwrap());
    ledger.admit(id(1), &spec(1, 1, 1, 3)).unwrap();
    assert_eq!(ledger.admit(id(2), &spec(2, 1, 1, 3)).unwrap_err().reason(), reason::OUT_OF_ADDRESSES);
    assert_eq!(ledger.admit(id(3), &spec(3, 1, 1, 2)).unwrap().addresses.len(), 2);
}

#[test]
fn a_freed_address_is_given_again_only_after_all_others_also_across_a_restart() {
    let mut ledger = Ledger::new(CAPACITY, range());
    let first = ledger.admit(id(1), &spec(1, 1, 1, 1)).unwrap().addresses[0];
    assert_eq!(first.to_string(), "10.244.0.2", "the first is the gateway's");
    ledger.release(id(1));
    let mut given = vec![first];
    // A /28 has 13 addresses for machines.
    for number in 2..=13 {
        let mut restarted = Ledger::new(CAPACITY, range());
        restarted.resume_at(ledger.next_address());
        ledger = restarted;
        given.push(ledger.admit(id(number), &spec(number, 1, 1, 1)).unwrap().addresses[0]);
        ledger.release(id(number));
    }
    let distinct: BTreeSet<_> = given.iter().collect();
    assert_eq!(distinct.len(), 13, "{given:?}");
    assert_eq!(ledger.admit(id(14), &spec(14, 1, 1, 1)).unwrap().addresses, [first]);
}

#[test]
fn records_that_contradict_each_other_are_refused() {
    let mut ledger = Ledger::new(CAPACITY, range());
    let grant = |slot, last| Grant { slot, addresses: vec![Ipv4Addr::new(10, 244, 0, last)] };
    ledger.restore(id(1), &spec(1, 1, 1, 1), grant(0, 2)).unwrap();
    assert!(matches!(
        ledger.restore(id(2), &spec(2, 1, 1, 1), grant(0, 3)),
        Err(RestoreError::SlotTwice { slot: 0, .. })
    ));
    assert!(matches!(ledger.restore(id(2), &spec(2, 1, 1, 1), grant(1, 2)), Err(RestoreError::AddressTwice { .. })));
    ledger.restore(id(2), &spec(2, 1, 1, 1), grant(1, 3)).unwrap();
}

#[test]
fn a_host_that_became_smaller_keeps_its_machines_and_refuses_new_ones() {
    let small = Capacity { cpu_milli: 1, memory_bytes: 1, machine_slots: 1 };
    let mut ledger = Ledger::new(small, "10.250.0.0/29".parse().unwrap());
    let grant = Grant { slot: 9, addresses: vec![Ipv4Addr::new(10, 244, 0, 2)] };
    ledger.restore(id(1), &spec(1, 4000, 900, 1), grant.clone()).unwrap();
    assert_eq!(ledger.admit(id(1), &spec(1, 4000, 900, 1)), Ok(grant));
    assert_eq!(ledger.admit(id(2), &spec(2, 1, 1, 1)).unwrap_err().reason(), reason::OUT_OF_MEMORY);
    ledger.release(id(1));
    assert_eq!((ledger.used_cpu_milli(), ledger.used_memory_bytes(), ledger.machines()), (0, 0, 0));
}

#[derive(Debug, Clone)]
enum Operation {
    Admit {
        number: u8,
        cpu: u64,
        memory: u64,
        interfaces: usize,
    },
    Release {
        number: u8,
    },
    /// The agent restarts: the ledger is built again from what the machines were granted.
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0u8..8, 0u64..2500, 1u64..600, 0usize..4)
            .prop_map(|(number, cpu, memory, interfaces)| Operation::Admit { number, cpu, memory, interfaces }),
        2 => (0u8..8).prop_map(|number| Operation::Release { number }),
        1 => Just(Operation::Restart),
    ]
}

/// The oracle: who holds what, kept without any cleverness.
type Oracle = BTreeMap<u8, (MachineSpec, Grant)>;

fn check_against(oracle: &Oracle, ledger: &Ledger) {
    let cpu: u64 = oracle.values().map(|(spec, _)| spec.cpu_milli).sum();
    let memory: u64 = oracle.values().map(|(spec, _)| spec.memory_bytes + spec.overhead_bytes).sum();
    assert!(cpu <= CAPACITY.cpu_milli && memory <= CAPACITY.memory_bytes, "overcommitted: {cpu} {memory}");
    assert_eq!((ledger.used_cpu_milli(), ledger.used_memory_bytes()), (cpu, memory));
    assert_eq!(ledger.machines(), oracle.len());
    let slots: BTreeSet<u32> = oracle.values().map(|(_, grant)| grant.slot).collect();
    assert_eq!(slots.len(), oracle.len(), "a slot was given twice");
    assert!(slots.iter().all(|slot| *slot < CAPACITY.machine_slots));
    let addresses: Vec<Ipv4Addr> = oracle.values().flat_map(|(_, grant)| grant.addresses.clone()).collect();
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), addresses.len(), "an address was given twice");
    assert!(addresses.iter().all(|address| range().contains(address) && address.octets()[3] > 1));
}

fn fits(oracle: &Oracle, wanted: &MachineSpec) -> bool {
    let cpu: u64 = oracle.values().map(|(spec, _)| spec.cpu_milli).sum();
    let memory: u64 = oracle.values().map(|(spec, _)| spec.memory_bytes + spec.overhead_bytes).sum();
    let addresses: usize = oracle.values().map(|(_, grant)| grant.addresses.len()).sum();
    cpu + wanted.cpu_milli <= CAPACITY.cpu_milli
        && memory + wanted.memory_bytes + wanted.overhead_bytes <= CAPACITY.memory_bytes
        && oracle.len() < CAPACITY.machine_slots as usize
        && addresses + wanted.interfaces.len() <= 13
}

proptest! {
    #[test]
    fn the_ledger_agrees_with_a_simple_oracle(operations in prop::collection::vec(operation(), 1..60)) {
        let mut ledger = Ledger::new(CAPACITY, range());
        let mut oracle = Oracle::new();
        for operation in operations {
            match operation {
                Operation::Admit { number, cpu, memory, interfaces } => {
                    let wanted = spec(number, cpu, memory, interfaces);
                    let answer = ledger.admit(id(number), &wanted);
                    match oracle.get(&number) {
                        Some((held, grant)) if *held == wanted => prop_assert_eq!(answer, Ok(grant.clone())),
                        Some(_) => prop_assert_eq!(answer, Err(Refusal::SpecChanged(id(number)))),
                        None => {
                            prop_assert_eq!(answer.is_ok(), fits(&oracle, &wanted), "{:?}", answer);
                            oracle.extend(answer.ok().map(|grant| (number, (wanted, grant))));
                        }
                    }
                }
                Operation::Release { number } => {
                    ledger.release(id(number));
                    oracle.remove(&number);
                }
                Operation::Restart => {
                    let next = ledger.next_address();
                    ledger = Ledger::new(CAPACITY, range());
                    for (number, (spec, grant)) in &oracle {
                        ledger.restore(id(*number), spec, grant.clone()).unwrap();
                    }
                    ledger.resume_at(next);
                }
            }
            check_against(&oracle, &ledger);
        }
    }
}
