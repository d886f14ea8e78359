//! The garbage collector: objects go when their last owner goes, and owners wait for those that hold them back.
//!
//! ```text
//! owner deleted in the background ──► gone ──► dependents without another owner: deleted in the background
//! owner deleted in the foreground ──► waits (finalizer foregroundDeletion) ──► dependents deleted, foreground if they have
//!                                     some of their own ──► none left that blocks: finalizer off ──► gone
//! owner deleted, orphaning        ──► waits (finalizer orphan) ──► references taken off the dependents: finalizer off
//! ```
//!
//! One watch for each kind that can be listed, watched and deleted, custom resources included, brings metadata into one
//! [`graph`]. What to do with an object is a pure function of it ([`plan`]); only an owner that the graph does not know is
//! looked up in the API before its dependents are taken to be garbage. A deletion names UID and version of what was
//! planned for, so that an object that got a new owner meanwhile stays.

mod apply;
mod graph;
mod kinds;
mod monitor;
mod plan;

use crate::Config;
use graph::Graph;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kinds::Kinds;
pub(crate) use kinds::Place;
use orrery_reconcile::{Controller, ControllerError, ObjectKey, Outcome, Queue, Reconcile, Recorder, Tasks, Uid};
use plan::{Step, plan};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const NAME: &str = "garbage-collector-controller";
const WORKERS: usize = 16;
/// How many unknown owners of one object are looked up before it is put back.
const MAX_LOOKUPS: usize = 32;

type Listener = Box<dyn Fn(&str, &ObjectKey) + Send + Sync>;

/// What the monitors fill and the workers read. Others learn from it which kinds there are, and that something changed.
#[derive(Default)]
pub(crate) struct Shared {
    graph: Mutex<Graph>,
    kinds: Mutex<Kinds>,
    queue: Arc<Queue>,
    listeners: Mutex<Vec<Listener>>,
}

impl Shared {
    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kinds(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `listener` called with the kind and key of every object that appears, changes or goes. It must be quick.
    pub(crate) fn on_change(&self, listener: impl Fn(&str, &ObjectKey) + Send + Sync + 'static) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    fn tell(&self, kind: &str, key: &ObjectKey) {
        for listener in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(kind, key);
        }
    }

    /// Where the resource is served; none when it is not.
    pub(crate) fn place_of(&self, group: &str, plural: &str) -> Option<Place> {
        self.kinds().place_of(group, plural).cloned()
    }

    /// The path of the collection that an owner lies in.
    ///
    /// # Errors
    /// When the API has no such kind.
    pub(crate) fn collection(&self, owner: &OwnerReference, namespace: &str) -> Result<String, ControllerError> {
        let kinds = self.kinds();
        let place = kinds.get(&graph::GroupKind::of(owner));
        let unknown =
            || ControllerError::Invalid(format!("the API has no kind {} in {}", owner.kind, owner.api_version));
        let place = place.ok_or_else(unknown)?;
        Ok(place.collection(&ObjectKey::new(if place.namespaced { namespace } else { "" }, "")))
    }

    /// Has these objects looked at.
    fn wake(&self, uids: impl IntoIterator<Item = Uid>) {
        for uid in uids {
            self.queue.add(ObjectKey::cluster(uid.0));
        }
    }
}

/// Looks at one object, by its UID.
pub(crate) struct Collector {
    client: kube::Client,
    shared: Arc<Shared>,
    events: Recorder,
}

/// Starts the monitors and, once they have listed everything, the workers.
pub(crate) fn start(tasks: &mut Tasks, config: &Config) -> Arc<Shared> {
    let shared: Arc<Shared> = Arc::default();
    let (listed, ready) = tokio::sync::oneshot::channel();
    tasks.spawn_until_shutdown(monitor::run(config.client.clone(), Arc::clone(&shared), listed));
    let queue = Arc::clone(&shared.queue);
    let reconciler =
        Collector { client: config.client.clone(), shared: Arc::clone(&shared), events: config.events.signed(NAME) };
    let controller = Controller {
        name: NAME,
        reconciler: Arc::new(reconciler),
        queue,
        workers: WORKERS,
        metrics: config.metrics.clone(),
    };
    tasks.run(controller, async move {
        // The monitors' task ends only with the process.
        let _ = ready.await;
    });
    shared
}

impl Reconcile for Collector {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let uid = Uid(key.name.clone());
        for _ in 0..MAX_LOOKUPS {
            let step = plan(&self.shared.graph(), &uid);
            match step {
                Step::LookUp(owner) => self.look_up(&uid, &owner).await?,
                other => return self.apply(&uid, other).await,
            }
        }
        Err(ControllerError::Changed("an owner"))
    }
}

#[cfg(test)]
mod tests;
