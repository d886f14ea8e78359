//! A simulated API in which owners are deleted in all ways, and the plan is carried out until nothing is left to do.

use super::{
    graph::{GroupKind, Node},
    plan::{Step, plan},
    *,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PropagationPolicy;
use orrery_reconcile::{ObjectKey, Revision};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

fn uid(name: &str) -> Uid {
    Uid(name.into())
}

fn owner(name: &str, blocks: bool) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: "Thing".into(),
        name: name.into(),
        uid: name.into(),
        controller: None,
        block_owner_deletion: Some(blocks),
    }
}

/// Objects in one namespace whose UID is their name.
#[derive(Default)]
struct World {
    objects: BTreeMap<String, Node>,
    graph: Graph,
    waiting: VecDeque<Uid>,
    revision: u64,
}

impl World {
    fn put(&mut self, mut node: Node) {
        self.revision += 1;
        node.version = Revision(self.revision);
        self.objects.insert(node.uid.0.clone(), node.clone());
        self.waiting.extend(self.graph.put(node));
    }

    fn make(&mut self, name: &str, owners: &[(&str, bool)]) {
        let node = Node {
            kind: GroupKind { group: String::new(), kind: "Thing".into() },
            key: ObjectKey::new("demo", name),
            uid: uid(name),
            owners: owners.iter().map(|(name, blocks)| owner(name, *blocks)).collect(),
            ..Node::default()
        };
        self.put(node);
    }

    fn remove(&mut self, name: &str) {
        self.objects.remove(name);
        self.waiting.extend(self.graph.remove(&uid(name)));
    }

    /// As the API server does: finalizers by policy, and gone once there is none.
    fn delete(&mut self, name: &str, policy: &PropagationPolicy) {
        let Some(mut node) = self.objects.get(name).cloned() else { return };
        match policy {
            PropagationPolicy::Background => (node.foreground, node.orphan) = (false, false),
            PropagationPolicy::Foreground => (node.foreground, node.orphan) = (true, false),
            PropagationPolicy::Orphan => (node.foreground, node.orphan) = (false, true),
        }
        node.deleting = true;
        self.finalized(node);
    }

    fn finalized(&mut self, node: Node) {
        if node.deleting && !node.foreground && !node.orphan {
            self.remove(&node.uid.0);
        } else {
            self.put(node);
        }
    }

    fn run(&mut self) {
        for _ in 0..10_000 {
            let Some(next) = self.waiting.pop_front() else { return };
            let step = plan(&self.graph, &next);
            self.carry_out(&next, step);
        }
        panic!("does not come to rest");
    }

