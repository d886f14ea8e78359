//! Warm machines over the simulated world.

use super::{simulation::*, warm::WarmRules, *};
use crate::config::GuestSize;
use orrery_wire::host::InterfaceSpec;
use proptest::prelude::*;
use std::time::Duration;

fn rules(most: usize) -> WarmRules {
    WarmRules {
        always: vec![("demo".into(), GuestSize { memory_bytes: 900, vcpus: 1 })],
        most,
        memory_bytes: u64::MAX,
        max_age: Duration::from_secs(3600),
        rehearsal: "/rehearsal.erofs".into(),
    }
}

/// Room for three machines and little more, warm ones among them.
async fn start_warm(simulation: &Simulation, rules: WarmRules) -> Host {
    let overhead = crate::templates::OVERHEAD;
    let capacity = Capacity { cpu_milli: 4000, memory_bytes: 3 * (900 + overhead), machine_slots: 3 };
    start_with(simulation, Settings { capacity, warm: Some(rules), ..settings() }).await
}

async fn keep_warm(host: &Host) {
    let warmth = host.warmth.as_ref().unwrap();
    host.let_go(warmth).await;
    while host.warm_next(warmth).await {}
}

/// A machine that may go on from a warm one.
fn single(number: u8) -> MachineSpec {
    let interfaces = vec![InterfaceSpec { segment: "pods".into(), address: None }];
    MachineSpec { interfaces, ..spec(number) }
}

fn warm_place(simulation: &Simulation) -> Option<MachineId> {
    simulation.things().warm.first().copied()
}

#[tokio::test]
async fn a_machine_takes_the_place_of_a_warm_one_and_another_is_made() {
    let simulation = Simulation::default();
    let host = start_warm(&simulation, rules(1)).await;
    keep_warm(&host).await;
    check(&simulation, &host);
    assert_eq!((host.usage().machines, host.held().len(), host.list().await.len()), (0, 0, 0), "nobody is told");
    let place = warm_place(&simulation).unwrap();
    let interfaces = simulation.things().intents[&place].admission.interfaces.clone();
    let admission = host.admit(id(1), &single(1)).await.unwrap();
    assert_eq!(admission.interfaces, interfaces, "its tap and its address are used");
    assert!(admission.shim_socket.contains(&place.to_string()));
    assert_eq!(host.admit(id(1), &single(1)).await.unwrap(), admission);
    check(&simulation, &host);
    assert_eq!(host.usage(), Usage { machines: 1, cpu_milli: 100, memory_bytes: 1000 });
    keep_warm(&host).await;
    assert!(warm_place(&simulation).is_some_and(|next| next != place));
    host.release(id(1)).await.unwrap();
    check(&simulation, &host);
    assert!(!simulation.things().files.contains(&place));
}

#[tokio::test]
async fn a_claim_that_crashes_at_any_step_leaks_nothing_and_can_be_asked_for_again() {
    for fault in FAULTS {
        for step in 0.. {
            let simulation = Simulation::default();
            let host = start_warm(&simulation, rules(1)).await;
            keep_warm(&host).await;
            simulation.inject(step, fault);
            let result = host.admit(id(1), &single(1)).await;
            if simulation.fault_is_pending() {
                assert!(result.is_ok() && step > 3, "all steps were tried");
                break;
            }
            drop(host);
            let host = start_warm(&simulation, rules(1)).await;
            check(&simulation, &host);
            assert_eq!(warm_place(&simulation), None, "what was warm ended with its agent");
            assert!(result.is_err() || host.usage().machines == 1, "{fault:?} at {step}: an admitted machine is lost");
            host.admit(id(1), &single(1)).await.unwrap();
            check(&simulation, &host);
            assert_eq!(host.usage().machines, 1);
        }
    }
}

#[tokio::test]
async fn a_warming_that_crashes_at_any_step_leaks_nothing() {
    for fault in FAULTS {
        for step in 0.. {
            let simulation = Simulation::default();
            let host = start_warm(&simulation, rules(1)).await;
            simulation.inject(step, fault);
            keep_warm(&host).await;
            if simulation.fault_is_pending() {
                assert!(step > 4, "all steps were tried");
                break;
            }
            drop(host);
            let host = start_warm(&simulation, rules(1)).await;
            check(&simulation, &host);
            assert_eq!(simulation.things().intents, BTreeMap::new());
        }
    }
}

