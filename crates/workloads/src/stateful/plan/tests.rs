//! A world in which numbered pods come up, fall ill, are scaled and updated.

use super::*;
use crate::stateful::object::Strategy;
use orrery_reconcile::{ObjectKey, Projected, Uid};
use proptest::prelude::*;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

struct World {
    set: StatefulSet,
    update: String,
    pods: Vec<Pod>,
    made: usize,
}

impl World {
    #[expect(clippy::needless_pass_by_value, reason = "a literal reads best by value")]
    fn new(spec: Value) -> Self {
        let mut object = json!({"metadata": {"namespace": "demo", "name": "db", "uid": "db"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": []}}}});
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let set = StatefulSet::project(serde_json::from_value(object).unwrap()).unwrap();
        Self { set, update: "db-1".into(), pods: Vec::new(), made: 0 }
    }

    fn look(&mut self) -> Plan {
        let current = self.set.status.current_revision.clone().unwrap_or_else(|| self.update.clone());
        let pods: Vec<Arc<Pod>> = self.pods.iter().cloned().map(Arc::new).collect();
        let plan = plan(&self.set, &current, &self.update, &pods, at(100));
        for pod in self.pods.iter_mut().filter(|pod| plan.delete.iter().any(|gone| gone.meta.uid == pod.meta.uid)) {
            pod.meta.deleting = Some(at(1));
        }
        for new in &plan.create {
            self.made += 1;
            let mut pod = Pod::default();
            pod.meta.key = ObjectKey::new("demo", format!("db-{}", new.ordinal));
            pod.meta.uid = Uid(format!("u{}", self.made));
            pod.meta.labels = [(REVISION_HASH.to_owned(), new.revision.clone())].into();
            assert!(self.pods.iter().all(|other| other.meta.key != pod.meta.key), "two of one name");
            self.pods.push(pod);
        }
        self.set.status = plan.status.clone();
        plan
    }

    fn reap(&mut self) {
        self.pods.retain(|pod| pod.meta.deleting.is_none());
    }

    fn ready_all(&mut self) {
        self.pods.iter_mut().for_each(|pod| (pod.phase, pod.ready) = (Phase::Running, true));
    }

    fn settle(&mut self) {
        for _ in 0..60 {
            self.look();
            self.reap();
            self.ready_all();
        }
    }

    fn pod(&mut self, name: &str) -> &mut Pod {
        self.pods.iter_mut().find(|pod| pod.meta.key.name == name).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.pods.iter().map(|p| format!("{}@{}", p.meta.key.name, revision(p))).collect();
        names.sort();
        names
    }
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().map(|pod| pod.meta.key.name.as_str()).collect()
}

#[test]
fn numbers_come_one_after_the_other_and_go_in_reverse() {
    let mut world = World::new(json!({"replicas": 3}));
    assert_eq!(world.look().create.len(), 1);
    assert!(world.look().create.is_empty(), "db-0 is not ready yet");
    world.ready_all();
    assert_eq!(world.look().create, [NewPod { ordinal: 1, revision: "db-1".into() }]);
    world.settle();
    assert_eq!(world.names(), ["db-0@db-1", "db-1@db-1", "db-2@db-1"]);
    world.set.replicas = 0;
    assert_eq!(names(&world.look().delete), ["db-2"]);
    assert!(world.look().delete.is_empty(), "db-2 is still going");
    world.reap();
    world.pod("db-0").ready = false;
    world.pod("db-1").ready = false;
    assert!(world.look().delete.is_empty(), "two are not well: scaling halts");
    world.settle();
    assert!(world.pods.is_empty());
}

#[test]
fn in_parallel_nobody_waits() {
    let mut world = World::new(json!({"replicas": 3, "podManagementPolicy": "Parallel", "ordinals": {"start": 5}}));
    assert_eq!(world.look().create.iter().map(|new| new.ordinal).collect::<Vec<_>>(), [5, 6, 7]);
    world.set.replicas = 0;
    assert_eq!(names(&world.look().delete), ["db-7", "db-6", "db-5"]);
}

#[test]
fn an_update_goes_from_the_highest_number_down_and_waits_for_each() {
    let mut world = World::new(json!({"replicas": 3}));
    world.settle();
    assert_eq!(world.set.status.current_revision.as_deref(), Some("db-1"));
    world.update = "db-2".into();
    assert_eq!(names(&world.look().delete), ["db-2"]);
    assert!(world.look().delete.is_empty());
    world.reap();
    assert_eq!(world.look().create, [NewPod { ordinal: 2, revision: "db-2".into() }]);
    assert!(world.look().delete.is_empty(), "the new db-2 is not ready");
    let status = &world.set.status;
    assert_eq!((status.current, status.updated), (2, 1));
    assert_eq!((status.current_revision.as_deref(), status.update_revision.as_deref()), (Some("db-1"), Some("db-2")));
    world.settle();
    assert_eq!(world.names(), ["db-0@db-2", "db-1@db-2", "db-2@db-2"]);
    assert_eq!(world.set.status.current_revision.as_deref(), Some("db-2"));
}

#[test]
fn a_partition_keeps_the_lower_numbers_as_they_are_even_when_they_are_made_again() {
    let rolling = |partition| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
    let mut world = World::new(json!({"replicas": 3, "updateStrategy": rolling(2)}));
    world.settle();
    world.update = "db-2".into();
    world.settle();
    assert_eq!(world.names(), ["db-0@db-1", "db-1@db-1", "db-2@db-2"]);
    world.pod("db-0").meta.deleting = Some(at(1));
    world.pod("db-2").meta.deleting = Some(at(1));
    world.reap();
    world.settle();
    assert_eq!(world.names(), ["db-0@db-1", "db-1@db-1", "db-2@db-2"]);
    world.set.strategy = Strategy::Rolling {
        partition: Some(0),
        unavailable: k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(1),
    };
    world.settle();
    assert_eq!(world.set.status.current_revision.as_deref(), Some("db-2"));
}

#[test]
fn on_delete_only_what_somebody_deletes_is_replaced() {
    let mut world = World::new(json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}}));
    world.settle();
    world.update = "db-2".into();
    world.settle();
    assert_eq!(world.names(), ["db-0@db-1", "db-1@db-1"]);
    world.pod("db-1").meta.deleting = Some(at(1));
    world.reap();
    world.settle();
    assert_eq!(world.names(), ["db-0@db-1", "db-1@db-2"]);
}

