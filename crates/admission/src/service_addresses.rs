//! `ServiceAddresses`: gives Services their cluster addresses and node ports.
//!
//! An address is taken by an `IPAddress` object of its name, which is written in the transaction that writes the Service: of two
//! Services that want the same one, the second is judged again. It is given back with the Service, in the transaction
//! that deletes it. A node port is taken by the Service that has it; writes that take the same one are told apart by a mark that each
//! sets. Upstream does this in the registry of Services; here it is a plugin like any other.

mod range;

pub use range::{InvalidRange, Range};

use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_machinery::{
    meta,
    status::{ApiError, FieldError, Target},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::Ipv4Addr};

const GROUP: &str = "networking.k8s.io";
const ADDRESSES: &str = "ipaddresses";
/// Ports of nodes that Services may have.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

/// The plugin.
pub(crate) struct ServiceAddresses {
    pub(crate) range: Range,
}

#[async_trait::async_trait]
impl Plugin for ServiceAddresses {
    fn name(&self) -> &'static str {
        "ServiceAddresses"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.is("", "services") && request.operation != Operation::Connect
    }

    async fn change(
        &self,
        request: &AdmissionRequest<'_>,
        service: &mut Value,
        review: &mut Review,
    ) -> Result<bool, ApiError> {
        keep_allocated(request.old, service);
        match wants(service) {
            Wants::Nothing => {}
            Wants::Headless => {
                service["spec"]["clusterIP"] = json!("None");
                service["spec"]["clusterIPs"] = json!(["None"]);
            }
            Wants::Address => self.give_address(request, service, review).await?,
        }
        if needs_node_ports(service) {
            give_node_ports(request, service, review).await?;
        }
        Ok(true)
    }

    async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        service: Option<&Value>,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        // What the Service had and has no more is free again.
        let had = request.old.and_then(address);
        let Some(gone) = had.filter(|had| service.and_then(address).as_ref() != Some(had)) else { return Ok(()) };
        let ends = service.is_some() || request.old.is_some_and(|old| meta::finalizers(old).is_empty());
        if ends && let Some(object) = request.reader.get(GROUP, ADDRESSES, "", &gone.to_string()).await? {
            review.remove.push(object);
        }
        Ok(())
    }
}

enum Wants {
    /// An alias has no address.
    Nothing,
    Headless,
    Address,
}

fn wants(service: &Value) -> Wants {
    let spec = &service["spec"];
    let (kind, given) = (spec["type"].as_str().unwrap_or("ClusterIP"), spec["clusterIP"].as_str().unwrap_or_default());
    match (kind, given) {
        ("ExternalName", _) => Wants::Nothing,
        (_, "None") => Wants::Headless,
        _ => Wants::Address,
    }
}

