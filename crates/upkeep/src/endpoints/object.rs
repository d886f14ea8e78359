//! Services, Endpoints and EndpointSlices as the controllers see them.

use k8s_openapi::{
    api::{
        core::v1::{self as core, EndpointSubset, ObjectReference, ServicePort},
        discovery::v1 as discovery,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use orrery_reconcile::{Meta, ObjectKey, Projected, Selector, Term};
use std::collections::BTreeMap;

pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";
/// Holds a lock of an old kind; it is no endpoint of anything.
pub(super) const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
pub(super) const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "IPv4" => Some(Self::V4),
            "IPv6" => Some(Self::V6),
            _ => None,
        }
    }

    /// The family of an address.
    pub(super) fn of(ip: &str) -> Self {
        if ip.contains(':') { Self::V6 } else { Self::V4 }
    }
}

/// What a service sends to which port of its pods.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) port: i32,
    pub(super) target: Option<IntOrString>,
    pub(super) protocol: String,
    pub(super) app_protocol: Option<String>,
}

/// A service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Service {
    pub(super) meta: Meta,
    pub(super) selector: Selector,
    pub(super) selects: bool,
    pub(super) external_name: bool,
    pub(super) headless: bool,
    pub(super) publish_not_ready: bool,
    pub(super) families: Vec<Family>,
    pub(super) ports: Vec<Port>,
    pub(super) distribution: Option<String>,
}

impl Projected for Service {
    type Object = core::Service;
    const PLURAL: &'static str = "services";

    fn project(mut object: core::Service) -> Option<Self> {
        let meta = Meta::take(&mut object.metadata);
        let spec = object.spec.unwrap_or_default();
        let cluster_ip = spec.cluster_ip.unwrap_or_default();
        let mut families: Vec<Family> =
            spec.ip_families.iter().flatten().filter_map(|family| Family::parse(family)).collect();
        if families.is_empty() {
            families.push(Family::of(&cluster_ip));
        }
        let selector = spec.selector.filter(|selector| !selector.is_empty());
        Some(Self {
            meta,
            selects: selector.is_some(),
            selector: Selector::of_map(selector.as_ref()),
            external_name: spec.type_.as_deref() == Some("ExternalName"),
            headless: cluster_ip == "None",
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
            families,
            ports: spec.ports.into_iter().flatten().map(port).collect(),
            distribution: spec.traffic_distribution,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}

fn port(port: ServicePort) -> Port {
    Port {
        name: port.name.unwrap_or_default(),
        port: port.port,
        target: port.target_port,
        protocol: port.protocol.unwrap_or_else(|| "TCP".to_owned()),
        app_protocol: port.app_protocol,
    }
}

/// An Endpoints object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Endpoints {
    pub(super) meta: Meta,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) subsets: Vec<EndpointSubset>,
}

impl Projected for Endpoints {
    type Object = core::Endpoints;
    const PLURAL: &'static str = "endpoints";

    fn project(mut object: core::Endpoints) -> Option<Self> {
        let annotations = object.metadata.annotations.take().unwrap_or_default();
        let meta = Meta::take(&mut object.metadata);
        Some(Self { meta, annotations, subsets: object.subsets.unwrap_or_default() })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}

/// A port of a slice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlicePort {
    pub(super) name: String,
    pub(super) port: i32,
    pub(super) protocol: String,
    pub(super) app_protocol: Option<String>,
}

/// One that answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Endpoint {
    pub(super) ip: String,
    /// None where nobody says, as for mirrored addresses.
    pub(super) serving: Option<bool>,
    pub(super) ready: bool,
    pub(super) terminating: Option<bool>,
    pub(super) hostname: Option<String>,
    pub(super) node: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) hint_zone: bool,
    pub(super) hint_node: bool,
    /// Kind, name and UID of who it is.
    pub(super) target: Option<(String, ObjectKey, String)>,
}

/// A slice that one of our controllers wrote.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slice {
    pub(super) meta: Meta,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) family: Option<Family>,
    pub(super) ports: Vec<SlicePort>,
    pub(super) endpoints: Vec<Endpoint>,
}

impl Projected for Slice {
    type Object = discovery::EndpointSlice;
    const PLURAL: &'static str = "endpointslices";

    fn project(mut object: discovery::EndpointSlice) -> Option<Self> {
        let annotations = object.metadata.annotations.take().unwrap_or_default();
        let meta = Meta::take(&mut object.metadata);
        let mut ports: Vec<SlicePort> = object.ports.into_iter().flatten().map(slice_port).collect();
        ports.sort();
        Some(Self {
            meta,
            annotations,
            family: Family::parse(&object.address_type),
            ports,
            endpoints: object.endpoints.into_iter().flatten().map(endpoint).collect(),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        super::service_of(self).map(Term::Service).into_iter().collect()
    }
}

fn slice_port(port: discovery::EndpointPort) -> SlicePort {
    SlicePort {
        name: port.name.unwrap_or_default(),
        port: port.port.unwrap_or_default(),
        protocol: port.protocol.unwrap_or_else(|| "TCP".to_owned()),
        app_protocol: port.app_protocol,
    }
}

fn endpoint(endpoint: discovery::Endpoint) -> Endpoint {
    let conditions = endpoint.conditions.unwrap_or_default();
    let hints = endpoint.hints.unwrap_or_default();
    Endpoint {
        ip: endpoint.addresses.into_iter().next().unwrap_or_default(),
        ready: conditions.ready.unwrap_or(true),
        serving: conditions.serving,
        terminating: conditions.terminating,
        hostname: endpoint.hostname,
        node: endpoint.node_name,
        zone: endpoint.zone,
        hint_zone: hints.for_zones.is_some_and(|zones| !zones.is_empty()),
        hint_node: hints.for_nodes.is_some_and(|nodes| !nodes.is_empty()),
        target: endpoint.target_ref.map(|target| target_of(&target)),
    }
}

pub(super) fn target_of(target: &ObjectReference) -> (String, ObjectKey, String) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (text(&target.kind), ObjectKey::new(text(&target.namespace), text(&target.name)), text(&target.uid))
}

impl Endpoint {
    pub(super) fn to_object(&self) -> discovery::Endpoint {
        let zone = self.zone.as_ref().filter(|_| self.hint_zone);
        let node = self.node.as_ref().filter(|_| self.hint_node);
        let hints = (zone.is_some() || node.is_some()).then(|| discovery::EndpointHints {
            for_zones: zone.map(|name| vec![discovery::ForZone { name: name.clone() }]),
            for_nodes: node.map(|name| vec![discovery::ForNode { name: name.clone() }]),
        });
        discovery::Endpoint {
            addresses: vec![self.ip.clone()],
            conditions: Some(discovery::EndpointConditions {
                ready: Some(self.ready),
                serving: self.serving,
                terminating: self.terminating,
            }),
            hostname: self.hostname.clone(),
            node_name: self.node.clone(),
            zone: self.zone.clone(),
            hints,
            target_ref: self.target.as_ref().map(|(kind, key, uid)| ObjectReference {
                kind: Some(kind.clone()),
                namespace: Some(key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
                name: Some(key.name.clone()),
                uid: Some(uid.clone()).filter(|uid| !uid.is_empty()),
                ..ObjectReference::default()
            }),
            ..discovery::Endpoint::default()
        }
    }
}

impl SlicePort {
    pub(super) fn to_object(&self) -> discovery::EndpointPort {
        discovery::EndpointPort {
            name: Some(self.name.clone()),
            port: Some(self.port),
            protocol: Some(self.protocol.clone()),
            app_protocol: self.app_protocol.clone(),
        }
    }
}