#[tokio::test]
async fn warm_machines_give_way_to_those_that_are_asked_for() {
    let simulation = Simulation::default();
    let host = start_warm(&simulation, rules(3)).await;
    keep_warm(&host).await;
    assert_eq!(simulation.things().warm.len(), 3, "they have every slot");
    // Two interfaces: no warm machine can become this one.
    host.admit(id(1), &spec(1)).await.unwrap();
    assert_eq!(simulation.things().warm.len(), 2);
    host.admit(id(2), &single(2)).await.unwrap();
    host.admit(id(3), &single(3)).await.unwrap();
    assert_eq!(simulation.things().warm.len(), 0);
    assert!(matches!(host.admit(id(4), &single(4)).await, Err(AdmitError::Refused(Refusal::OutOfSlots(3)))));
    check(&simulation, &host);
}

#[tokio::test]
async fn a_machine_that_does_not_fit_anyhow_leaves_warm_ones_alone() {
    let simulation = Simulation::default();
    let host = start_warm(&simulation, rules(3)).await;
    keep_warm(&host).await;
    let warm = simulation.things().warm;
    let too_large = MachineSpec { memory_bytes: u64::MAX, ..spec(1) };
    let error = host.admit(id(1), &too_large).await.unwrap_err();
    assert!(matches!(error, AdmitError::Refused(Refusal::OutOfMemory { .. })), "{error}");
    assert_eq!(simulation.things().warm, warm);
    check(&simulation, &host);
}

#[tokio::test]
async fn a_warm_machine_that_died_or_nobody_wants_is_taken_away() {
    let simulation = Simulation::default();
    let host = start_warm(&simulation, rules(1)).await;
    keep_warm(&host).await;
    let place = warm_place(&simulation).unwrap();
    {
        let mut simulated = simulation.0.lock().unwrap();
        simulated.things.shims.clear();
        simulated.things.warm.clear();
    }
    host.reconcile().await;
    check(&simulation, &host);
    assert!(simulation.things().intents.is_empty());
    keep_warm(&host).await;
    assert_ne!(warm_place(&simulation), Some(place));
    drop(host);
    let old = WarmRules { max_age: Duration::ZERO, ..rules(1) };
    let host = start_warm(&simulation, old).await;
    keep_warm(&host).await;
    let first = warm_place(&simulation);
    keep_warm(&host).await;
    assert_ne!(warm_place(&simulation), first, "it is too old");
    check(&simulation, &host);
}

#[derive(Debug, Clone)]
enum Operation {
    Admit(u8, bool),
    Release(u8),
    KeepWarm,
    Fault(usize, Fault),
    Restart,
    Reconcile,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0u8..6, any::<bool>()).prop_map(|(number, warm)| Operation::Admit(number, warm)),
        3 => (0u8..6).prop_map(Operation::Release),
        3 => Just(Operation::KeepWarm),
        2 => (0usize..12, prop::sample::select(FAULTS.to_vec()))
            .prop_map(|(step, fault)| Operation::Fault(step, fault)),
        1 => Just(Operation::Restart),
        1 => Just(Operation::Reconcile),
    ]
}

proptest! {
    #[test]
    fn whatever_happened_with_warm_machines_a_quiet_restart_makes_everything_right(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let simulation = Simulation::default();
            let mut host = start_warm(&simulation, rules(2)).await;
            for operation in operations {
                match operation {
                    Operation::Admit(number, true) => drop(host.admit(id(number), &single(number)).await),
                    Operation::Admit(number, false) => drop(host.admit(id(number), &spec(number)).await),
                    Operation::Release(number) => drop(host.release(id(number)).await),
                    Operation::KeepWarm => keep_warm(&host).await,
                    Operation::Fault(step, fault) => simulation.inject(step, fault),
                    Operation::Restart => host = start_warm(&simulation, rules(2)).await,
                    Operation::Reconcile => host.reconcile().await,
                }
            }
            let host = start_warm(&simulation, rules(2)).await;
            check(&simulation, &host);
        });
    }
}
