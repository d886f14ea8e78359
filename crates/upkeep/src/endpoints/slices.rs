//! Slices of services with a selector.

use super::{
    Sources,
    object::{HEADLESS, MANAGED_BY, SERVICE_NAME, Service, Slice},
    pack::pack,
    service::endpoints,
    service_of, wake_services,
    writer::{Common, Writer},
};
use crate::Config;
use orrery_reconcile::{
    Cache, Controller, ControllerError, ObjectKey, Outcome, OwnWrites, Queue, Reconcile, Term,
    objects::{Node, Pod},
    owner_reference,
};
use std::{collections::BTreeMap, sync::Arc};

pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
const WORKERS: usize = 5;
const ZONE: &str = "topology.kubernetes.io/zone";

/// The controller of slices.
pub(crate) struct Slices {
    sources: Sources,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    writer: Writer,
}

pub(super) fn controller(config: &Config, sources: &Sources) -> Controller<Slices> {
    let queue = Arc::new(Queue::default());
    wake_services(&sources.services, &config.pods, &queue);
    let to = Arc::clone(&queue);
    sources.slices.on_change(move |old, new| {
        let ours = new.or(old).filter(|slice| slice.meta.labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER));
        for key in ours.into_iter().chain(old).filter_map(service_of) {
            to.add(key);
        }
    });
    let reconciler = Slices {
        sources: sources.clone(),
        pods: config.pods.clone(),
        nodes: config.nodes.clone(),
        writer: Writer { client: config.client.clone(), written: OwnWrites::default() },
    };
    let (reconciler, metrics) = (Arc::new(reconciler), config.metrics.clone());
    Controller { name: "endpoint-slice-controller", reconciler, queue, workers: WORKERS, metrics }
}

impl Reconcile for Slices {
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
        let service = self.sources.services.get(key);
        // Without a selector the slices are somebody else's; those of a service that is gone are garbage.
        let Some(service) = service.filter(|service| service.selects && !service.external_name) else {
            for slice in ours {
                self.writer.delete(key, &slice).await?;
            }
            return Ok(Outcome::Done);
        };
        if service.meta.deleting.is_some() {
            return Ok(Outcome::Done);
        }
        let pods: Vec<Arc<Pod>> = self.pods.in_namespace(&key.namespace);
        let pods: Vec<Arc<Pod>> =
            pods.into_iter().filter(|pod| service.selector.matches_explicitly(&pod.meta.labels)).collect();
        let zone = |node: &str| self.nodes.get(&ObjectKey::cluster(node))?.meta.labels.get(ZONE).cloned();
        let common = common(&service);
        let wanted = endpoints(&service, &pods, zone);
        let plan = pack(&ours, wanted, &service.families, |slice| common.differs(slice));
        self.writer.apply(&common, plan).await?;
        Ok(Outcome::Done)
    }
}

fn common(service: &Service) -> Common {
    let reserved = [SERVICE_NAME, MANAGED_BY, HEADLESS];
    let mut labels: BTreeMap<String, String> = service.meta.labels.clone();
    labels.retain(|key, _| !reserved.contains(&key.as_str()));
    if service.headless {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    Common {
        key: service.meta.key.clone(),
        manager: MANAGER,
        owner: owner_reference("v1", "Service", &service.meta.key.name, &service.meta.uid),
        labels,
        annotations: BTreeMap::new(),
    }
}
