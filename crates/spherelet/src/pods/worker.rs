//! The worker of one pod.
//!
//! ```text
//!        +------------------------------------------------------------------+
//!        v                                                                  |
//!   observe (hostd, shim, images) --> plan (orrery-lifecycle) --> publish --> apply --something was done--+
//!        ^                                                           |
//!        +---- pod changed, machine changed, timer, failure rests ---+
//! ```
//!
//! A round takes no account of what woke it. The pod's machine is never touched by anybody else while the worker lives;
//! when the worker ends with its session, the machine goes on and the next worker finds it.

use super::Shared;
use super::api::PodApiError;
use super::directory::Known;
use super::machine::Images;
use super::status_patch::status_patch;
use super::tasks::Done;
use super::volumes::Volumes;
use crate::{
    host::{CallError, Shim, ShimWatch},
    images::ResolvedImage,
    node::chain,
};
use k8s_openapi::api::core::v1::PodStatus;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orrery_lifecycle::{
    pod::{self, Action, Machine, Memory, Observation, PodPlan, PodView},
    probe::Prober,
};
use orrery_wire::{
    guest::ContainerSpec,
    host::{Admission, MachineSpec},
    shim::MachineStatus,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// A pod is looked at this often even when nothing is heard.
const RESYNC: Duration = Duration::from_secs(300);
const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What the API server wants of a worker.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// The pod, as it is now.
    Pod(Arc<PodView>),
    /// The pod's object is gone.
    Gone,
}

/// A machine that the host holds.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) spec: MachineSpec,
    pub(super) admission: Admission,
}

/// The worker of one pod. It owns all that is known of it.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) pod: Arc<PodView>,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) memory: Memory,
    pub(super) held: Option<Held>,
    pub(super) asked_host: bool,
    pub(super) images: Images,
    /// Images that were pulled for this pod, by their references.
    pub(super) pulled: BTreeMap<String, ResolvedImage>,
    /// Containers whose next start was told of by the pull of their image.
    pub(super) just_pulled: BTreeSet<String>,
    /// Secrets that gave no credentials and were told of.
    pub(super) told_bad_secrets: Vec<String>,
    pub(super) volumes: Volumes,
    pub(super) prober: Prober,
    pub(super) tasks: JoinSet<Done>,
    /// Ends of logs by container and attempt, where they stand for last words.
    pub(super) last_words: BTreeMap<(String, u32), String>,
    pub(super) watch: Option<ShimWatch>,
    pub(super) last_status: Option<MachineStatus>,
    pub(super) known: watch::Sender<Known>,
    previous: PodStatus,
    last_actions: Vec<Action>,
}

