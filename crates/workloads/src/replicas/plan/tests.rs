//! Tables, and a world in which pods come, fall ill and go while the plan is carried out.

use super::*;
use orrery_reconcile::{ObjectKey, Uid, objects::Phase};
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn set(replicas: i32) -> ReplicaSet {
    let mut set = ReplicaSet { replicas, counts_terminating: true, ..ReplicaSet::default() };
    set.meta.generation = 3;
    set.template_labels = [("app".to_owned(), "web".to_owned())].into();
    set
}

fn pod(name: &str, phase: Phase, ready: bool) -> Pod {
    let mut pod = Pod { phase, ready, ready_since: Some(at(0)), node: Some("n".into()), ..Pod::default() };
    pod.meta.key = ObjectKey::new("demo", name);
    pod.meta.uid = Uid(name.into());
    pod.meta.labels = [("app".to_owned(), "web".to_owned())].into();
    pod
}

fn arcs(pods: &[Pod]) -> Vec<Arc<Pod>> {
    pods.iter().cloned().map(Arc::new).collect()
}

#[test]
fn pods_that_ended_or_are_going_are_replaced_and_the_burst_is_bounded() {
    let mut going = pod("going", Phase::Running, true);
    going.meta.deleting = Some(at(5));
    let pods = arcs(&[pod("a", Phase::Running, true), pod("b", Phase::Failed, false), going]);
    let change = |replicas, burst| plan(&set(replicas), &pods, &pods, burst, at(10));
    assert_eq!(change(1, 500), Change::Nothing);
    assert_eq!(change(3, 500), Change::Create(2));
    assert_eq!(change(1000, 500), Change::Create(500));
    assert_eq!(change(0, 500), Change::Delete(vec![Arc::clone(&pods[0])]));
}

#[test]
fn the_status_counts_as_upstream_does() {
    let mut going = pod("going", Phase::Running, true);
    going.meta.deleting = Some(at(5));
    let mut bare = pod("bare", Phase::Running, true);
    bare.meta.labels.clear();
    let pods = arcs(&[
        pod("a", Phase::Running, true),
        pod("b", Phase::Pending, false),
        bare,
        pod("f", Phase::Failed, false),
        going,
    ]);
    let mut set = set(3);
    set.min_ready = Duration::from_secs(30);
    let early = status(&set, &pods, &pods, None, at(10));
    assert_eq!((early.replicas, early.fully_labeled, early.ready, early.available), (3, 2, 2, 0));
    assert_eq!((early.terminating, early.observed), (Some(1), 3));
    assert_eq!(next_available(&set, &pods, at(10)), Some(Duration::from_secs(20)));
    assert_eq!(status(&set, &pods, &pods, None, at(30)).available, 2);
}

#[test]
fn a_failure_is_told_until_it_is_over_and_conditions_of_others_stay() {
    let mut set = set(1);
    let other = ReplicaSetCondition { type_: "Other".into(), status: "True".into(), ..ReplicaSetCondition::default() };
    set.status.conditions = vec![other.clone()];
    let failure = Failure::Create("exceeded quota".into());
    set.status = status(&set, &[], &[], Some(&failure), at(1));
    let told = &set.status.conditions[1];
    assert_eq!((told.type_.as_str(), told.reason.as_deref()), (REPLICA_FAILURE, Some("FailedCreate")));
    assert_eq!(told.message.as_deref(), Some("exceeded quota"));
    let again = status(&set, &[], &[], Some(&Failure::Create("other words".into())), at(2));
    assert_eq!(again, set.status, "words that change do not make writes");
    assert_eq!(status(&set, &[], &[], None, at(3)).conditions, [other]);
}

/// What happens between two looks.
#[derive(Debug, Clone)]
enum Event {
    Scale(i32),
    /// The pod at this index gets ready, fails or is deleted by somebody.
    Ready(usize),
    Fail(usize),
    Delete(usize),
    /// A kubelet finishes all deletions.
    Reap,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0..8i32).prop_map(Event::Scale),
        (0..16usize).prop_map(Event::Ready),
        (0..16usize).prop_map(Event::Fail),
        (0..16usize).prop_map(Event::Delete),
        Just(Event::Reap),
    ];
    prop::collection::vec(event, 0..40)
}

fn carry_out(pods: &mut Vec<Pod>, change: Change, made: &mut usize) {
    match change {
        Change::Nothing => {}
        Change::Create(count) => {
            for _ in 0..count {
                *made += 1;
                pods.push(pod(&format!("p{made}"), Phase::Pending, false));
            }
        }
        Change::Delete(list) => {
            for pod in pods.iter_mut().filter(|pod| list.iter().any(|gone| gone.meta.uid == pod.meta.uid)) {
                pod.meta.deleting = Some(at(1));
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_one_look_makes_the_number_right_and_the_next_does_nothing(events in events()) {
        let (mut set, mut pods, mut made) = (set(3), Vec::<Pod>::new(), 0);
        for event in events {
            match event {
                Event::Scale(to) => set.replicas = to,
                Event::Ready(index) => if let Some(pod) = pods.get_mut(index) {
                    (pod.phase, pod.ready) = (Phase::Running, true);
                },
                Event::Fail(index) => if let Some(pod) = pods.get_mut(index) {
                    (pod.phase, pod.ready) = (Phase::Failed, false);
                },
                Event::Delete(index) => if let Some(pod) = pods.get_mut(index) {
                    pod.meta.deleting = Some(at(1));
                },
                Event::Reap => pods.retain(|pod| pod.meta.deleting.is_none()),
            }
            let view = arcs(&pods);
            carry_out(&mut pods, plan(&set, &view, &view, 500, at(10)), &mut made);
            let active = pods.iter().filter(|pod| pod.is_active()).count();
            prop_assert_eq!(i32::try_from(active).unwrap(), set.replicas);
            let view = arcs(&pods);
            prop_assert_eq!(plan(&set, &view, &view, 500, at(10)), Change::Nothing);
            let status = status(&set, &view, &view, None, at(10));
            prop_assert!(status.available <= status.ready && status.ready <= status.replicas);
        }
    }
}
