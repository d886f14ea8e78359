//! The controllers that make a Kubernetes API alive, and the scheduler.
//!
//! They are clients of the API server like any other, through `kube`; none of them holds anything that could not be read
//! again. Each keeps a projected copy of what it watches ([`mirror`]): only the fields that it uses.
//!
//! | controller | what it does |
//! |---|---|
//! | [`scheduler`] | binds pods to nodes: Kubernetes filters, then DRS's word through a [`Placer`] |
//! | [`namespaces`] | empties and finalizes terminating namespaces |
//! | [`nodes`] | marks and taints nodes that fell silent |
//! | [`accounts`] | gives each namespace its `default` ServiceAccount |
//!
//! What is not here: running pods (Spherelet does), garbage collection, workload controllers such as Deployments, and
//! eviction from nodes that fell silent.
//!
//! Tasks: [`run`] starts one task per controller; each is restarted with back-off when it fails ([`supervise`]). There
//! are no channels between them: they meet in the API.
//!
//! Start reading at [`scheduler`].
#![forbid(unsafe_code)]

mod accounts;
mod events;
mod mirror;
mod namespaces;
mod nodes;
mod project;
mod scheduler;
mod supervise;

pub use project::{InvalidPod, pod_view};
pub use scheduler::{Placer, PlacerError};

use std::sync::Arc;
use supervise::supervise;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the controllers need.
#[derive(Clone)]
pub struct Config {
    /// To the Supervisor's API, as a user who may do what the controllers do.
    pub client: kube::Client,
    /// Who has the last word on a pod's host.
    pub placer: Arc<dyn Placer>,
    /// The Supervisor's name, for placement reviews.
    pub supervisor: String,
}

/// Why the controllers ended before they were told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A controller's task panicked. Its message is in the log.
    #[error("a controller panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Runs all controllers until `shutdown`.
///
/// # Errors
/// When a controller panics. Failures of the API are retried for ever.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    let Config { client, placer, supervisor } = config;
    let mut tasks = JoinSet::new();
    let scheduler = scheduler::Setup { client: client.clone(), placer, supervisor };
    tasks.spawn(supervise("scheduler", shutdown.clone(), move || scheduler::run(scheduler.clone())));
    let of = client.clone();
    tasks.spawn(supervise("namespaces", shutdown.clone(), move || namespaces::run(of.clone())));
    let of = client.clone();
    tasks.spawn(supervise("nodes", shutdown.clone(), move || nodes::run(of.clone())));
    tasks.spawn(supervise("service-accounts", shutdown.clone(), move || accounts::run(client.clone())));
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            shutdown.cancel();
            outcome = Err(RunError::Panicked(error));
        }
    }
    outcome
}
