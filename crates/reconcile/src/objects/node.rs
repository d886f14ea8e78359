//! Nodes.

use crate::{Meta, Projected, Term};
use k8s_openapi::{
    api::core::v1::{self, NodeCondition, Taint},
    jiff::Timestamp,
};

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its metadata.
    pub meta: Meta,
    /// Whether nothing new may come.
    pub unschedulable: bool,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Its conditions. Heartbeats are left out: they change all the time and mean nothing new.
    pub conditions: Vec<NodeCondition>,
    /// When it last said that it is alive, by its status; the lease says so more often.
    pub heartbeat: Option<Timestamp>,
}

impl Node {
    /// The status of a condition.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&NodeCondition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }
}

impl Projected for Node {
    type Object = v1::Node;
    const PLURAL: &'static str = "nodes";

    fn project(mut object: v1::Node) -> Option<Self> {
        let spec = object.spec.take().unwrap_or_default();
        let mut conditions = object.status.take().and_then(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        let heartbeat = ready.and_then(|ready| ready.last_heartbeat_time.as_ref()).map(|time| time.0);
        for condition in &mut conditions {
            condition.last_heartbeat_time = None;
        }
        Some(Self {
            meta: Meta::take(&mut object.metadata),
            unschedulable: spec.unschedulable.unwrap_or_default(),
            taints: spec.taints.unwrap_or_default(),
            conditions,
            heartbeat,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}
