//! The controllers that keep a cluster in order, whatever runs on it.
//!
//! | controller | what it does |
//! |---|---|
//! | [`garbage`] | deletes what has lost its owners, in the background, the foreground or orphaning |
//! | [`endpoints`] | says which pods answer for a service, in Endpoints and EndpointSlices |
//! | [`disruption`] | says how many pods of a budget may be evicted |
//! | [`quota`] | counts what is used of quotas |
//! | [`certificates`] | approves and signs certificate requests, and removes old ones |
//! | [`accounts`] | gives each namespace its `default` ServiceAccount and the root authority |
//! | [`namespaces`] | empties and finalizes terminating namespaces, pods first |
//! | [`nodes`] | marks and taints nodes that fell silent or are unwell, and removes pods by taint or that nobody ends |
//!
//! Each is a pure plan between reading caches and writing to the API, on the frame of `orrery-reconcile`. None holds
//! anything that could not be read again. What is not here: controllers that make pods (`orrery-workloads`).
//!
//! Tasks: [`run`] starts one task for each cache and a few workers for each controller; a task that panics is started
//! again. They meet in the API only.
//!
//! Start reading at [`run`].
#![forbid(unsafe_code)]

mod accounts;
mod certificates;
mod disruption;
mod endpoints;
mod garbage;
mod namespaces;
mod nodes;
mod quota;

pub use certificates::{CertificateSigner, SignError, SignerName, Subject};

use k8s_openapi::api::core::v1;
use kube::Api;
use orrery_reconcile::{
    Cache, Metrics, Options, Recorder, Tasks,
    objects::{Namespace, Node, Pod},
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the controllers need.
#[derive(Clone)]
pub struct Config {
    /// To the API, as a user who may do what the controllers do.
    pub client: kube::Client,
    /// Pods; whoever shares them fills them.
    pub pods: Cache<Pod>,
    /// Nodes; whoever shares them fills them.
    pub nodes: Cache<Node>,
    /// Namespaces; whoever shares them fills them.
    pub namespaces: Cache<Namespace>,
    /// Who writes events.
    pub events: Recorder,
    /// Where it is counted.
    pub metrics: Metrics,
    /// PEM of the authority that signs the API server, for the config maps `kube-root-ca.crt`; none makes none.
    pub root_ca_pem: Option<String>,
    /// Who signs certificates; without one requests wait.
    pub signer: Option<Arc<dyn CertificateSigner>>,
}

/// Runs all controllers until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) {
    let mut tasks = Tasks::new(shutdown);
    start_accounts(&mut tasks, &config);
    let namespaces = config.namespaces.clone();
    let controller = namespaces::controller(config.client.clone(), &config.namespaces, &config.metrics);
    tasks.run(controller, async move { namespaces.synced().await });
    nodes::start(&mut tasks, &config);
    let kinds = garbage::start(&mut tasks, &config);
    certificates::start(&mut tasks, &config);
    disruption::start(&mut tasks, &config, &kinds);
    quota::start(&mut tasks, &config, &kinds);
    endpoints::start(&mut tasks, &config);
    tasks.ended().await;
}

fn start_accounts(tasks: &mut Tasks, config: &Config) {
    let (accounts, roots) = (Cache::new(config.metrics.clone()), Cache::new(config.metrics.clone()));
    let called = |name: &str| Options { fields: Some(format!("metadata.name={name}")), ..Options::default() };
    let client = config.client.clone();
    tasks.follow(&accounts, Api::<v1::ServiceAccount>::all(client.clone()), called(accounts::DEFAULT));
    tasks.follow(&roots, Api::<v1::ConfigMap>::all(client.clone()), called(accounts::ROOT_CA));
    let root_ca = config.root_ca_pem.clone();
    let namespaces = config.namespaces.clone();
    let controller = accounts::controller(client, &namespaces, &accounts, &roots, root_ca, &config.metrics);
    tasks.run(controller, async move {
        tokio::join!(namespaces.synced(), accounts.synced(), roots.synced());
    });
}
