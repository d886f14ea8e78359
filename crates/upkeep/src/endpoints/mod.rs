//! Which pods answer for a service: `Endpoints` and `EndpointSlice` objects.
//!
//! ```text
//! service with a selector ──► its pods ──► EndpointSlices (up to 100 endpoints each, by ports and address family)
//!                                     └──► Endpoints of the same name (the older form, up to 1000 addresses)
//! Endpoints that somebody wrote for a service without a selector ──► EndpointSlices that mirror them
//! ```
//!
//! * [`service`] says what a service's pods come to; [`pack`] puts that into as few and as rarely changed slices as can be.
//! * [`slices`], [`legacy`] and [`mirroring`] are the three controllers.

mod legacy;
mod mirroring;
mod object;
mod pack;
mod service;
mod slices;
mod writer;

use crate::Config;
use kube::Api;
use object::{Endpoints, Service, Slice};
use orrery_reconcile::{Cache, ObjectKey, Options, Queue, Tasks, objects::Pod};
use std::sync::Arc;

/// What the three controllers read.
#[derive(Clone)]
struct Sources {
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    slices: Cache<Slice>,
}

/// Starts the three controllers.
pub(crate) fn start(tasks: &mut Tasks, config: &Config) {
    let metrics = &config.metrics;
    let sources = Sources {
        services: Cache::new(metrics.clone()),
        endpoints: Cache::new(metrics.clone()),
        slices: Cache::new(metrics.clone()),
    };
    let client = &config.client;
    tasks.follow(&sources.services, Api::all(client.clone()), Options::default());
    tasks.follow(&sources.endpoints, Api::all(client.clone()), Options::default());
    let managed = format!("{} in ({}, {})", object::MANAGED_BY, slices::MANAGER, mirroring::MANAGER);
    let managed = Options { labels: Some(managed), ..Options::default() };
    tasks.follow(&sources.slices, Api::all(client.clone()), managed);
    let ready = || {
        let (sources, pods, nodes) = (sources.clone(), config.pods.clone(), config.nodes.clone());
        async move {
            tokio::join!(
                sources.services.synced(),
                sources.endpoints.synced(),
                sources.slices.synced(),
                pods.synced(),
                nodes.synced()
            );
        }
    };
    tasks.run(slices::controller(config, &sources), ready());
    tasks.run(legacy::controller(config, &sources), ready());
    tasks.run(mirroring::controller(config, &sources), ready());
}

/// Has a service looked at when it changes, or a pod that answers for it does.
fn wake_services(services: &Cache<Service>, pods: &Cache<Pod>, queue: &Arc<Queue>) {
    let to = Arc::clone(queue);
    services.on_change(move |old, new| {
        if let Some(service) = new.or(old) {
            to.add(service.meta.key.clone());
        }
    });
    let (to, services) = (Arc::clone(queue), services.clone());
    pods.on_change(move |old, new| {
        let Some(pod) = new.or(old) else { return };
        if let (Some(old), Some(new)) = (old, new)
            && service::looks_the_same(old, new)
        {
            return;
        }
        for service in services.in_namespace(&pod.meta.key.namespace) {
            let picks =
                |pod: Option<&Pod>| pod.is_some_and(|pod| service.selector.matches_explicitly(&pod.meta.labels));
            if picks(old) || picks(new) {
                to.add(service.meta.key.clone());
            }
        }
    });
}

/// The name of the service that a slice is about.
fn service_of(slice: &Slice) -> Option<ObjectKey> {
    let name = slice.meta.labels.get(object::SERVICE_NAME)?;
    Some(ObjectKey::new(&slice.meta.key.namespace, name))
}
