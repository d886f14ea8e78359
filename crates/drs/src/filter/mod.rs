//! The Kubernetes filters: may this pod run on that node?
//!
//! The filters run in upstream's order and the first that rejects a node ends its examination; only the resource filter
//! names everything that is short. So the counts of [`summary`] add up as users of Kubernetes know them.

mod affinity;
mod resources;
mod taints;

use crate::view::{NodeView, PodView, Unsupported};
use std::{collections::BTreeMap, fmt};

/// Why a pod cannot be placed anywhere, whatever the nodes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// Its scheduling gates were not all taken away.
    Gated(Vec<String>),
    /// It requires what is not built.
    Unsupported(Vec<Unsupported>),
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gated(_) => f.write_str("Scheduling is blocked due to non-empty scheduling gates"),
            Self::Unsupported(list) => {
                let fields: Vec<&str> = list.iter().map(|item| item.field()).collect();
                let fields = fields.join(", ");
                write!(f, "the pod asks for {fields}, which this scheduler cannot honour; remove it from the pod")
            }
        }
    }
}

/// Why a node was rejected for a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The node is cordoned.
    Unschedulable,
    /// The pod names another node.
    NodeName,
    /// A taint that the pod does not tolerate.
    Taint {
        /// The taint's key.
        key: String,
        /// Its value.
        value: String,
    },
    /// The node selector or the required node affinity does not match.
    NodeAffinity,
    /// The node holds as many pods as it may.
    TooManyPods,
    /// Too little is left of a resource (`cpu`, `memory` or another's name).
    Insufficient(String),
    /// The node passed the filters and DRS rejected its host; its words.
    RejectedByDrs(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("node(s) were unschedulable"),
            Self::NodeName => f.write_str("node(s) didn't match the requested node name"),
            Self::Taint { key, value } => write!(f, "node(s) had untolerated taint {{{key}: {value}}}"),
            Self::NodeAffinity => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
            Self::RejectedByDrs(why) => write!(f, "node(s) were rejected by DRS ({why})"),
        }
    }
}

/// Whether the pod can be looked at, before any node is.
///
/// # Errors
/// What keeps it from being placed on any node.
pub fn admissible(pod: &PodView) -> Result<(), Blocked> {
    if !pod.gates.is_empty() {
        return Err(Blocked::Gated(pod.gates.clone()));
    }
    if !pod.unsupported.is_empty() {
        return Err(Blocked::Unsupported(pod.unsupported.clone()));
    }
    Ok(())
}

/// Whether `node` can take `pod` beside those it has.
///
/// # Errors
/// Why not; never empty.
pub fn check(pod: &PodView, node: &NodeView) -> Result<(), Vec<Reason>> {
    if node.unschedulable && !taints::tolerates_unschedulable(&pod.tolerations) {
        return Err(vec![Reason::Unschedulable]);
    }
    if pod.node_name.as_ref().is_some_and(|name| *name != node.name) {
        return Err(vec![Reason::NodeName]);
    }
    if let Some(taint) = taints::first_untolerated(&node.taints, &pod.tolerations) {
        return Err(vec![Reason::Taint { key: taint.key.clone(), value: taint.value.clone() }]);
    }
    if !affinity::matches(pod, node) {
        return Err(vec![Reason::NodeAffinity]);
    }
    let short = resources::short(pod, node);
    if short.is_empty() { Ok(()) } else { Err(short) }
}

/// Upstream's sentence on a pod that fits nowhere, out of each node's reasons:
/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
#[must_use]
pub fn summary<'a>(rejected: impl IntoIterator<Item = &'a [Reason]>) -> String {
    let mut nodes = 0;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for reasons in rejected {
        nodes += 1;
        for reason in reasons {
            *counts.entry(reason.to_string()).or_default() += 1;
        }
    }
    if nodes == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut texts: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    format!("0/{nodes} nodes are available: {}.", texts.join(", "))
}

#[cfg(test)]
mod tests;
