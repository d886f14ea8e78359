use super::*;
use proptest::prelude::*;

fn name(text: &str) -> HostName {
    HostName::new(text).unwrap()
}

fn host(cpu: u64, memory: u64, used_cpu: u64, used_memory: u64) -> Host {
    Host {
        cpu: MilliCpu(cpu),
        memory: Bytes(memory),
        used_cpu: MilliCpu(used_cpu),
        used_memory: Bytes(used_memory),
        machines: 0,
    }
}

fn snapshot(hosts: &[(&str, Host)]) -> Snapshot {
    Snapshot { hosts: hosts.iter().map(|(text, host)| (name(text), *host)).collect() }
}

fn request(cpu: u64, memory: u64, candidates: &[&str]) -> Request {
    Request { cpu: MilliCpu(cpu), memory: Bytes(memory), candidates: candidates.iter().map(|c| name(c)).collect() }
}

fn chosen(decisions: &[Decision]) -> Vec<Option<&str>> {
    decisions.iter().map(|decision| decision.host.as_ref().map(HostName::as_str)).collect()
}

#[test]
fn the_emptier_host_wins_and_a_tie_goes_by_machines_and_then_by_name() {
    let hosts = snapshot(&[("a", host(1000, 1000, 500, 500)), ("b", host(1000, 1000, 100, 100))]);
    assert_eq!(chosen(&plan(&hosts, &[request(100, 100, &["a", "b"])])), [Some("b")]);
    let equal = snapshot(&[("a", host(1000, 1000, 0, 0)), ("b", host(1000, 1000, 0, 0))]);
    let nothing = request(0, 0, &["a", "b"]);
    assert_eq!(chosen(&plan(&equal, &[nothing.clone(), nothing.clone(), nothing])), [Some("a"), Some("b"), Some("a")]);
}

#[test]
fn of_two_hosts_with_equal_room_the_one_that_stays_balanced_wins() {
    let hosts = snapshot(&[("a", host(1000, 1000, 400, 0)), ("b", host(1000, 1000, 0, 400))]);
    assert_eq!(chosen(&plan(&hosts, &[request(400, 0, &["a", "b"])])), [Some("b")]);
}

#[test]
fn a_batch_charges_each_placement_before_the_next() {
    let hosts = snapshot(&[("a", host(1000, 1000, 0, 0)), ("b", host(1000, 1000, 0, 0))]);
    let big = request(600, 600, &["a", "b"]);
    let decisions = plan(&hosts, &[big.clone(), big.clone(), big]);
    assert_eq!(chosen(&decisions), [Some("a"), Some("b"), None]);
    assert_eq!(decisions[2].reason(), "a: 600m CPU asked for, 400m left; b: 600m CPU asked for, 400m left");
}

#[test]
fn each_candidate_says_what_rejected_it() {
    let hosts = snapshot(&[("a", host(100, 1000, 0, 0)), ("b", host(1000, 100, 0, 0)), ("c", host(1000, 1000, 0, 0))]);
    let decision = plan(&hosts, &[request(500, 500, &["a", "b", "gone"])]).remove(0);
    assert_eq!(decision.host, None);
    assert_eq!(
        decision.candidates[&name("a")],
        Verdict::Rejected(Rejection::Cpu { asked: MilliCpu(500), free: MilliCpu(100) })
    );
    assert_eq!(
        decision.candidates[&name("b")],
        Verdict::Rejected(Rejection::Memory { asked: Bytes(500), free: Bytes(100) })
    );
    assert_eq!(decision.candidates[&name("gone")], Verdict::Rejected(Rejection::NotReady));
    assert_eq!(plan(&hosts, &[request(1, 1, &[])])[0].reason(), "no host passed the filters");
}

fn any_host() -> impl Strategy<Value = Host> {
    (0u64..4000, 0u64..4000, 0u64..5000, 0u64..5000).prop_map(|(c, m, uc, um)| host(c, m, uc, um))
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    prop::collection::btree_map("[a-e]", any_host(), 0..5)
        .prop_map(|hosts| Snapshot { hosts: hosts.into_iter().map(|(text, host)| (name(&text), host)).collect() })
}

fn any_requests() -> impl Strategy<Value = Vec<Request>> {
    let candidates = prop::collection::btree_set("[a-f]", 0..6);
    let one = (0u64..2000, 0u64..2000, candidates).prop_map(|(cpu, memory, candidates)| Request {
        cpu: MilliCpu(cpu),
        memory: Bytes(memory),
        candidates: candidates.iter().map(|text| name(text)).collect(),
    });
    prop::collection::vec(one, 0..12)
}

fn room(host: &Host, request: &Request) -> bool {
    host.used_cpu.0 + request.cpu.0 <= host.cpu.0.max(host.used_cpu.0)
        && host.used_memory.0 + request.memory.0 <= host.memory.0.max(host.used_memory.0)
}

proptest! {
    #[test]
    fn a_machine_is_placed_exactly_when_a_candidate_has_room_and_none_is_overcommitted(
        snapshot in any_snapshot(), requests in any_requests()
    ) {
        let decisions = plan(&snapshot, &requests);
        prop_assert_eq!(decisions.len(), requests.len());
        let mut hosts = snapshot.hosts;
        for (request, decision) in requests.iter().zip(&decisions) {
            let fits = |name: &HostName| hosts.get(name).is_some_and(|host| room(host, request));
            prop_assert_eq!(decision.host.is_some(), request.candidates.iter().any(fits));
            prop_assert!(decision.candidates.keys().eq(request.candidates.iter()));
            if let Some(name) = &decision.host {
                prop_assert!(request.candidates.contains(name) && fits(name));
                hosts.get_mut(name).unwrap().charge(request.cpu, request.memory);
            }
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer(snapshot in any_snapshot(), requests in any_requests()) {
        prop_assert_eq!(plan(&snapshot, &requests), plan(&snapshot, &requests));
    }

    #[test]
    fn no_candidate_scores_higher_than_the_chosen_one(snapshot in any_snapshot(), requests in any_requests()) {
        for decision in plan(&snapshot, &requests) {
            let Some(name) = &decision.host else { continue };
            let Verdict::Fits(best) = decision.candidates[name] else { panic!("the chosen host was rejected") };
            for verdict in decision.candidates.values() {
                if let Verdict::Fits(score) = verdict {
                    prop_assert!(*score <= best && best <= SCORE_MAX);
                }
            }
        }
    }
}
