//! The controllers that make pods, and the scheduler.
//!
//! They are clients of the API server like any other, through `kube`; none of them holds anything that could not be read
//! again.
//!
//! | controller | what it does |
//! |---|---|
//! | [`scheduler`] | binds pods to nodes: Kubernetes filters, then DRS's word through a [`Placer`] |
//! | [`deployments`] | moves pods from one template to the next through replica sets |
//! | [`daemons`] | one pod on each node that fits: DaemonSets |
//! | [`stateful`] | numbered pods with claims of their own: StatefulSets |
//! | [`cron`] | a job at each time that a schedule names: CronJobs |
//! | [`jobs`] | runs pods until enough have succeeded, and deletes jobs whose time is over |
//! | [`replicas`] | as many pods of one template as asked for: ReplicaSets and ReplicationControllers |
//!
//! [`pods`] is what they have in common. What keeps the cluster in order whatever runs on it (garbage, namespaces, nodes,
//! endpoints ...) is in `orrery-upkeep`; [`run`] starts that, too. What is not here: running pods (Spherelet does).
//!
//! Tasks: [`run`] starts one task for each cache, shared by all controllers, and a few workers for each controller
//! (`orrery-reconcile`). There are no channels between controllers: they meet in the API.
//!
//! Start reading at [`run`], then [`replicas`].
#![forbid(unsafe_code)]

mod cron;
mod daemons;
mod deployments;
mod history;
mod jobs;
mod mirror;
mod pods;
mod project;
mod replicas;
mod scheduler;
mod stateful;

pub use orrery_reconcile::Metrics;
pub use orrery_upkeep::{CertificateSigner, SignError, SignerName, Subject};
pub use project::{InvalidPod, pod_view};
pub use scheduler::{Placer, PlacerError};

use cron::CronJob;
use daemons::DaemonSet;
use deployments::Deployment;
use history::TemplateRevision;
use jobs::Job;
use k8s_openapi::api::core::v1;
use kube::Api;
use orrery_reconcile::{
    Cache, Options, Recorder, Tasks,
    objects::{Namespace, Node, Pod},
    supervise, write_events,
};
use replicas::{ReplicaSet, ReplicationController};
use stateful::StatefulSet;
use std::sync::Arc;
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
    /// PEM of the authority that signs the API server, which each namespace is given; none gives none.
    pub root_ca_pem: Option<String>,
    /// Who signs certificates; without one requests wait.
    pub signer: Option<Arc<dyn CertificateSigner>>,
    /// Where the controllers count what they do.
    pub metrics: Metrics,
}

/// Runs all controllers until `shutdown`. What fails or panics is started again; failures of the API are retried for ever.
pub async fn run(config: Config, shutdown: CancellationToken) {
    let mut tasks = Tasks::new(shutdown.clone());
    let (events, writer) = write_events(config.client.clone(), "controllers");
    tasks.spawn_until_shutdown(writer);
    let setup = scheduler::Setup {
        client: config.client.clone(),
        placer: Arc::clone(&config.placer),
        supervisor: config.supervisor.clone(),
        events: events.clone(),
    };
    tasks.spawn(supervise("scheduler", shutdown.clone(), move || scheduler::run(setup.clone())));
    let shared = Shared::start(&mut tasks, &config);
    start_replicas(&mut tasks, &config, &shared, &events);
    start_jobs(&mut tasks, &config, &shared, &events);
    start_revisioned(&mut tasks, &config, &shared, &events);
    let upkeep = orrery_upkeep::Config {
        client: config.client,
        pods: shared.pods,
        nodes: shared.nodes,
        namespaces: shared.namespaces,
        events,
        metrics: config.metrics,
        root_ca_pem: config.root_ca_pem,
        signer: config.signer,
    };
    tasks.spawn(orrery_upkeep::run(upkeep, shutdown));
    tasks.ended().await;
}

/// The caches that many controllers read.
struct Shared {
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    namespaces: Cache<Namespace>,
}