#[test]
fn a_pod_that_ended_is_made_again() {
    let mut world = World::new(json!({"replicas": 1}));
    world.settle();
    world.pod("db-0").phase = Phase::Failed;
    let plan = world.look();
    assert_eq!((names(&plan.delete), names(&plan.recreate)), (vec!["db-0"], vec!["db-0"]));
    world.reap();
    assert_eq!(world.look().create.len(), 1);
}

proptest! {
    #[test]
    fn ordered_sets_have_no_gap_above_what_is_not_well_and_come_to_rest(
        events in prop::collection::vec((0..4u8, 0..6usize, 0..6i32), 0..60)
    ) {
        let mut world = World::new(json!({"replicas": 3}));
        for (event, index, number) in events {
            match event {
                0 => world.set.replicas = number,
                1 => world.update = format!("db-{number}"),
                2 => if let Some(pod) = world.pods.get_mut(index) { (pod.phase, pod.ready) = (Phase::Running, true) },
                _ => world.reap(),
            }
            let unwell: Option<i32> = world.pods.iter().filter(|pod| !is_well(pod)).filter_map(|pod| world.set.ordinal_of(pod)).min();
            let plan = world.look();
            prop_assert!(plan.create.len() <= 1 && plan.delete.len() <= 1);
            if let (Some(new), Some(unwell)) = (plan.create.first(), unwell) {
                prop_assert!(new.ordinal < unwell, "{} was made although {unwell} is not well", new.ordinal);
            }
        }
        world.settle();
        let expected: Vec<String> = (0..world.set.replicas).map(|number| format!("db-{number}@{}", world.update)).collect();
        prop_assert_eq!(world.names(), expected);
    }
}