    fn carry_out(&mut self, at: &Uid, step: Step) {
        let current = self.objects.get(&at.0).cloned();
        match (step, current) {
            (Step::Nothing, _) | (_, None) => {}
            (Step::LookUp(owner), _) => {
                match self.objects.get(&owner.uid) {
                    Some(found) => {
                        let waits = found.waits();
                        self.graph.note_found(&owner, "demo", waits);
                    }
                    None => self.graph.note_missing(&owner, "demo"),
                }
                self.waiting.push_back(at.clone());
            }
            (Step::RemoveOwners(off), Some(mut node)) => {
                node.owners.retain(|owner| !off.iter().any(|uid| uid.0 == owner.uid));
                self.put(node);
            }
            (Step::Wake(uids), _) => self.waiting.extend(uids),
            (Step::FinishForeground, Some(mut node)) => {
                node.foreground = false;
                self.finalized(node);
            }
            (Step::Orphan(dependents), Some(mut node)) => {
                for dependent in dependents {
                    let mut dependent = self.objects[&dependent.0].clone();
                    dependent.owners.retain(|owner| owner.uid != at.0);
                    self.put(dependent);
                }
                node.orphan = false;
                self.finalized(node);
            }
            (Step::Delete { policy, unblock }, Some(mut node)) => {
                if unblock {
                    node.owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
                    self.put(node);
                }
                self.delete(&at.0, &policy);
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.objects.keys().map(String::as_str).collect()
    }
}

#[test]
fn background_deletion_takes_the_whole_tree_and_keeps_what_has_another_owner() {
    let mut world = World::default();
    world.make("deployment", &[]);
    world.make("other", &[]);
    world.make("set", &[("deployment", true)]);
    world.make("pod-1", &[("set", true)]);
    world.make("pod-2", &[("set", true), ("other", true)]);
    world.run();
    assert_eq!(world.objects.len(), 5);
    world.delete("deployment", &PropagationPolicy::Background);
    world.run();
    assert_eq!(world.names(), ["other", "pod-2"]);
    assert_eq!(world.objects["pod-2"].owners, [owner("other", true)]);
}

#[test]
fn foreground_deletion_keeps_the_owner_until_all_that_block_it_are_gone() {
    let mut world = World::default();
    world.make("rc", &[]);
    world.make("pod", &[("rc", true)]);
    world.make("loose", &[("rc", false)]);
    world.run();
    world.delete("rc", &PropagationPolicy::Foreground);
    assert_eq!(plan(&world.graph, &uid("rc")), Step::Wake(vec![uid("loose"), uid("pod")]));
    world.run();
    assert_eq!(world.names(), Vec::<&str>::new());
}

#[test]
fn a_pod_that_ends_slowly_holds_its_owner() {
    let mut world = World::default();
    world.make("rc", &[]);
    world.make("pod", &[("rc", true)]);
    let mut slow = world.objects["pod"].clone();
    slow.deleting = true;
    world.put(slow);
    world.delete("rc", &PropagationPolicy::Foreground);
    world.run();
    assert_eq!(world.names(), ["pod", "rc"]);
    world.remove("pod");
    world.run();
    assert!(world.objects.is_empty());
}

#[test]
fn an_answer_that_comes_after_the_object_is_gone_does_not_bring_it_back() {
    let mut world = World::default();
    world.make("deployment", &[]);
    world.make("set", &[("deployment", true)]);
    world.delete("deployment", &PropagationPolicy::Foreground);
    let answer = world.graph.get(&uid("set")).cloned().unwrap();
    world.run();
    // Taking off the last finalizer removes the object; the answer to that is slower than the watch.
    assert_eq!(world.graph.changed(Node { version: Revision(99), ..answer }), []);
    assert!(world.graph.get(&uid("set")).is_none(), "it would hold its owner for ever");
    assert_eq!(world.names(), [""; 0]);
}

#[test]
fn a_dependent_of_a_waiting_owner_and_a_valid_one_stays() {
    let mut world = World::default();
    world.make("going", &[]);
    world.make("staying", &[]);
    world.make("both", &[("going", true), ("staying", true)]);
    world.delete("going", &PropagationPolicy::Foreground);
    world.run();
    assert_eq!(world.names(), ["both", "staying"]);
}

#[test]
fn orphans_lose_the_reference_and_stay() {
    let mut world = World::default();
    world.make("deployment", &[]);
    world.make("set", &[("deployment", true)]);
    world.make("pod", &[("set", true)]);
    world.delete("deployment", &PropagationPolicy::Orphan);
    world.run();
    assert_eq!(world.names(), ["pod", "set"]);
    assert!(world.objects["set"].owners.is_empty());
}

#[test]
fn a_circle_does_not_hold_itself() {
    for policy in [PropagationPolicy::Foreground, PropagationPolicy::Background] {
        let mut world = World::default();
        world.make("pod-1", &[("pod-3", true)]);
        world.make("pod-2", &[("pod-1", true)]);
        world.make("pod-3", &[("pod-2", true)]);
        world.run();
        // While all are there nothing happens, whichever was seen first: owners that were not seen yet are looked up.
        assert_eq!(world.objects.len(), 3);
        world.delete("pod-1", &policy);
        world.run();
        assert!(world.objects.is_empty(), "{policy:?}: {:?}", world.names());
    }
}

#[test]
fn an_owner_that_never_was_is_looked_up_before_its_dependent_goes() {
    let mut world = World::default();
    world.make("pod", &[("ghost", true)]);
    assert_eq!(plan(&world.graph, &uid("pod")), Step::LookUp(owner("ghost", true)));
    world.run();
    assert!(world.objects.is_empty());
}

#[test]
fn an_owner_in_another_namespace_is_none() {
    let mut world = World::default();
    world.make("owner", &[]);
    let mut far = Node { key: ObjectKey::new("far", "pod"), uid: uid("pod"), ..Node::default() };
    far.owners = vec![owner("owner", true)];
    world.waiting.extend(world.graph.put(far));
    assert_eq!(plan(&world.graph, &uid("pod")), Step::LookUp(owner("owner", true)));
    world.graph.note_missing(&owner("owner", true), "far");
    assert_eq!(plan(&world.graph, &uid("pod")), Step::Delete { policy: PropagationPolicy::Background, unblock: false });
    assert!(!world.graph.is_absent(&uid("owner")), "its dependents at home keep it");
}

#[test]
fn a_new_list_makes_up_for_deletions_that_were_missed() {
    let mut world = World::default();
    world.make("owner", &[]);
    world.make("pod", &[("owner", true)]);
    world.run();
    let pod = world.objects["pod"].clone();
    world.objects.remove("owner");
    world.waiting.extend(world.graph.replace(&pod.kind.clone(), vec![pod]));
    world.run();
    assert!(world.objects.is_empty());
}

#[derive(Debug, Clone)]
enum Event {
    Make(u8, Vec<(u8, bool)>),
    Delete(u8, u8),
    Run,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let name = 0..8u8;
    let event = prop_oneof![
        3 => (name.clone(), prop::collection::vec((name.clone(), any::<bool>()), 0..3)).prop_map(|(n, o)| Event::Make(n, o)),
        2 => (name, 0..3u8).prop_map(|(n, p)| Event::Delete(n, p)),
        1 => Just(Event::Run),
    ];
    prop::collection::vec(event, 0..30)
}

proptest! {
    #[test]
    fn it_comes_to_rest_and_leaves_neither_garbage_nor_wrongs(events in events()) {
        let mut world = World::default();
        let mut generation = 0;
        // The latest object of each number; names are never used twice, as UIDs are not.
        let mut latest: BTreeMap<u8, String> = BTreeMap::new();
        for event in events {
            match event {
                Event::Make(number, owners) => {
                    generation += 1;
                    let name = format!("{number}-{generation}");
                    let owners: BTreeMap<String, bool> =
                        owners.iter().filter_map(|(n, b)| Some((latest.get(n)?.clone(), *b))).collect();
                    let list: Vec<(&str, bool)> = owners.iter().map(|(name, blocks)| (name.as_str(), *blocks)).collect();
                    world.make(&name, &list);
                    latest.insert(number, name);
                }
                Event::Delete(number, policy) => if let Some(name) = latest.get(&number) {
                    let policy = [PropagationPolicy::Background, PropagationPolicy::Foreground, PropagationPolicy::Orphan][usize::from(policy)].clone();
                    let name = name.clone();
                    if world.objects.get(&name).is_some_and(|node| !node.deleting) {
                        world.delete(&name, &policy);
                    }
                },
                Event::Run => world.run(),
            }
        }
        world.run();
        let alive: BTreeSet<&str> = world.names().into_iter().collect();
        for node in world.objects.values() {
            prop_assert!(!node.deleting, "{} hangs", node.uid);
            prop_assert!(
                node.owners.is_empty() || node.owners.iter().any(|owner| alive.contains(owner.uid.as_str())),
                "{} is garbage", node.uid
            );
        }
    }
}
