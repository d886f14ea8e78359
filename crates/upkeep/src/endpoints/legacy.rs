//! `Endpoints` objects of services with a selector: the older form of slices.

use super::{
    Sources,
    object::{Endpoints, Family, HEADLESS, Service},
    service::{belongs, hostname, port_of},
    wake_services,
};
use crate::Config;
use k8s_openapi::{
    api::core::v1::{self as core, EndpointAddress, EndpointPort, EndpointSubset, ObjectReference},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{DeleteParams, PostParams, Preconditions},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, ObjectKey, Outcome, OwnWrites, Queue, Reconcile, Revision, objects::Pod,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// The most addresses in one object.
const MAX_ADDRESSES: usize = 1000;
const WORKERS: usize = 5;

/// The controller of `Endpoints`.
pub(crate) struct Legacy {
    client: kube::Client,
    sources: Sources,
    pods: Cache<Pod>,
    written: OwnWrites,
}

pub(super) fn controller(config: &Config, sources: &Sources) -> Controller<Legacy> {
    let queue = Arc::new(Queue::default());
    wake_services(&sources.services, &config.pods, &queue);
    let to = Arc::clone(&queue);
    sources.endpoints.on_change(move |old, new| {
        if let Some(endpoints) = new.or(old) {
            to.add(endpoints.meta.key.clone());
        }
    });
    let reconciler = Legacy {
        client: config.client.clone(),
        sources: sources.clone(),
        pods: config.pods.clone(),
        written: OwnWrites::default(),
    };
    let metrics = config.metrics.clone();
    Controller { name: MANAGER, reconciler: Arc::new(reconciler), queue, workers: WORKERS, metrics }
}

impl Reconcile for Legacy {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        if !self.written.are_seen(key, &self.sources.endpoints) {
            return Ok(Outcome::BEHIND);
        }
        let present = self.sources.endpoints.get(key);
        let Some(service) = self.sources.services.get(key) else {
            return self.remove(key, present.as_deref()).await;
        };
        if !service.selects || service.external_name {
            return Ok(Outcome::Done);
        }
        let pods = self.pods.in_namespace(&key.namespace);
        let pods: Vec<Arc<Pod>> =
            pods.into_iter().filter(|pod| service.selector.matches_explicitly(&pod.meta.labels)).collect();
        let (subsets, truncated) = subsets(&service, &pods);
        let labels = labels(&service);
        if let Some(present) = &present {
            let marked = present.annotations.contains_key(OVER_CAPACITY);
            if present.subsets == subsets && present.meta.labels == labels && marked == truncated {
                return Ok(Outcome::Done);
            }
        }
        self.write(key, present.as_deref(), subsets, labels, truncated).await
    }
}

impl Legacy {
    fn api(&self, key: &ObjectKey) -> Api<core::Endpoints> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// The service is gone, and its endpoints with it. Those that somebody wrote by hand are theirs.
    async fn remove(&self, key: &ObjectKey, present: Option<&Endpoints>) -> Result<Outcome, ControllerError> {
        self.written.forget(key);
        let Some(present) = present.filter(|present| present.meta.labels.contains_key(MANAGED_BY)) else {
            return Ok(Outcome::Done);
        };
        let precondition = Preconditions { uid: Some(present.meta.uid.0.clone()), resource_version: None };
        let params = DeleteParams::default().preconditions(precondition);
        match self.api(key).delete(&key.name, &params).await {
            Ok(_) => Ok(Outcome::Done),
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(Outcome::Done),
            Err(error) => Err(ControllerError::api("delete the endpoints of a service that is gone")(error)),
        }
    }

