//! The host's logic over a simulated world that can fail or crash at every step.

use super::{simulation::*, *};
use proptest::prelude::*;

#[tokio::test]
async fn an_admission_that_crashes_at_any_step_leaks_nothing_and_can_be_asked_for_again() {
    for fault in FAULTS {
        for step in 0.. {
            let simulation = Simulation::default();
            let host = start(&simulation).await;
            host.admit(id(1), &spec(1)).await.unwrap();
            simulation.inject(step, fault);
            let result = host.admit(id(2), &spec(2)).await;
            if simulation.fault_is_pending() {
                assert!(result.is_ok() && step > 5, "all steps were tried");
                break;
            }
            assert!(result.is_err(), "{fault:?} at {step} was not told");
            drop(host);
            let host = start(&simulation).await;
            check(&simulation, &host);
            let admission = host.admit(id(2), &spec(2)).await.unwrap();
            check(&simulation, &host);
            assert_eq!(host.admit(id(2), &spec(2)).await.unwrap(), admission, "the same again changes nothing");
            assert_eq!(host.usage().machines, 2);
        }
    }
}

#[tokio::test]
async fn a_release_that_crashes_at_any_step_is_finished_at_the_next_start_or_pass() {
    for fault in FAULTS {
        for restart in [false, true] {
            for step in 0.. {
                let simulation = Simulation::default();
                let mut host = start(&simulation).await;
                host.admit(id(1), &spec(1)).await.unwrap();
                host.admit(id(2), &spec(2)).await.unwrap();
                simulation.inject(step, fault);
                let result = host.release(id(2)).await;
                if simulation.fault_is_pending() {
                    assert!(result.is_ok() && step > 5, "all steps were tried");
                    break;
                }
                assert!(result.is_err(), "{fault:?} at {step} was not told");
                simulation.recover();
                if restart {
                    host = start(&simulation).await;
                    let recorded = step > 0 || matches!(fault, Fault::FailAfterDoing | Fault::CrashAfter);
                    assert_eq!(host.usage().machines, if recorded { 1 } else { 2 }, "a release is not forgotten");
                } else {
                    host.reconcile().await;
                }
                host.release(id(2)).await.unwrap();
                check(&simulation, &host);
                assert_eq!(host.usage(), Usage { machines: 1, cpu_milli: 100, memory_bytes: 1000 });
            }
        }
    }
}

#[tokio::test]
async fn a_start_that_crashes_at_any_step_is_made_good_by_the_next() {
    for step in 0.. {
        let simulation = Simulation::default();
        {
            let host = start(&simulation).await;
            host.admit(id(1), &spec(1)).await.unwrap();
            let mut simulated = simulation.0.lock().unwrap();
            // A reboot took everything but the disk; an earlier crash left a stranger's things.
            let intents = simulated.things.intents.clone();
            simulated.things = Things { intents, files: [id(1), id(9)].into(), ..Things::default() };
            simulated.things.taps.insert("o000000t7i0".into());
            simulated.things.runtimes.insert(id(9));
            simulated.things.shims.insert(id(9), 1);
            simulated.things.groups.insert(Group(settings().naming.machine_group(id(9), &spec(9))));
        }
        simulation.inject(step, Fault::CrashAfter);
        drop(Host::start(settings(), simulation.world()).await);
        let finished = simulation.fault_is_pending();
        let host = start(&simulation).await;
        check(&simulation, &host);
        if finished {
            assert!(step > 5, "all steps were tried");
            break;
        }
    }
}

#[tokio::test]
async fn a_shim_that_died_is_started_again_by_the_next_pass_and_a_living_one_is_left_alone() {
    let simulation = Simulation::default();
    let host = start(&simulation).await;
    host.admit(id(1), &spec(1)).await.unwrap();
    let before = simulation.0.lock().unwrap().steps;
    host.reconcile().await;
    assert_eq!(simulation.0.lock().unwrap().steps, before, "nothing was to be done");
    simulation.0.lock().unwrap().things.shims.clear();
    host.reconcile().await;
    check(&simulation, &host);
}

#[tokio::test]
async fn a_machine_that_is_being_released_is_not_admitted_again_before_it_is_gone() {
    let simulation = Simulation::default();
    let host = start(&simulation).await;
    host.admit(id(1), &spec(1)).await.unwrap();
    simulation.inject(1, Fault::Fail);
    host.release(id(1)).await.unwrap_err();
    assert!(matches!(host.admit(id(1), &spec(1)).await, Err(AdmitError::Releasing(_))));
    host.release(id(1)).await.unwrap();
    host.admit(id(1), &spec(1)).await.unwrap();
    check(&simulation, &host);
}

#[tokio::test]
async fn refused_machines_leave_no_trace() {
    let simulation = Simulation::default();
    let host = start(&simulation).await;
    for number in 1..=3 {
        host.admit(id(number), &spec(number)).await.unwrap();
    }
    let error = host.admit(id(4), &spec(4)).await.unwrap_err();
    assert!(matches!(error, AdmitError::Refused(Refusal::OutOfSlots(3))), "{error}");
    let mut other = spec(1);
    other.vcpus = 2;
    assert!(matches!(host.admit(id(1), &other).await, Err(AdmitError::Refused(Refusal::SpecChanged(_)))));
    check(&simulation, &host);
}

#[derive(Debug, Clone)]
enum Operation {
    Admit(u8),
    Release(u8),
    Fault(usize, Fault),
    Restart,
    Reconcile,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0u8..6).prop_map(Operation::Admit),
        3 => (0u8..6).prop_map(Operation::Release),
        2 => (0usize..12, prop::sample::select(FAULTS.to_vec()))
            .prop_map(|(step, fault)| Operation::Fault(step, fault)),
        1 => Just(Operation::Restart),
        1 => Just(Operation::Reconcile),
    ]
}

proptest! {
    #[test]
    fn whatever_happened_a_quiet_restart_makes_everything_right(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let simulation = Simulation::default();
            let mut host = start(&simulation).await;
            for operation in operations {
                match operation {
                    Operation::Admit(number) => drop(host.admit(id(number), &spec(number)).await),
                    Operation::Release(number) => drop(host.release(id(number)).await),
                    Operation::Fault(step, fault) => simulation.inject(step, fault),
                    Operation::Restart => host = start(&simulation).await,
                    Operation::Reconcile => host.reconcile().await,
                }
            }
            let host = start(&simulation).await;
            check(&simulation, &host);
        });
    }
}
