//! Slices that mirror Endpoints which somebody wrote for a service without a selector.

use super::{
    Sources,
    object::{Endpoint, Endpoints, Family, LEADER, MANAGED_BY, Slice, SlicePort, TRIGGERED, target_of},
    pack::{Group, pack},
    service_of,
    writer::{Common, Writer},
};
use crate::Config;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset};
use orrery_reconcile::{
    Controller, ControllerError, ObjectKey, Outcome, OwnWrites, Queue, Reconcile, Term, owner_reference,
};
use std::{collections::BTreeMap, sync::Arc};

pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How many addresses of one subset are mirrored.
const MAX_MIRRORED: usize = 1000;
const WORKERS: usize = 2;

/// The controller of mirrored slices.
pub(crate) struct Mirroring {
    sources: Sources,
    writer: Writer,
}

pub(super) fn controller(config: &Config, sources: &Sources) -> Controller<Mirroring> {
    let queue = Arc::new(Queue::default());
    let to = Arc::clone(&queue);
    sources.endpoints.on_change(move |old, new| {
        if let Some(endpoints) = new.or(old) {
            to.add(endpoints.meta.key.clone());
        }
    });
    let to = Arc::clone(&queue);
    sources.services.on_change(move |old, new| {
        if let Some(service) = new.or(old).filter(|_| old.map(|old| old.selects) != new.map(|new| new.selects)) {
            to.add(service.meta.key.clone());
        }
    });
    let to = Arc::clone(&queue);
    sources.slices.on_change(move |old, new| {
        let ours = |slice: &&Slice| slice.meta.labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER);
        for key in new.into_iter().chain(old).filter(ours).filter_map(service_of) {
            to.add(key);
        }
    });
    let writer = Writer { client: config.client.clone(), written: OwnWrites::default() };
    let reconciler = Arc::new(Mirroring { sources: sources.clone(), writer });
    let metrics = config.metrics.clone();
    Controller { name: "endpoint-slice-mirroring-controller", reconciler, queue, workers: WORKERS, metrics }
}

impl Reconcile for Mirroring {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        if !self.writer.written.are_seen(key, &self.sources.slices) {
            return Ok(Outcome::BEHIND);
        }
        let of_service = self.sources.slices.found_under(&Term::Service(key.clone()));
        let ours: Vec<Arc<Slice>> = of_service
            .into_iter()
            .filter(|slice| slice.meta.labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER))
            .filter(|slice| slice.meta.deleting.is_none())
            .collect();
        let alone = self.sources.services.get(key).is_some_and(|service| !service.selects);
        let endpoints = self.sources.endpoints.get(key).filter(|endpoints| alone && is_mirrored(endpoints));
        let Some(endpoints) = endpoints else {
            for slice in ours {
                self.writer.delete(key, &slice).await?;
            }
            return Ok(Outcome::Done);
        };
        if endpoints.meta.deleting.is_some() {
            return Ok(Outcome::Done);
        }
        let common = common(&endpoints);
        let plan = pack(&ours, groups(&endpoints.subsets), &[], |slice| common.differs(slice));
        self.writer.apply(&common, plan).await?;
        Ok(Outcome::Done)
    }
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    let skipped = endpoints.meta.labels.get(SKIP).is_some_and(|value| value == "true");
    !skipped && !endpoints.annotations.contains_key(LEADER)
}

fn common(endpoints: &Endpoints) -> Common {
    let mut annotations = endpoints.annotations.clone();
    annotations.retain(|key, _| ![LAST_APPLIED, TRIGGERED].contains(&key.as_str()));
    let mut labels = endpoints.meta.labels.clone();
    labels.remove(MANAGED_BY);
    Common {
        key: endpoints.meta.key.clone(),
        manager: MANAGER,
        owner: owner_reference("v1", "Endpoints", &endpoints.meta.key.name, &endpoints.meta.uid),
        labels,
        annotations,
    }
}

/// The same addresses, by family and ports.
fn groups(subsets: &[EndpointSubset]) -> BTreeMap<Group, Vec<Endpoint>> {
    let mut groups: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    for subset in subsets {
        let mut ports: Vec<SlicePort> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| SlicePort {
                name: port.name.clone().unwrap_or_default(),
                port: port.port,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                app_protocol: port.app_protocol.clone(),
            })
            .collect();
        ports.sort();
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let unready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, ready) in ready.chain(unready).take(MAX_MIRRORED) {
            let group = Group { family: Family::of(&address.ip), ports: ports.clone() };
            groups.entry(group).or_default().push(mirrored(address, ready));
        }
    }
    groups
}

fn mirrored(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        ip: address.ip.clone(),
        ready,
        hostname: address.hostname.clone(),
        node: address.node_name.clone(),
        target: address.target_ref.as_ref().map(target_of),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_mirrored_by_family_and_readiness() {
        let subsets: Vec<EndpointSubset> = serde_json::from_value(json!([
            {"addresses": [{"ip": "10.1.2.3"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.1.2.4"}],
             "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]))
        .unwrap();
        let groups = groups(&subsets);
        let told: Vec<(&str, Vec<(&str, bool)>)> = groups
            .iter()
            .map(|(group, list)| (group.family.as_str(), list.iter().map(|e| (e.ip.as_str(), e.ready)).collect()))
            .collect();
        assert_eq!(told, [("IPv4", vec![("10.1.2.3", true), ("10.1.2.4", false)]), ("IPv6", vec![("fd00::1", true)])]);
    }

    #[test]
    fn what_asks_to_be_left_alone_is() {
        let endpoints = |labels: serde_json::Value, annotations: serde_json::Value| {
            use orrery_reconcile::Projected;
            let object = json!({"metadata": {"name": "e", "labels": labels, "annotations": annotations}});
            Endpoints::project(serde_json::from_value(object).unwrap()).unwrap()
        };
        assert!(is_mirrored(&endpoints(json!({}), json!({}))));
        assert!(!is_mirrored(&endpoints(json!({SKIP: "true"}), json!({}))));
        assert!(!is_mirrored(&endpoints(json!({}), json!({LEADER: "{}"}))));
    }
}