impl Shared {
    fn start(tasks: &mut Tasks, config: &Config) -> Self {
        let metrics = &config.metrics;
        let shared = Self {
            pods: Cache::new(metrics.clone()),
            nodes: Cache::new(metrics.clone()),
            namespaces: Cache::new(metrics.clone()),
        };
        let client = &config.client;
        tasks.follow(&shared.pods, Api::<v1::Pod>::all(client.clone()), Options::default());
        tasks.follow(&shared.nodes, Api::<v1::Node>::all(client.clone()), Options::default());
        tasks.follow(&shared.namespaces, Api::<v1::Namespace>::all(client.clone()), Options::default());
        shared
    }
}

fn start_replicas(tasks: &mut Tasks, config: &Config, shared: &Shared, events: &Recorder) {
    let (client, metrics) = (&config.client, &config.metrics);
    let deployments: Cache<Deployment> = Cache::new(metrics.clone());
    let sets: Cache<ReplicaSet> = Cache::new(metrics.clone());
    let older: Cache<ReplicationController> = Cache::new(metrics.clone());
    let all = Options::default;
    tasks.follow(&deployments, Api::all(client.clone()), all());
    tasks.follow(&sets, Api::all(client.clone()), all());
    tasks.follow(&older, Api::all(client.clone()), all());
    let pods = &shared.pods;
    let controller = replicas::controller(client.clone(), &sets, pods, events, metrics);
    let (ready_sets, ready_pods) = (sets.clone(), pods.clone());
    tasks.run(controller, async move {
        tokio::join!(ready_sets.synced(), ready_pods.synced());
    });
    let controller = replicas::controller(client.clone(), &older, pods, events, metrics);
    let ready_pods = pods.clone();
    tasks.run(controller, async move {
        tokio::join!(older.synced(), ready_pods.synced());
    });
    let controller = deployments::controller(client.clone(), &deployments, &sets, pods, events, metrics);
    let ready_pods = pods.clone();
    tasks.run(controller, async move {
        tokio::join!(deployments.synced(), sets.synced(), ready_pods.synced());
    });
}

fn start_jobs(tasks: &mut Tasks, config: &Config, shared: &Shared, events: &Recorder) {
    let jobs: Cache<Job> = Cache::new(config.metrics.clone());
    tasks.follow(&jobs, Api::all(config.client.clone()), Options::default());
    let pods = shared.pods.clone();
    let crons: Cache<CronJob> = Cache::new(config.metrics.clone());
    tasks.follow(&crons, Api::all(config.client.clone()), Options::default());
    let controller = cron::controller(config.client.clone(), &crons, &jobs, events, &config.metrics);
    let ready_jobs = jobs.clone();
    tasks.run(controller, async move {
        tokio::join!(crons.synced(), ready_jobs.synced());
    });
    let controller = jobs::controller(config.client.clone(), &jobs, &pods, events, &config.metrics);
    tasks.run(controller, async move {
        tokio::join!(jobs.synced(), pods.synced());
    });
}

fn start_revisioned(tasks: &mut Tasks, config: &Config, shared: &Shared, events: &Recorder) {
    let (client, metrics) = (&config.client, &config.metrics);
    let daemons: Cache<DaemonSet> = Cache::new(metrics.clone());
    let stateful: Cache<StatefulSet> = Cache::new(metrics.clone());
    let revisions: Cache<TemplateRevision> = Cache::new(metrics.clone());
    tasks.follow(&daemons, Api::all(client.clone()), Options::default());
    tasks.follow(&stateful, Api::all(client.clone()), Options::default());
    tasks.follow(&revisions, Api::all(client.clone()), Options::default());
    let (pods, nodes) = (shared.pods.clone(), shared.nodes.clone());
    let sources = daemons::Sources { sets: &daemons, pods: &pods, nodes: &nodes, revisions: &revisions };
    let controller = daemons::controller(client.clone(), &sources, events, metrics);
    let ready = (revisions.clone(), pods.clone());
    tasks.run(controller, async move {
        tokio::join!(daemons.synced(), ready.0.synced(), ready.1.synced(), nodes.synced());
    });
    let controller = stateful::controller(client.clone(), &stateful, &pods, &revisions, events, metrics);
    tasks.run(controller, async move {
        tokio::join!(stateful.synced(), revisions.synced(), pods.synced());
    });
}
