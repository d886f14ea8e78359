//! What to do with one object. Pure.

use super::graph::{Graph, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PropagationPolicy;
use orrery_reconcile::Uid;

/// The next step for an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// It stays, or goes already.
    Nothing,
    /// Whether this owner exists is to be found out first.
    LookUp(OwnerReference),
    /// It has another owner: these references are taken off.
    RemoveOwners(Vec<Uid>),
    /// It is garbage.
    Delete {
        policy: PropagationPolicy,
        /// Its references do not block their owners any more: they are part of a circle.
        unblock: bool,
    },
    /// It waits for dependents: these are to be looked at.
    Wake(Vec<Uid>),
    /// It waits for nobody any more.
    FinishForeground,
    /// It lets these go, and waits for nobody then.
    Orphan(Vec<Uid>),
}

/// What an owner is to its dependent.
enum Standing {
    Solid,
    /// It does not exist.
    Dangling,
    /// It is being deleted and waits for its dependents.
    Waiting,
    Unknown,
}

/// The next step for `uid`.
pub(super) fn plan(graph: &Graph, uid: &Uid) -> Step {
    let Some(node) = graph.get(uid) else { return Step::Nothing };
    if node.deleting && node.orphan {
        return Step::Orphan(graph.dependents(uid).map(|dependent| dependent.uid.clone()).collect());
    }
    if node.waits() {
        return foreground(graph, node);
    }
    if node.deleting || node.owners.is_empty() {
        return Step::Nothing;
    }
    owned(graph, node)
}

fn foreground(graph: &Graph, node: &Node) -> Step {
    if !graph.dependents(&node.uid).any(|dependent| dependent.blocks(&node.uid)) {
        return Step::FinishForeground;
    }
    let idle = graph.dependents(&node.uid).filter(|dependent| !dependent.deleting);
    Step::Wake(idle.map(|dependent| dependent.uid.clone()).collect())
}

fn owned(graph: &Graph, node: &Node) -> Step {
    let (mut solid, mut off, mut waiting) = (false, Vec::new(), false);
    for owner in &node.owners {
        match standing(graph, node, owner) {
            Standing::Solid => solid = true,
            Standing::Dangling => off.push(Uid(owner.uid.clone())),
            Standing::Waiting => {
                waiting = true;
                off.push(Uid(owner.uid.clone()));
            }
            Standing::Unknown => return Step::LookUp(owner.clone()),
        }
    }
    match (solid, off.is_empty()) {
        (_, true) => Step::Nothing,
        (true, false) => Step::RemoveOwners(off),
        (false, false) => {
            let mut dependents = graph.dependents(&node.uid).peekable();
            if waiting && dependents.peek().is_some() {
                // A dependent that waits itself may wait for us: somebody has to begin.
                let unblock = dependents.any(Node::waits);
                return Step::Delete { policy: PropagationPolicy::Foreground, unblock };
            }
            let policy = match (node.orphan, node.foreground) {
                (true, _) => PropagationPolicy::Orphan,
                (false, true) => PropagationPolicy::Foreground,
                (false, false) => PropagationPolicy::Background,
            };
            Step::Delete { policy, unblock: false }
        }
    }
}

fn standing(graph: &Graph, node: &Node, owner: &OwnerReference) -> Standing {
    let namespace = &node.key.namespace;
    let uid = Uid(owner.uid.clone());
    match graph.get(&uid) {
        Some(known) if known.is_named_by(owner, namespace) => {
            if known.waits() {
                Standing::Waiting
            } else {
                Standing::Solid
            }
        }
        Some(_) if graph.is_misnamed(owner, namespace) => Standing::Dangling,
        Some(_) => Standing::Unknown,
        None if graph.is_absent(&uid) => Standing::Dangling,
        None => match graph.found(owner, namespace) {
            Some(true) => Standing::Waiting,
            Some(false) => Standing::Solid,
            None => Standing::Unknown,
        },
    }
}
