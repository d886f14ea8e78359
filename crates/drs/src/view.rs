//! What is known of a pod and of a node: the projection of the API objects that the filters need, and no more.

use crate::amounts::Amounts;
use orrery_api::names::HostName;
use std::collections::BTreeMap;

/// A pod that wants a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodView {
    /// What it needs, see [`crate::amounts::effective_requests`].
    pub requests: Amounts,
    /// `spec.nodeName`, when somebody has already chosen.
    pub node_name: Option<HostName>,
    /// `spec.nodeSelector`: labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Required node affinity: one of the terms must match. None when the pod has none.
    pub node_affinity: Option<Vec<NodeTerm>>,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// Names of `spec.schedulingGates`.
    pub gates: Vec<String>,
    /// What the pod requires that is not built.
    pub unsupported: Vec<Unsupported>,
}

/// A requirement on placement that is not built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unsupported {
    /// `podAffinity.requiredDuringSchedulingIgnoredDuringExecution`.
    PodAffinity,
    /// `podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution`.
    PodAntiAffinity,
    /// A topology spread constraint with `whenUnsatisfiable: DoNotSchedule`.
    TopologySpread,
    /// Claims of devices (`spec.resourceClaims`).
    ResourceClaims,
    /// A group of pods that are placed together (`spec.schedulingGroup`).
    SchedulingGroup,
    /// A port of the host (`ports.hostPort`).
    HostPort,
}

impl Unsupported {
    /// The field, as it stands in a pod.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::PodAffinity => "required podAffinity",
            Self::PodAntiAffinity => "required podAntiAffinity",
            Self::TopologySpread => "topologySpreadConstraints with DoNotSchedule",
            Self::ResourceClaims => "resourceClaims",
            Self::SchedulingGroup => "schedulingGroup",
            Self::HostPort => "hostPort",
        }
    }
}

/// A term of a node selector: all of its requirements must hold; one without any matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeTerm {
    /// On the node's labels.
    pub labels: Vec<Requirement>,
    /// On the node's fields, of which there is one: `metadata.name`.
    pub fields: Vec<Requirement>,
}

/// A requirement on one label or field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's or field's name.
    pub key: String,
    /// What must hold.
    pub operator: Operator,
}

/// What must hold of a label's or field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// It is one of these.
    In(Vec<String>),
    /// It is none of these; also when it is missing.
    NotIn(Vec<String>),
    /// There is one.
    Exists,
    /// There is none.
    DoesNotExist,
    /// It is a number above this.
    Gt(i64),
    /// It is a number below this.
    Lt(i64),
    /// The operator or its values are malformed: nothing matches.
    Malformed,
}

/// A toleration of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toleration {
    /// The taint's key; none for every key.
    pub key: Option<String>,
    /// The value that the taint must have; none for every value (operator `Exists`).
    pub value: Option<String>,
    /// The taint's effect; none for every effect.
    pub effect: Option<Effect>,
}

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// No new pods.
    NoSchedule,
    /// New pods rather elsewhere.
    PreferNoSchedule,
    /// No new pods, and those that run are evicted.
    NoExecute,
}

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, often empty.
    pub value: String,
    /// What it does.
    pub effect: Effect,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its name, which is its host's.
    pub name: HostName,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// What pods may use in all.
    pub allocatable: Amounts,
    /// How many pods there may be.
    pub allocatable_pods: u64,
    /// What its pods ask for in all.
    pub requested: Amounts,
    /// How many pods there are.
    pub pods: u64,
}

impl NodeView {
    /// Counts one more pod that asks for `requests`.
    pub fn charge(&mut self, requests: &Amounts) {
        self.requested.add(requests);
        self.pods += 1;
    }
}
