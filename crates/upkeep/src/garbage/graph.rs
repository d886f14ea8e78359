//! Who owns whom.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use orrery_reconcile::{ObjectKey, Revision, Uid};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";
/// How many UIDs are remembered of objects that are gone.
const MAX_ABSENT: usize = 50_000;

/// Group and kind, such as (`apps`, `ReplicaSet`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct GroupKind {
    pub(super) group: String,
    pub(super) kind: String,
}

impl GroupKind {
    pub(super) fn of(reference: &OwnerReference) -> Self {
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        Self { group: group.to_owned(), kind: reference.kind.clone() }
    }
}

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Node {
    pub(super) kind: GroupKind,
    pub(super) key: ObjectKey,
    pub(super) uid: Uid,
    pub(super) version: Revision,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) deleting: bool,
    /// It waits for its dependents.
    pub(super) foreground: bool,
    /// It lets its dependents go.
    pub(super) orphan: bool,
}

impl Node {
    /// Whether its deletion waits for its dependents.
    pub(super) fn waits(&self) -> bool {
        self.deleting && self.foreground
    }

    /// Whether it holds back the deletion of `owner`.
    pub(super) fn blocks(&self, owner: &Uid) -> bool {
        self.owners.iter().any(|reference| reference.uid == owner.0 && reference.block_owner_deletion == Some(true))
    }

    /// Whether `reference`, in an object of `namespace`, says what this object is called. A reference from within another
    /// namespace never does.
    pub(super) fn is_named_by(&self, reference: &OwnerReference, namespace: &str) -> bool {
        self.kind == GroupKind::of(reference)
            && self.key.name == reference.name
            && (self.key.namespace.is_empty() || self.key.namespace == namespace)
    }
}

/// All objects, by UID.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, BTreeSet<Uid>>,
    /// Owners that are gone for good: a UID never comes back.
    absent: HashSet<Uid>,
    absent_order: VecDeque<Uid>,
    /// Owners that were found in the API and are not here (yet), and whether they wait for their dependents.
    found: BTreeMap<(Uid, GroupKind, ObjectKey), bool>,
    /// References that name nothing: the UID may exist, but not under this name.
    misnamed: HashSet<(Uid, GroupKind, ObjectKey)>,
}

impl Graph {
    pub(super) fn get(&self, uid: &Uid) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Those that name `uid` as an owner.
    pub(super) fn dependents(&self, uid: &Uid) -> impl Iterator<Item = &Node> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|uid| self.nodes.get(uid))
    }

    pub(super) fn is_absent(&self, uid: &Uid) -> bool {
        self.absent.contains(uid)
    }

    /// What was found in the API of a reference that the graph does not know: whether the owner waits.
    pub(super) fn found(&self, reference: &OwnerReference, namespace: &str) -> Option<bool> {
        self.found.get(&name_of(reference, namespace)).copied()
    }

    pub(super) fn is_misnamed(&self, reference: &OwnerReference, namespace: &str) -> bool {
        self.misnamed.contains(&name_of(reference, namespace))
    }

    /// The API has no such object.
    pub(super) fn note_missing(&mut self, reference: &OwnerReference, namespace: &str) {
        let uid = Uid(reference.uid.clone());
        if self.nodes.contains_key(&uid) {
            // It exists under another name or in another namespace.
            if self.misnamed.len() >= MAX_ABSENT {
                self.misnamed.clear();
            }
            self.misnamed.insert(name_of(reference, namespace));
        } else {
            self.note_absent(uid);
        }
    }

    /// The API has it.
    pub(super) fn note_found(&mut self, reference: &OwnerReference, namespace: &str, waits: bool) {
        if self.found.len() >= MAX_ABSENT {
            self.found.clear();
        }
        self.found.insert(name_of(reference, namespace), waits);
    }

    fn note_absent(&mut self, uid: Uid) {
        if self.absent.insert(uid.clone()) {
            self.absent_order.push_back(uid);
        }
        while self.absent_order.len() > MAX_ABSENT {
            if let Some(oldest) = self.absent_order.pop_front() {
                self.absent.remove(&oldest);
            }
        }
    }

    /// The object is there and looks like this. Returns whom to look at.
    pub(super) fn put(&mut self, node: Node) -> Vec<Uid> {
        let uid = node.uid.clone();
        let before = self.nodes.get(&uid);
        if before.is_some_and(|before| before.version > node.version) {
            return Vec::new();
        }
        let owners = |node: &Node| node.owners.iter().map(|owner| Uid(owner.uid.clone())).collect::<BTreeSet<Uid>>();
        let (old, new) = (before.map(owners).unwrap_or_default(), owners(&node));
        let changed = before.is_none_or(|before| {
            before.owners != node.owners
                || (before.deleting, before.foreground, before.orphan) != (node.deleting, node.foreground, node.orphan)
        });
        for gone in old.difference(&new) {
            self.detach(gone, &uid);
        }
        for added in &new {
            self.dependents.entry(added.clone()).or_default().insert(uid.clone());
        }
        let interesting = !new.is_empty() || node.deleting;
        let mut wake: Vec<Uid> = if changed && interesting { vec![uid.clone()] } else { Vec::new() };
        if changed {
            // An owner that waits may wait for one less.
            wake.extend(old.union(&new).filter(|owner| self.nodes.get(*owner).is_some_and(Node::waits)).cloned());
        }
        self.nodes.insert(uid, node);
        wake
    }

    /// A change of ours was answered with this. If the object went with it, the watch may have told so already, and nobody would
    /// tell it again: what is no longer known stays unknown. Returns whom to look at.
    pub(super) fn changed(&mut self, node: Node) -> Vec<Uid> {
        if self.nodes.contains_key(&node.uid) { self.put(node) } else { Vec::new() }
    }

    /// The object is gone. Returns whom to look at.
    pub(super) fn remove(&mut self, uid: &Uid) -> Vec<Uid> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        let mut wake: Vec<Uid> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        for owner in node.owners.iter().map(|owner| Uid(owner.uid.clone())) {
            self.detach(&owner, uid);
            if self.nodes.get(&owner).is_some_and(Node::waits) {
                wake.push(owner);
            }
        }
        self.found.retain(|(owner, _, _), _| owner != uid);
        self.note_absent(uid.clone());
        wake
    }

    /// Of `kind` there is exactly `list`. Returns whom to look at.
    pub(super) fn replace(&mut self, kind: &GroupKind, list: Vec<Node>) -> Vec<Uid> {
        let present: HashSet<&Uid> = list.iter().map(|node| &node.uid).collect();
        let gone: Vec<Uid> = self
            .nodes
            .values()
            .filter(|node| node.kind == *kind && !present.contains(&node.uid))
            .map(|n| n.uid.clone())
            .collect();
        let mut wake: Vec<Uid> = gone.iter().flat_map(|uid| self.remove(uid)).collect();
        for node in list {
            wake.extend(self.put(node));
        }
        wake
    }

    fn detach(&mut self, owner: &Uid, dependent: &Uid) {
        if let Some(set) = self.dependents.get_mut(owner) {
            set.remove(dependent);
            if set.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

fn name_of(reference: &OwnerReference, namespace: &str) -> (Uid, GroupKind, ObjectKey) {
    (Uid(reference.uid.clone()), GroupKind::of(reference), ObjectKey::new(namespace, &reference.name))
}
