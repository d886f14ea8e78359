//! Whether enough is left of everything that a pod asks for.

use super::Reason;
use crate::view::{NodeView, PodView};

/// Everything that is short. Nothing is short of what is not asked for, even on a node that has too little already.
pub(super) fn short(pod: &PodView, node: &NodeView) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if node.pods >= node.allocatable_pods {
        reasons.push(Reason::TooManyPods);
    }
    let lacks = |asked: u64, has: u64, used: u64| asked > 0 && asked > has.saturating_sub(used);
    let (asked, has, used) = (&pod.requests, &node.allocatable, &node.requested);
    if lacks(asked.cpu.0, has.cpu.0, used.cpu.0) {
        reasons.push(Reason::Insufficient("cpu".to_owned()));
    }
    if lacks(asked.memory.0, has.memory.0, used.memory.0) {
        reasons.push(Reason::Insufficient("memory".to_owned()));
    }
    for (name, amount) in &asked.other {
        let has = has.other.get(name).copied().unwrap_or(0);
        let used = used.other.get(name).copied().unwrap_or(0);
        if lacks(*amount, has, used) {
            reasons.push(Reason::Insufficient(name.clone()));
        }
    }
    reasons
}