fn address(service: &Value) -> Option<Ipv4Addr> {
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

/// An update that leaves out what was allocated keeps it, unless the Service becomes another kind.
fn keep_allocated(old: Option<&Value>, service: &mut Value) {
    let Some(old) = old else { return };
    let is_alias = service["spec"]["type"] == "ExternalName";
    if is_alias && old["spec"]["type"] != "ExternalName" {
        // Left behind by a client that changed only the type.
        if service["spec"]["clusterIP"] == old["spec"]["clusterIP"]
            && let Some(spec) = service["spec"].as_object_mut()
        {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
    } else if !is_alias && service["spec"]["clusterIP"].as_str().unwrap_or_default().is_empty() {
        for field in ["clusterIP", "clusterIPs"] {
            if !old["spec"][field].is_null() {
                service["spec"][field] = old["spec"][field].clone();
            }
        }
    }
    let old_ports = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for port in service["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let same = |old: &&Value| old["port"] == port["port"] && old["protocol"] == port["protocol"];
        let before = old_ports.iter().find(same).and_then(|old| old["nodePort"].as_i64());
        if let Some(before) = before.filter(|_| port["nodePort"].is_null()) {
            port["nodePort"] = json!(before);
        }
    }
}

impl ServiceAddresses {
    async fn give_address(
        &self,
        request: &AdmissionRequest<'_>,
        service: &mut Value,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        let given = service["spec"]["clusterIP"].as_str().filter(|given| !given.is_empty()).map(str::to_owned);
        if given.is_some() && given.as_deref() == request.old.and_then(|old| old["spec"]["clusterIP"].as_str()) {
            return Ok(());
        }
        let taken: BTreeSet<Ipv4Addr> = request
            .reader
            .list(GROUP, ADDRESSES, "")
            .await?
            .iter()
            .filter_map(|object| meta::name(object).parse().ok())
            .collect();
        let address = match given {
            Some(given) => self.check_given(request, &given, &taken)?,
            None => self.range.free(&taken, seed(service)).ok_or_else(|| {
                ApiError::internal(format!("failed to allocate a serviceIP: range {} is full", self.range))
            })?,
        };
        let text = address.to_string();
        service["spec"]["clusterIP"] = json!(text);
        service["spec"]["clusterIPs"] = json!([text]);
        review.create.push(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
            "metadata": {"name": text, "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
            "spec": {"parentRef": {"group": "", "resource": "services", "namespace": request.namespace,
                "name": request.name}},
        }));
        Ok(())
    }

    fn check_given(
        &self,
        request: &AdmissionRequest<'_>,
        given: &str,
        taken: &BTreeSet<Ipv4Addr>,
    ) -> Result<Ipv4Addr, ApiError> {
        let why = match given.parse::<Ipv4Addr>() {
            Err(_) => "failed to allocate IP: it is not an IPv4 address".to_owned(),
            Ok(address) if !self.range.contains(address) => {
                format!(
                    "failed to allocate IP {given}: the provided IP ({given}) is not in the valid range. The range of \
                    valid IPs is {}",
                    self.range
                )
            }
            Ok(address) if taken.contains(&address) => {
                format!("failed to allocate IP {given}: provided IP is already allocated")
            }
            Ok(address) => return Ok(address),
        };
        Err(invalid(request, FieldError::invalid("spec.clusterIPs", &json!([given]), &why)))
    }
}

fn needs_node_ports(service: &Value) -> bool {
    match service["spec"]["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

async fn give_node_ports(
    request: &AdmissionRequest<'_>,
    service: &mut Value,
    review: &mut Review,
) -> Result<(), ApiError> {
    // Read before the Services: whoever takes a port after these were read has set its mark anew.
    let marks = request.reader.marks("nodeports").await?;
    let had: BTreeSet<u16> = request.old.into_iter().flat_map(node_ports).collect();
    let others = request.reader.list("", "services", "").await?;
    let own = (request.namespace, request.name);
    let mut taken: BTreeSet<u16> =
        others.iter().filter(|other| (meta::namespace(other), meta::name(other)) != own).flat_map(node_ports).collect();
    let start = seed(service);
    for (index, port) in service["spec"]["ports"].as_array_mut().into_iter().flatten().enumerate() {
        let field = format!("spec.ports[{index}].nodePort");
        match port["nodePort"].as_i64().filter(|port| *port != 0) {
            Some(given) => {
                let number = u16::try_from(given).unwrap_or(0);
                if !NODE_PORTS.contains(&number) {
                    let why = "provided port is not in the valid range. The range of valid ports is 30000-32767";
                    return Err(invalid(request, FieldError::invalid(field, &json!(given), why)));
                }
                if taken.contains(&number) {
                    return Err(invalid(
                        request,
                        FieldError::invalid(field, &json!(given), "provided port is already allocated"),
                    ));
                }
                taken.insert(number);
            }
            None => {
                let free = free_port(&taken, start)
                    .ok_or_else(|| ApiError::internal("failed to allocate a nodePort: range is full"))?;
                taken.insert(free);
                port["nodePort"] = json!(free);
            }
        }
    }
    let has: BTreeSet<u16> = node_ports(service).collect();
    review.marks.extend(has.difference(&had).map(|port| marks.get(&port.to_string())));
    Ok(())
}

fn node_ports(service: &Value) -> impl Iterator<Item = u16> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports.filter_map(|port| u16::try_from(port["nodePort"].as_i64()?).ok()).filter(|port| *port != 0)
}

/// A port that is not taken; the first from `start` on.
fn free_port(taken: &BTreeSet<u16>, start: u64) -> Option<u16> {
    let count = u64::try_from(NODE_PORTS.len()).unwrap_or(1);
    let mut candidates = (0..count).map(|step| NODE_PORTS.start() + u16::try_from((start + step) % count).unwrap_or(0));
    candidates.find(|port| !taken.contains(port))
}

/// Where to begin looking, so that Services that are made at once seldom look at the same place: a hash of the uid.
fn seed(service: &Value) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    meta::uid(service).bytes().fold(0xcbf2_9ce4_8422_2325, fold) % (1 << 32)
}

fn invalid(request: &AdmissionRequest<'_>, error: FieldError) -> ApiError {
    ApiError::invalid("Service", Target { group: "", resource: "services", name: request.name }, &[error])
}
