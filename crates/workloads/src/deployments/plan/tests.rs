//! Tables, and a world in which a deployment is changed at random while its sets make and lose pods.

use super::*;
use crate::{
    deployments::{
        object::Strategy,
        revision::{DESIRED, MAX},
    },
    pods::TemplateDigest,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_reconcile::Projected;
use proptest::prelude::*;
use serde_json::json;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn deployment(replicas: i32, image: &str) -> Deployment {
    Deployment::project(
        serde_json::from_value(json!({
            "metadata": {"namespace": "demo", "name": "web", "uid": "d", "resourceVersion": "1", "generation": 1},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "progressDeadlineSeconds": 600,
                "revisionHistoryLimit": 2,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "template": {"metadata": {"labels": {"app": "web"}},
                             "spec": {"containers": [{"name": "c", "image": image}]}}},
        }))
        .unwrap(),
    )
    .unwrap()
}

fn no_pods(_: &Uid) -> bool {
    false
}

/// Carries out plans and plays the replica set controller and the kubelets.
#[derive(Debug, Clone)]
struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    second: i64,
}

impl World {
    fn new(replicas: i32) -> Self {
        Self { deployment: deployment(replicas, "v1"), sets: Vec::new(), second: 1 }
    }

    fn image(&mut self, image: &str) {
        let fresh = deployment(self.deployment.replicas, image);
        (self.deployment.template, self.deployment.hash) = (fresh.template, fresh.hash);
        self.deployment.meta.generation += 1;
    }

    fn look(&mut self) -> Plan {
        self.second += 1;
        let sets: Vec<Arc<ReplicaSet>> = self.sets.iter().cloned().map(Arc::new).collect();
        let plan = plan(&self.deployment, &sets, no_pods, at(self.second));
        for change in &plan.change {
            let set = self.sets.iter_mut().find(|set| set.meta.uid == change.uid).unwrap();
            set.annotations.extend(change.annotations.clone());
            if let Some((from, to)) = change.replicas {
                assert_eq!(set.replicas, from);
                set.replicas = to;
                set.meta.generation += 1;
            }
        }
        if let Some(new) = &plan.create {
            let mut set =
                ReplicaSet { replicas: new.replicas, template: self.deployment.template, ..ReplicaSet::default() };
            set.meta.key = ObjectKey::new("demo", &new.name);
            set.meta.uid = Uid(new.name.clone());
            set.meta.created = Some(at(self.second));
            set.meta.generation = 1;
            set.annotations = new.annotations.clone();
            assert!(self.sets.iter().all(|other| other.meta.uid != set.meta.uid));
            self.sets.push(set);
        }
        self.sets.retain(|set| !plan.delete.iter().any(|(_, uid)| *uid == set.meta.uid));
        if let Some(revision) = &plan.revision {
            self.deployment.annotations.insert(REVISION.to_owned(), revision.clone());
        }
        self.deployment.status = plan.status.clone();
        plan
    }

    /// Each set makes and deletes pods; all that it has become available.
    fn settle_sets(&mut self) {
        for set in &mut self.sets {
            (set.status.replicas, set.status.ready, set.status.available) = (set.replicas, set.replicas, set.replicas);
            set.status.observed = set.meta.generation;
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            self.settle_sets();
            let before = self.deployment.status.clone();
            let plan = self.look();
            let nothing = plan.create.is_none() && plan.change.is_empty() && plan.delete.is_empty();
            if nothing && self.deployment.status == before {
                return;
            }
        }
        panic!("does not settle: {self:#?}");
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(|set| set.replicas).collect()
    }
}

fn said(status: &DeploymentStatus, type_: &str) -> (String, String, String) {
    let condition = find_condition(&status.conditions, type_).unwrap().clone();
    (condition.status, condition.reason.unwrap(), condition.message.unwrap())
}

