//! The scheduler: from a pod without a node to a binding.
//!
//! ```text
//! pending --filters, DRS: a host--> assumed --binding done, seen in the watch--> bound
//!    ^  \                              |
//!    |   `--no host: event, condition, back-off, a change of the cluster--> pending
//!    `-------------------------binding refused-------------------------------'
//! ```
//!
//! Everything pending is placed together: the filters say which nodes each pod may use, one placement review asks DRS for
//! the final host of each ([`placer`]), each answer is checked once more with what the batch itself has used up, and the
//! pods are bound. A pod that was just bound counts on its node before the watch shows it. What a node refuses later is
//! Spherelet's to say.
//!
//! One task owns all of this; it keeps no queue but [`queue::Queue`], which is made anew from the watch after a restart.

mod apply;
mod cycle;
mod placer;
mod pods;
mod queue;

pub use placer::{Placer, PlacerError};

use crate::{mirror::Mirror, project::node_view};
use apply::Apply;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, runtime::watcher};
use orrery_api::names::HostName;
use orrery_drs::{amounts::Amounts, view::NodeView};
use orrery_reconcile::{ControllerError, Recorder};
use placer::Asker;
use pods::{PendingPod, PodState, pod_state};
use queue::Queue;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// The name that pods ask for us by.
const SCHEDULER_NAME: &str = "default-scheduler";
/// The most pods that are placed together.
const MAX_BATCH: usize = 64;
/// How many bindings are under way at once.
const BINDINGS_AT_ONCE: usize = 16;
/// How long a pod that was bound counts on its node without being seen there.
const ASSUMED_FOR: Duration = Duration::from_secs(30);

/// What the scheduler needs.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) client: kube::Client,
    pub(crate) placer: Arc<dyn Placer>,
    pub(crate) supervisor: String,
    pub(crate) events: Recorder,
}

/// A pod that was bound and is not yet seen so.
struct Assumed {
    host: HostName,
    requests: Amounts,
    since: Instant,
}

struct Scheduler {
    pods: Mirror<Pod, PodState>,
    nodes: Mirror<Node, NodeView>,
    assumed: BTreeMap<String, Assumed>,
    queue: Queue,
    asker: Asker,
    apply: Apply,
}

/// Schedules until the watches end.
pub(crate) async fn run(setup: Setup) -> Result<(), ControllerError> {
    let Setup { client, placer, supervisor, events } = setup;
    let all = watcher::Config::default;
    let mut scheduler = Scheduler {
        // Room is made when a bound pod goes; one that comes is no reason to try others again.
        pods: Mirror::new("pods", Api::all(client.clone()), all(), pod_state)
            .versioned_by(|old, new| matches!(old, Some(PodState::Bound(_))) && old != new),
        nodes: Mirror::new("nodes", Api::all(client.clone()), all(), node_view),
        assumed: BTreeMap::new(),
        queue: Queue::default(),
        asker: Asker::new(placer, supervisor),
        apply: Apply::new(client, events.signed(SCHEDULER_NAME)),
    };
    loop {
        let wake = scheduler.queue.next_wake();
        tokio::select! {
            // Cancel-safe: see `Mirror::changed`.
            changed = scheduler.pods.changed() => changed?,
            changed = scheduler.nodes.changed() => changed?,
            // Cancel-safe: a timer.
            () = sleep_until(wake) => {}
        }
        if scheduler.pods.synced() && scheduler.nodes.synced() {
            scheduler.cycle().await;
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

impl Scheduler {
    /// Places batches until nothing is due.
    async fn cycle(&mut self) {
        loop {
            self.forget_assumed(Instant::now());
            let (batch, more) = self.due(Instant::now());
            if batch.is_empty() {
                return;
            }
            self.place(batch).await;
            if !more {
                return;
            }
        }
    }

    /// The version of everything that could make room for a pod.
    fn version(&self) -> u64 {
        self.pods.version() + self.nodes.version()
    }

    /// The pods to place now, most important first, and whether there are more.
    fn due(&mut self, now: Instant) -> (Vec<PendingPod>, bool) {
        let version = self.version();
        let pending = self.pods.items().values().filter_map(PodState::pending);
        let pending: Vec<&PendingPod> = pending.filter(|pod| !self.assumed.contains_key(&pod.uid)).collect();
        self.queue.keep_only(&pending);
        let mut due: Vec<&PendingPod> =
            pending.into_iter().filter(|pod| self.queue.is_due(pod, version, now)).collect();
        due.sort_by(|a, b| a.order().cmp(&b.order()));
        let more = due.len() > MAX_BATCH;
        (due.into_iter().take(MAX_BATCH).cloned().collect(), more)
    }

    /// Drops what the watch shows by now, and what it never showed.
    fn forget_assumed(&mut self, now: Instant) {
        let pending: BTreeSet<&str> =
            self.pods.items().values().filter_map(PodState::pending).map(|pod| pod.uid.as_str()).collect();
        self.assumed
            .retain(|uid, assumed| pending.contains(uid.as_str()) && now.duration_since(assumed.since) < ASSUMED_FOR);
    }

    /// The nodes with everything that runs on them or is about to.
    fn nodes(&self) -> BTreeMap<HostName, NodeView> {
        let mut nodes: BTreeMap<HostName, NodeView> =
            self.nodes.items().values().map(|node| (node.name.clone(), node.clone())).collect();
        let bound = self.pods.items().values().filter_map(PodState::bound).map(|pod| (&pod.host, &pod.requests));
        let assumed = self.assumed.values().map(|assumed| (&assumed.host, &assumed.requests));
        for (host, requests) in bound.chain(assumed) {
            if let Some(node) = nodes.get_mut(host) {
                node.charge(requests);
            }
        }
        nodes
    }

    async fn place(&mut self, batch: Vec<PendingPod>) {
        let version = self.version();
        let nodes = self.nodes();
        let plan = cycle::filter(&nodes, batch);
        let answers = self.asker.ask(&plan, &nodes).await;
        let settled = cycle::settle(plan, answers, nodes);
        let apply = &self.apply;
        let done: Vec<(PendingPod, apply::Done)> = futures::stream::iter(settled)
            .map(|(pod, outcome)| async move {
                let done = apply.carry_out(&pod, &outcome).await;
                (pod, done)
            })
            .buffer_unordered(BINDINGS_AT_ONCE)
            .collect()
            .await;
        let now = Instant::now();
        for (pod, done) in done {
            match done {
                apply::Done::Bound(host) => {
                    self.queue.forget(&pod.uid);
                    let requests = pod.view.requests.clone();
                    self.assumed.insert(pod.uid, Assumed { host, requests, since: now });
                }
                apply::Done::Parked => self.queue.park(&pod, version, now),
                apply::Done::Again => self.queue.back_off(&pod, now),
            }
        }
    }
}