/// How a round went.
enum Round {
    /// Something was done: look again at once.
    Acted,
    /// Nothing is to be done before this time.
    Settled(Option<Timestamp>),
    /// Something failed: rest, then look again.
    Failed,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        pod: Arc<PodView>,
        wanted: watch::Receiver<Wanted>,
        known: watch::Sender<Known>,
    ) -> Self {
        Self {
            previous: pod.status.clone(),
            shared,
            pod,
            wanted,
            known,
            memory: Memory::default(),
            held: None,
            asked_host: false,
            images: Images::new(),
            pulled: BTreeMap::new(),
            just_pulled: BTreeSet::new(),
            told_bad_secrets: Vec::new(),
            volumes: Volumes::default(),
            prober: Prober::default(),
            tasks: JoinSet::new(),
            last_words: BTreeMap::new(),
            watch: None,
            last_status: None,
            last_actions: Vec::new(),
        }
    }

    /// Works until the pod is gone and its machine released, or until `ends`.
    pub(super) async fn run(mut self, ends: CancellationToken) {
        let mut rest = FIRST_REST;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            match wanted {
                Wanted::Gone => return self.release(&ends).await,
                // What a patch of ours gave back may be newer than what the watch has told so far.
                Wanted::Pod(pod) if pod.resource_version != self.pod.resource_version => {
                    self.pod = newer(&self.pod, pod);
                }
                Wanted::Pod(_) => {}
            }
            let round = tokio::select! {
                // A round may be given up anywhere: the next worker begins by asking.
                () = ends.cancelled() => return,
                round = self.round() => round,
            };
            let pause = match round {
                Round::Acted => {
                    rest = FIRST_REST;
                    continue;
                }
                Round::Settled(wake_at) => {
                    rest = FIRST_REST;
                    wake_at.map_or(RESYNC, until)
                }
                Round::Failed => {
                    let pause = rest;
                    rest = (rest * 2).min(LONGEST_REST);
                    pause
                }
            };
            tokio::select! {
                () = ends.cancelled() => return,
                // `changed` is cancel-safe; the sender going away means that the session ends.
                changed = self.wanted.changed() => if changed.is_err() { return },
                // What the watch has read stays in its buffer.
                () = machine_changed(&mut self.watch, self.last_status.as_ref()) => {}
                // A result that is not taken stays in the set.
                Some(done) = self.tasks.join_next() => if let Ok(done) = done { self.take(done) },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Observes, plans, publishes, applies.
    async fn round(&mut self) -> Round {
        if let Err(error) = self.find_machine().await {
            tracing::warn!(pod = self.pod.name, error = %chain(&error), "the pod waits for hostd");
            return Round::Failed;
        }
        let machine = self.observe_machine().await;
        let images = self.observe_images().await;
        self.tell_directory();
        let pod = self.pod.clone();
        let addresses = self.addresses();
        let now = Timestamp::now();
        let volumes = self.volumes.look(&*self.shared.api, &pod, &machine, &addresses, now).await;
        if let Some(failure) = volumes.failure {
            self.shared.events.warning(&pod, "FailedMount", failure, None);
        }
        self.begin_probes(&machine, &addresses, now);
        let none = BTreeMap::new();
        let mut seen = Observation {
            pod: &pod,
            images: &images,
            config_errors: &none,
            volumes: volumes.state,
            probes: &self.prober,
            machine: &machine,
            addresses: &addresses,
            previous: &self.previous,
            now,
        };
        let mut plan = pod::plan(&seen, &self.memory);
        let (specs, errors) = match self.container_specs(&plan, &addresses).await {
            Ok(made) => made,
            Err(error) => {
                tracing::warn!(pod = pod.name, error = %chain(&error), "a container's configuration cannot be read");
                return Round::Failed;
            }
        };
        if !errors.is_empty() {
            seen.config_errors = &errors;
            plan = pod::plan(&seen, &self.memory);
        }
        plan.wake_at = [plan.wake_at, volumes.due, self.prober.wake_at(&pod)].into_iter().flatten().min();
        self.carry_out(plan, &specs, &machine).await
    }

    async fn carry_out(&mut self, plan: PodPlan, specs: &BTreeMap<String, ContainerSpec>, machine: &Machine) -> Round {
        self.previous = plan.status.clone();
        plan.notices.iter().for_each(|notice| self.shared.events.tell(&self.pod, notice.clone()));
        let publishing = self.publishing(&plan.status);
        // Who looks at a pod waits for nothing that its containers wait for, nor the other way round; but for its end.
        let (published, applied) = if plan.actions.contains(&Action::DeletePod) {
            match publishing.await {
                Ok(published) => (Ok(published), self.apply_all(&plan.actions, specs, machine).await),
                Err(error) => (Err(error), Ok(())),
            }
        } else {
            tokio::join!(publishing, self.apply_all(&plan.actions, specs, machine))
        };
        let published = self.published(published);
        if applied.is_err() {
            self.last_actions.clear();
            return Round::Failed;
        }
        let acted = !plan.actions.is_empty();
        // An action that changes nothing would be asked for again and again.
        let repeated = self.last_actions == plan.actions || matches!(machine, Machine::Silent);
        self.last_actions = plan.actions;
        match (published, acted && !repeated) {
            (false, _) => Round::Failed,
            (true, true) => Round::Acted,
            (true, false) if acted => Round::Settled(Some(plan.wake_at.unwrap_or_else(soon).min(soon()))),
            (true, false) => Round::Settled(plan.wake_at),
        }
    }

    /// Carries the actions out in order, until one fails.
    async fn apply_all(
        &mut self,
        actions: &[Action],
        specs: &BTreeMap<String, ContainerSpec>,
        machine: &Machine,
    ) -> Result<(), ()> {
        for action in actions {
            if let Err(error) = self.apply(action, specs, machine).await {
                tracing::warn!(pod = self.pod.name, ?action, error = %chain(&error), "an action failed");
                return Err(());
            }
        }
        Ok(())
    }

    /// Publishes the status when it differs; gives the pod as it is then.
    fn publishing(&self, status: &PodStatus) -> impl Future<Output = Result<Option<PodView>, PodApiError>> + use<> {
        let (api, pod, patch) = (self.shared.api.clone(), self.pod.clone(), status_patch(&self.pod, status));
        async move {
            match patch {
                Some(patch) => api.patch_status(&pod, &patch).await.map(Some),
                None => Ok(None),
            }
        }
    }

    /// Takes note of what came of publishing. False when that has to be tried again.
    fn published(&mut self, published: Result<Option<PodView>, PodApiError>) -> bool {
        match published {
            Ok(patched) => {
                self.pod = patched.map_or_else(|| self.pod.clone(), Arc::new);
                true
            }
            Err(error) => {
                tracing::debug!(pod = self.pod.name, error = %chain(&error), "the status could not be published");
                false
            }
        }
    }

    /// Shows the server what is known.
    fn tell_directory(&self) {
        let held = self.held.as_ref();
        let known = Known {
            shim_socket: held.map(|held| held.admission.shim_socket.clone().into()),
            log_directory: held.map(|held| held.admission.log_directory.clone().into()),
            status: self.last_status.clone(),
            containers: Arc::new(self.pod.all_containers().cloned().collect()),
            probes: self.known.borrow().probes.clone(),
        };
        self.known.send_replace(known);
    }

    pub(super) fn shim(&self) -> Option<Shim> {
        self.held.as_ref().map(|held| Shim::new(held.admission.shim_socket.clone().into()))
    }

    /// The pod's object is gone: gives its machine back, however often it takes.
    async fn release(self, ends: &CancellationToken) {
        let mut rest = FIRST_REST;
        let id = self.pod.uid.to_string();
        while let Err(error) = self.shared.hostd.release(&id).await {
            tracing::warn!(pod = self.pod.name, error = %chain(&error), "the machine could not be released");
            tokio::select! {
                () = ends.cancelled() => return,
                () = tokio::time::sleep(rest) => rest = (rest * 2).min(LONGEST_REST),
            }
        }
    }
}

/// The later of two states of one pod. Versions are opaque to clients, but ours are numbers; what is none counts as new.
fn newer(ours: &Arc<PodView>, told: Arc<PodView>) -> Arc<PodView> {
    let number = |pod: &PodView| pod.resource_version.parse::<u64>().ok();
    match (number(ours), number(&told)) {
        (Some(ours_at), Some(told_at)) if ours_at > told_at => ours.clone(),
        _ => told,
    }
}

fn until(at: Timestamp) -> Duration {
    let left = at.duration_since(Timestamp::now());
    Duration::try_from(left).unwrap_or_default().min(RESYNC)
}

fn soon() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(1)
}

/// Waits until the machine's status is another than `last`, or the watch breaks.
async fn machine_changed(watch: &mut Option<ShimWatch>, last: Option<&MachineStatus>) {
    let Some(open) = watch else { return std::future::pending().await };
    loop {
        match open.next().await {
            Ok(status) if Some(&status) == last => {}
            Ok(_) => return,
            Err(_) => {
                *watch = None;
                return;
            }
        }
    }
}

/// Why an action was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    /// A process of the host did not do it.
    #[error("the host did not do it")]
    Host(#[from] CallError),
    /// The API did not do it.
    #[error("the Supervisor's API did not do it")]
    Api(#[from] PodApiError),
    /// The host cannot do it now.
    #[error("the host refuses for now ({reason}): {message}")]
    Refused { reason: String, message: String },
    /// The pod is to be deleted, which goes first.
    #[error("the pod is to be deleted")]
    Interrupted,
    /// The host gives no random numbers.
    #[error("the host gives no random numbers")]
    Entropy(#[source] rand::rngs::SysError),
    /// The plan asks for what does not fit what was observed.
    #[error("the plan does not fit the pod: {0}")]
    Unfit(&'static str),
}
