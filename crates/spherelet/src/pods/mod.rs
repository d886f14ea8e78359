//! The pods of this node: which there are, and one worker for each.

mod api;
mod apply;
mod directory;
mod events;
mod machine;
mod observe;
mod pulls;
mod status_patch;
mod tasks;
mod volumes;
mod worker;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod worker_tests;

pub(crate) use directory::{Directory, Known, PodName};
pub use machine::POOL;

use crate::{host::Hostd, images::ImageSource, node::chain};
use api::{KubeApi, PodApi};
use directory::Entry;
use events::Events;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher, watcher::Event},
};
use orrery_api::names::{HostName, MachineId};
use orrery_lifecycle::pod::PodView;
use orrery_wire::host::Owner;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use worker::{Wanted, Worker};

/// How soon machines without a pod are looked for again when hostd did not answer.
const SWEEP_AGAIN: Duration = Duration::from_secs(5);

/// Watches the pods of this node and has a worker for each.
pub(crate) struct PodsTask {
    pub(crate) node: HostName,
    /// The host's address, as pods are told.
    pub(crate) host_ip: String,
    /// Name servers that pods get.
    pub(crate) cluster_dns: Vec<String>,
    /// Processes that a pod may have.
    pub(crate) pod_pids_limit: Option<u64>,
    pub(crate) hostd: Hostd,
    pub(crate) images: Arc<dyn ImageSource>,
    pub(crate) client: kube::Client,
    pub(crate) directory: Directory,
}

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) host_ip: String,
    pub(crate) cluster_dns: Vec<String>,
    pub(crate) pod_pids_limit: Option<u64>,
    pub(crate) hostd: Hostd,
    pub(crate) images: Arc<dyn ImageSource>,
    pub(crate) api: Arc<dyn PodApi>,
    pub(crate) events: Events,
}

/// The workers that run.
struct Workers {
    shared: Arc<Shared>,
    directory: Directory,
    wanted: HashMap<MachineId, watch::Sender<Wanted>>,
    tracker: TaskTracker,
    ends: CancellationToken,
}

impl PodsTask {
    /// Runs until `ends`. Machines are left as they are then.
    pub(crate) async fn run(self, ends: CancellationToken) {
        let tracker = TaskTracker::new();
        let events = Events::start(self.client.clone(), &self.node, &tracker, ends.clone());
        let shared = Arc::new(Shared {
            host_ip: self.host_ip,
            cluster_dns: self.cluster_dns,
            pod_pids_limit: self.pod_pids_limit,
            hostd: self.hostd,
            images: self.images,
            api: Arc::new(KubeApi::new(self.client.clone())),
            events,
        });
        let mut workers = Workers {
            shared,
            directory: self.directory,
            wanted: HashMap::new(),
            tracker: tracker.clone(),
            ends: ends.clone(),
        };
        let api: Api<Pod> = Api::all(self.client);
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.node));
        let mut stream = watcher(api, config).default_backoff().boxed();
        let mut listing: HashSet<MachineId> = HashSet::new();
        let mut sweep_due = false;
        loop {
            tokio::select! {
                () = ends.cancelled() => break,
                // The stream keeps its state inside; dropping `next` loses nothing.
                event = stream.next() => match event {
                    None => break,
                    Some(Ok(event)) => sweep_due |= workers.take(event, &mut listing),
                    Some(Err(error)) => tracing::warn!(error = %chain(&error), "the watch of pods broke"),
                },
                () = tokio::time::sleep(SWEEP_AGAIN), if sweep_due => {}
            }
            if sweep_due {
                sweep_due = !workers.sweep().await;
            }
        }
        drop(workers);
        tracker.close();
        tracker.wait().await;
    }
}

impl Workers {
    /// Takes one event; true when a listing is complete, so that machines without a pod can be told.
    fn take(&mut self, event: Event<Pod>, listing: &mut HashSet<MachineId>) -> bool {
        match event {
            Event::Init => listing.clear(),
            Event::InitApply(pod) => listing.extend(self.present(&pod)),
            Event::Apply(pod) => {
                self.present(&pod);
            }
            Event::Delete(pod) => {
                if let Some(uid) = pod.metadata.uid.as_deref().and_then(|uid| uid.parse().ok()) {
                    self.gone(uid);
                }
            }
            Event::InitDone => {
                let missing: Vec<MachineId> =
                    self.wanted.keys().filter(|uid| !listing.contains(uid)).copied().collect();
                missing.into_iter().for_each(|uid| self.gone(uid));
                return true;
            }
        }
        false
    }

    /// A pod as it is now. Its worker is started when it has none.
    fn present(&mut self, pod: &Pod) -> Option<MachineId> {
        let view = match PodView::project(pod) {
            Ok(view) => Arc::new(view),
            Err(error) => {
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                tracing::error!(pod = name, error = %chain(&error), "the pod cannot be taken");
                return None;
            }
        };
        let uid = view.uid;
        let json = serde_json::to_vec(pod).unwrap_or_default();
        if let Some(sender) = self.wanted.get(&uid).filter(|sender| !sender.is_closed()) {
            self.directory.update(&view, json);
            sender.send_replace(Wanted::Pod(view));
            return Some(uid);
        }
        let (sender, wanted) = watch::channel(Wanted::Pod(view.clone()));
        let (known, facts) = watch::channel(Known::default());
        self.directory.insert(&view, Entry { uid, json: json.into(), facts });
        let worker = Worker::new(self.shared.clone(), view, wanted, known);
        self.tracker.spawn(worker.run(self.ends.clone()));
        self.wanted.insert(uid, sender);
        Some(uid)
    }

    /// The pod's object is gone: whatever of it is left on the host has to go.
    fn gone(&mut self, uid: MachineId) {
        self.directory.remove(uid);
        if let Some(sender) = self.wanted.remove(&uid) {
            sender.send_replace(Wanted::Gone);
        }
    }

    /// Releases machines whose pod is gone. Only after a complete listing, when every pod has its worker. False when it
    /// has to be tried again.
    async fn sweep(&self) -> bool {
        let machines = match self.shared.hostd.list().await {
            Ok(machines) => machines,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "machines without a pod could not be looked for");
                return false;
            }
        };
        let mut complete = true;
        for machine in machines {
            let Owner::Pod { namespace, name, uid } = &machine.spec.owner else { continue };
            if uid.parse().is_ok_and(|uid: MachineId| self.wanted.contains_key(&uid)) {
                continue;
            }
            tracing::info!(namespace, pod = name, uid, "releasing a machine whose pod is gone");
            if let Err(error) = self.shared.hostd.release(&machine.spec.id).await {
                tracing::warn!(error = %chain(&error), uid, "the machine could not be released");
                complete = false;
            }
        }
        complete
    }
}