    async fn write(
        &self,
        key: &ObjectKey,
        present: Option<&Endpoints>,
        subsets: Vec<EndpointSubset>,
        labels: BTreeMap<String, String>,
        truncated: bool,
    ) -> Result<Outcome, ControllerError> {
        let mut annotations = present.map(|present| present.annotations.clone()).unwrap_or_default();
        annotations.remove(OVER_CAPACITY);
        if truncated {
            annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
        }
        let object = core::Endpoints {
            metadata: ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                labels: Some(labels),
                annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
                uid: present.map(|present| present.meta.uid.0.clone()),
                resource_version: present.map(|present| present.meta.version.to_string()),
                ..ObjectMeta::default()
            },
            subsets: Some(subsets).filter(|subsets| !subsets.is_empty()),
        };
        let written = match present {
            None => self.api(key).create(&PostParams::default(), &object).await,
            Some(_) => self.api(key).replace(&key.name, &PostParams::default(), &object).await,
        };
        match written.map_err(ControllerError::api("write the endpoints of a service")) {
            Ok(written) => {
                self.written.wrote(key, Revision::parse(written.metadata.resource_version.as_deref()));
                Ok(Outcome::Done)
            }
            Err(error) if error.is_namespace_terminating() => Ok(Outcome::Done),
            Err(error) => Err(error),
        }
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.meta.labels.clone();
    labels.remove(HEADLESS);
    if service.headless {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// An address, and whether it is ready.
type Address = (bool, String, ObjectKey);

/// Subsets: ports that the same addresses answer on share one. Whether some were left out.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Vec<EndpointSubset>, bool) {
    let family = service.families.first().copied().unwrap_or(Family::V4);
    let answers = |pod: &&Arc<Pod>| belongs(pod, service.publish_not_ready);
    let mut by_address: BTreeMap<Address, (EndpointAddress, Vec<EndpointPort>)> = BTreeMap::new();
    for pod in pods.iter().filter(answers) {
        let Some(ip) = pod.ips.iter().find(|ip| Family::of(ip) == family) else { continue };
        let port = |port: &super::object::Port| {
            Some(EndpointPort {
                name: Some(port.name.clone()).filter(|name| !name.is_empty()),
                port: port_of(pod, port)?,
                protocol: Some(port.protocol.clone()),
                app_protocol: port.app_protocol.clone(),
            })
        };
        let ports: Vec<EndpointPort> = service.ports.iter().filter_map(port).collect();
        if ports.is_empty() && !(service.ports.is_empty() && service.headless) {
            continue;
        }
        let ready = pod.ready || service.publish_not_ready;
        // Ready ones first, so that they are the last to be left out.
        by_address.insert((!ready, ip.clone(), pod.meta.key.clone()), (address(service, pod, ip), ports));
    }
    let truncated = by_address.len() > MAX_ADDRESSES;
    let kept: Vec<(Address, (EndpointAddress, Vec<EndpointPort>))> =
        by_address.into_iter().take(MAX_ADDRESSES).collect();
    (repack(&kept), truncated)
}

fn repack(addresses: &[(Address, (EndpointAddress, Vec<EndpointPort>))]) -> Vec<EndpointSubset> {
    type PortKey = Option<(String, i32, String, Option<String>)>;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let key =
        |port: &EndpointPort| Some((text(&port.name), port.port, text(&port.protocol), port.app_protocol.clone()));
    let mut by_port: BTreeMap<PortKey, (Option<EndpointPort>, BTreeSet<usize>)> = BTreeMap::new();
    for (index, (_, (_, ports))) in addresses.iter().enumerate() {
        if ports.is_empty() {
            by_port.entry(None).or_default().1.insert(index);
        }
        for port in ports {
            let entry = by_port.entry(key(port)).or_default();
            entry.0 = Some(port.clone());
            entry.1.insert(index);
        }
    }
    let mut by_addresses: BTreeMap<BTreeSet<usize>, Vec<EndpointPort>> = BTreeMap::new();
    for (port, indexes) in by_port.into_values() {
        by_addresses.entry(indexes).or_default().extend(port);
    }
    let some = |list: Vec<EndpointAddress>| Some(list).filter(|list| !list.is_empty());
    let subset = |(indexes, ports): (BTreeSet<usize>, Vec<EndpointPort>)| {
        let of = |unready: bool| {
            let list = indexes.iter().map(|index| &addresses[*index]).filter(|(address, _)| address.0 == unready);
            some(list.map(|(_, (address, _))| address.clone()).collect())
        };
        EndpointSubset {
            addresses: of(false),
            not_ready_addresses: of(true),
            ports: Some(ports).filter(|ports| !ports.is_empty()),
        }
    };
    by_addresses.into_iter().map(subset).collect()
}

fn address(service: &Service, pod: &Pod, ip: &str) -> EndpointAddress {
    EndpointAddress {
        ip: ip.to_owned(),
        hostname: hostname(service, pod),
        node_name: pod.node.clone(),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.meta.key.namespace.clone()),
            name: Some(pod.meta.key.name.clone()),
            uid: Some(pod.meta.uid.0.clone()),
            ..ObjectReference::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_reconcile::{
        Projected,
        objects::{ContainerPort, Phase},
    };
    use serde_json::json;

    fn pod(number: usize, ready: bool, web: Option<i32>) -> Arc<Pod> {
        let mut pod = Pod {
            ready,
            phase: Phase::Running,
            ips: vec![format!("10.0.{}.{}", number / 250, number % 250)],
            ..Pod::default()
        };
        pod.meta.key = ObjectKey::new("demo", format!("p{number:04}"));
        pod.ports =
            web.map(|port| ContainerPort { name: "web".into(), port, protocol: "TCP".into() }).into_iter().collect();
        Arc::new(pod)
    }

    #[expect(clippy::needless_pass_by_value, reason = "a literal reads best by value")]
    fn service(ports: serde_json::Value) -> Service {
        let object =
            json!({"metadata": {"namespace": "demo", "name": "s"}, "spec": {"selector": {"a": "b"}, "ports": ports}});
        Service::project(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn told(subsets: &[EndpointSubset]) -> Vec<(usize, usize, Vec<i32>)> {
        let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
        let ports = |subset: &EndpointSubset| subset.ports.iter().flatten().map(|port| port.port).collect();
        subsets.iter().map(|s| (count(&s.addresses), count(&s.not_ready_addresses), ports(s))).collect()
    }

    #[test]
    fn ports_with_the_same_addresses_share_a_subset() {
        let service = service(json!([
            {"name": "a", "port": 80}, {"name": "b", "port": 443}, {"name": "w", "port": 90, "targetPort": "web"}]));
        let pods = [pod(1, true, Some(9000)), pod(2, false, Some(9000)), pod(3, true, None)];
        let (subsets, truncated) = subsets(&service, &pods);
        assert_eq!(told(&subsets), [(2, 1, vec![80, 443]), (1, 1, vec![9000])]);
        assert!(!truncated);
    }

    #[test]
    fn of_too_many_addresses_the_ready_ones_stay() {
        let pods: Vec<Arc<Pod>> = (0..1100).map(|number| pod(number, number >= 500, None)).collect();
        let (subsets, truncated) = subsets(&service(json!([{"port": 80}])), &pods);
        assert_eq!((told(&subsets), truncated), (vec![(600, 400, vec![80])], true));
    }
}