#[test]
fn a_new_deployment_gets_one_set_of_full_size_and_says_how_it_goes() {
    let mut world = World::new(10);
    let plan = world.look();
    let new = plan.create.clone().unwrap();
    assert_eq!((new.name, new.replicas), (format!("web-{}", world.deployment.hash), 10));
    assert_eq!(new.annotations[REVISION], "1");
    assert_eq!((new.annotations[DESIRED].as_str(), new.annotations[MAX].as_str()), ("10", "13"));
    assert_eq!(plan.revision.as_deref(), Some("1"));
    assert_eq!(said(&plan.status, "Progressing").1, "NewReplicaSetCreated");
    assert_eq!(said(&plan.status, "Available").1, "MinimumReplicasUnavailable");
    assert_eq!(plan.again, Some(Duration::from_secs(601)));
    world.settle();
    let (status, reason, message) = said(&world.deployment.status, "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "NewReplicaSetAvailable"));
    assert!(message.ends_with("has successfully progressed."), "{message}");
    assert_eq!(said(&world.deployment.status, "Available").2, "Deployment has minimum availability.");
    assert_eq!(world.look().again, None);
}

#[test]
fn a_rolling_update_moves_in_steps_and_a_rollback_uses_the_old_set_with_a_new_revision() {
    let mut world = World::new(10);
    world.settle();
    world.image("v2");
    let first = world.look();
    // 13 at most: the new set begins with three, the old keeps what availability needs.
    assert_eq!(first.create.as_ref().map(|new| new.replicas), Some(3));
    assert_eq!(world.sizes(), [10, 3]);
    let second = world.look();
    assert_eq!(second.change[0].replicas, Some((10, 8)));
    world.settle();
    assert_eq!(world.sizes(), [0, 10]);
    assert_eq!(world.deployment.annotations[REVISION], "2");
    world.image("v1");
    world.settle();
    assert_eq!(world.sizes(), [10, 0]);
    assert_eq!(world.sets[0].annotations[REVISION], "3");
    assert_eq!(world.sets[0].annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn pods_that_never_become_available_hold_the_update_and_time_it_out() {
    let mut world = World::new(4);
    world.settle();
    world.image("broken");
    for _ in 0..20 {
        world.look();
        for set in &mut world.sets {
            let works = set.meta.created < Some(at(3));
            set.status.replicas = set.replicas;
            (set.status.ready, set.status.available) = if works { (set.replicas, set.replicas) } else { (0, 0) };
        }
    }
    assert_eq!(world.sizes(), [3, 2], "never fewer than three available, never more than five in all");
    world.second += 700;
    let plan = world.look();
    let (status, reason, _) = said(&plan.status, "Progressing");
    assert_eq!((status.as_str(), reason.as_str(), plan.again), ("False", "ProgressDeadlineExceeded", None));
    // The next template takes the place of the one that never came up.
    world.image("v3");
    world.settle();
    assert_eq!(world.sizes().iter().sum::<i32>(), 4);
    assert_eq!(said(&world.deployment.status, "Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn scaling_in_the_middle_of_an_update_is_shared_in_proportion() {
    // The numbers of upstream's conformance test: 10 replicas, surge 3, unavailable 2, an image that never starts, then 30.
    let mut world = World::new(10);
    world.deployment.strategy = Strategy::Rolling { surge: IntOrString::Int(3), unavailable: IntOrString::Int(2) };
    world.settle();
    world.image("never-starts");
    for _ in 0..5 {
        world.look();
        world.sets[0].status.replicas = world.sets[0].replicas;
        (world.sets[0].status.ready, world.sets[0].status.available) = (world.sets[0].replicas, world.sets[0].replicas);
        if let Some(set) = world.sets.get_mut(1) {
            set.status.replicas = set.replicas;
        }
    }
    assert_eq!(world.sizes(), [8, 5]);
    world.deployment.replicas = 30;
    world.deployment.meta.generation += 1;
    world.look();
    assert_eq!(world.sizes(), [20, 13]);
}

#[test]
fn a_paused_deployment_is_scaled_but_not_updated() {
    let mut world = World::new(3);
    world.settle();
    world.deployment.paused = true;
    world.image("v2");
    world.deployment.replicas = 5;
    world.settle();
    assert_eq!(world.sizes(), [5]);
    assert_eq!(said(&world.deployment.status, "Progressing").1, "DeploymentPaused");
    world.deployment.paused = false;
    assert_eq!(said(&world.look().status, "Progressing").1, "NewReplicaSetCreated");
    world.settle();
    assert_eq!(world.sizes(), [0, 5]);
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut world = World::new(3);
    world.deployment.strategy = Strategy::Recreate;
    world.settle();
    world.image("v2");
    assert_eq!(world.look().change[0].replicas, Some((3, 0)));
    assert!(world.look().create.is_none(), "the old set still counts pods");
    world.settle_sets();
    let sets: Vec<Arc<ReplicaSet>> = world.sets.iter().cloned().map(Arc::new).collect();
    assert!(plan(&world.deployment, &sets, |_| true, at(99)).create.is_none(), "a pod is still ending");
    assert_eq!(world.look().create.map(|new| new.replicas), Some(3));
}

#[test]
fn only_so_many_old_sets_are_kept() {
    let mut world = World::new(1);
    for image in ["v1", "v2", "v3", "v4", "v5"] {
        world.image(image);
        world.settle();
    }
    let revisions: Vec<&str> = world.sets.iter().map(|set| set.annotations[REVISION].as_str()).collect();
    assert_eq!(revisions, ["3", "4", "5"]);
}

#[test]
fn of_two_sets_with_the_same_template_the_older_counts() {
    let mut world = World::new(1);
    world.settle();
    let mut twin = world.sets[0].clone();
    twin.meta.uid = Uid("twin".into());
    twin.meta.key.name = "web-twin".into();
    twin.meta.created = Some(at(9));
    twin.template = TemplateDigest::default();
    twin.template.clone_from(&world.sets[0].template);
    world.sets.push(twin);
    world.settle();
    assert_eq!(world.sizes(), [1, 0]);
}

#[derive(Debug, Clone)]
enum Event {
    Image(u8),
    Scale(i32),
    Pause(bool),
    /// Of the set at this index so many pods are there, and so many of them available.
    Progress(usize, i32, i32),
}

fn events() -> impl Strategy_<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => (0..4u8).prop_map(Event::Image),
        1 => (0..12i32).prop_map(Event::Scale),
        1 => any::<bool>().prop_map(Event::Pause),
        6 => (0..6usize, 0..12i32, 0..12i32).prop_map(|(set, there, well)| Event::Progress(set, there, well)),
    ];
    prop::collection::vec(event, 0..60)
}

use proptest::strategy::Strategy as Strategy_;

proptest! {
    #[test]
    fn an_update_never_leaves_its_bounds_and_always_ends(
        surge in 0..4i32, unavailable in 0..4i32, replicas in 0..10i32, events in events()
    ) {
        let mut world = World::new(replicas);
        world.deployment.strategy =
            Strategy::Rolling { surge: IntOrString::Int(surge), unavailable: IntOrString::Int(unavailable) };
        for event in events {
            match event {
                Event::Image(image) => world.image(&format!("v{image}")),
                Event::Scale(to) => (world.deployment.replicas, world.deployment.meta.generation) = (to, world.deployment.meta.generation + 1),
                Event::Pause(paused) => world.deployment.paused = paused,
                Event::Progress(index, there, well) => if let Some(set) = world.sets.get_mut(index) {
                    set.status.replicas = there.min(set.replicas);
                    set.status.available = well.min(set.status.replicas);
                    set.status.ready = set.status.available;
                    set.status.observed = set.meta.generation;
                },
            }
            let before = world.clone();
            let available_before: i32 = before.sets.iter().map(|set| set.status.available.min(set.replicas)).sum();
            world.look();
            let (wanted, total) = (world.deployment.replicas, world.sizes().iter().sum::<i32>());
            let total_before: i32 = before.sizes().iter().sum();
            prop_assert!(
                total <= total_before.max(wanted + world.deployment.max_surge()),
                "grew beyond the surge: {:?} -> {:?} of {wanted}", before.sizes(), world.sizes()
            );
            // What shrinks may only take what is not available, or what is above the minimum. Scaling is the user's wish.
            let scaled = before.sets.iter().any(|set| {
                set.replicas > 0 && set.annotations.get(DESIRED).is_some_and(|d| *d != wanted.to_string())
            });
            if !world.deployment.paused && !scaled && total_before >= wanted {
                let left: i32 = before.sets.iter().map(|set| {
                    let now = world.sets.iter().find(|other| other.meta.uid == set.meta.uid).map_or(0, |set| set.replicas);
                    set.status.available.min(now)
                }).sum();
                let minimum = wanted - world.deployment.max_unavailable();
                prop_assert!(
                    left >= minimum.min(available_before),
                    "available fell to {left} below {minimum}: {:?} -> {:?}", before.sizes(), world.sizes()
                );
            }
        }
        world.deployment.paused = false;
        world.settle();
        let newest = world.sets.iter().filter(|set| set.template == world.deployment.template).map(|set| set.replicas).sum::<i32>();
        prop_assert_eq!(newest, world.deployment.replicas);
        prop_assert_eq!(world.sizes().iter().sum::<i32>(), world.deployment.replicas);
        prop_assert!(world.sets.len() <= 3);
    }
}
