//! DaemonSets: one pod on each node that it may run on.
//!
//! ```text
//! node may have it, has none            ──► made, bound to the node by its affinity
//! node may have it, has several         ──► all but the oldest deleted
//! node may not have it (any more)       ──► deleted
//! pod failed                            ──► deleted, after a back-off made again
//! template changed, rolling             ──► old pods deleted, or with surge new ones made first, within the bounds
//! ```

mod nodes;
mod object;
mod plan;

pub(crate) use object::DaemonSet;

use crate::{
    history::{self, History, REVISION_HASH, TemplateRevision},
    pods::{
        Claimant, PodControl, Workload, candidates, claim, pod_from, slow_start, wake_on_dependents, wake_on_own_change,
    },
};
use futures::{StreamExt, stream};
use k8s_openapi::{
    api::{apps::v1 as apps, core::v1::PodTemplateSpec},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, Meta, Metrics, ObjectKey, Outcome, OwnWrites, Queue, Reconcile, Recorder,
    Revision, Tone,
    objects::{Node, Pod},
};
use plan::{Plan, plan};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

const NAME: &str = "daemonset-controller";
const WORKERS: usize = 2;
const AT_ONCE: usize = 64;
/// The label by which pods of before revisions were told apart; kept for clients.
const GENERATION: &str = "pod-template-generation";

/// The controller of daemon sets.
pub(crate) struct Daemons {
    client: kube::Client,
    sets: Cache<DaemonSet>,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    history: History,
    control: PodControl,
    own: OwnWrites,
    /// How often pods of a set failed on a node, and when last.
    failures: Mutex<HashMap<(ObjectKey, String), (u32, Timestamp)>>,
}

/// What the controller reads.
pub(crate) struct Sources<'a> {
    pub(crate) sets: &'a Cache<DaemonSet>,
    pub(crate) pods: &'a Cache<Pod>,
    pub(crate) nodes: &'a Cache<Node>,
    pub(crate) revisions: &'a Cache<TemplateRevision>,
}

/// Makes the controller and has it told of changes.
pub(crate) fn controller(
    client: kube::Client,
    sources: &Sources<'_>,
    events: &Recorder,
    metrics: &Metrics,
) -> Controller<Daemons> {
    let queue = Arc::new(Queue::default());
    wake_on_own_change(sources.sets, &queue);
    wake_on_dependents(sources.pods, sources.sets, &queue);
    wake_on_dependents(sources.revisions, sources.sets, &queue);
    let (to, sets) = (Arc::clone(&queue), sources.sets.clone());
    sources.nodes.on_change(move |old, new| {
        let matters = |node: &Node| (node.meta.labels.clone(), node.taints.clone(), node.unschedulable);
        if old.map(matters) != new.map(matters) {
            sets.all().iter().for_each(|set| to.add(set.meta.key.clone()));
        }
    });
    let reconciler = Daemons {
        history: History::new(client.clone(), sources.revisions.clone()),
        control: PodControl::new(client.clone(), events.signed(NAME)),
        client,
        sets: sources.sets.clone(),
        pods: sources.pods.clone(),
        nodes: sources.nodes.clone(),
        own: OwnWrites::default(),
        failures: Mutex::default(),
    };
    Controller { name: NAME, reconciler: Arc::new(reconciler), queue, workers: WORKERS, metrics: metrics.clone() }
}

impl Reconcile for Daemons {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let Some(set) = self.sets.get(key) else {
            self.control.written().forget(key);
            self.own.forget(key);
            self.failures(|failures| failures.retain(|(set, _), _| set != key));
            return Ok(Outcome::Done);
        };
        let seen = self.control.written().are_seen(key, &self.pods) && self.own.are_seen(key, &self.sets);
        if !seen || !self.history.is_seen(key) {
            return Ok(Outcome::BEHIND);
        }
        if set.meta.deleting.is_some() {
            return Ok(Outcome::Done);
        }
        if set.selects_all {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.control.events().record(&set.owner().object(), Tone::Warning, "SelectingAll", message);
            return Ok(Outcome::Done);
        }
        let pods = self.claim(&set).await?;
        let Some(hash) = self.revision(&set, &pods).await? else { return Ok(Outcome::BEHIND) };
        let nodes = self.nodes.all();
        let now = Timestamp::now();
        let waits = |node: &str| self.waits(key, node, now);
        let plan = plan(&set, &hash, &nodes, &pods, waits, now);
        self.apply(&set, &hash, plan, now).await
    }
}

impl Daemons {
    fn failures<R>(&self, work: impl FnOnce(&mut HashMap<(ObjectKey, String), (u32, Timestamp)>) -> R) -> R {
        work(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn waits(&self, set: &ObjectKey, node: &str, now: Timestamp) -> Option<std::time::Duration> {
        let failed = self.failures(|failures| failures.get(&(set.clone(), node.to_owned())).copied());
        failed.and_then(|(count, last)| plan::backoff(count, last, now))
    }

    fn api(&self, meta: &Meta) -> Api<apps::DaemonSet> {
        Api::namespaced(self.client.clone(), &meta.key.namespace)
    }

    async fn read(&self, set: &DaemonSet) -> Result<apps::DaemonSet, ControllerError> {
        let fresh = self.api(&set.meta).get(&set.meta.key.name).await;
        let fresh = fresh.map_err(ControllerError::api("read a daemon set"))?;
        let same = fresh.metadata.uid.as_deref() == Some(set.meta.uid.as_str())
            && fresh.metadata.generation.unwrap_or_default() == set.meta.generation
            && fresh.metadata.deletion_timestamp.is_none();
        if same { Ok(fresh) } else { Err(ControllerError::Changed("the daemon set")) }
    }

    async fn claim(&self, set: &DaemonSet) -> Result<Vec<Arc<Pod>>, ControllerError> {
        let owner = set.owner();
        let by = Claimant { uid: &set.meta.uid, deleting: false, selector: &set.selector };
        let mut claim = claim(&by, candidates(&self.pods, &owner), |_| true);
        for pod in &claim.release {
            self.control.release(&owner, &pod.meta).await?;
        }
        if !claim.adopt.is_empty() {
            self.read(set).await?;
        }
        for pod in claim.adopt {
            if self.control.adopt(&owner, &pod.meta).await? {
                claim.owned.push(pod);
            }
        }
        Ok(claim.owned)
    }

    /// The hash of the present template's revision, which is made when it is not there; none when it has to be looked
    /// again.
    async fn revision(&self, set: &DaemonSet, pods: &[Arc<Pod>]) -> Result<Option<String>, ControllerError> {
        let owner = set.owner();
        let by = Claimant { uid: &set.meta.uid, deleting: false, selector: &set.selector };
        let revisions = self.history.claim(&owner, &by).await?;
        let in_use = |revision: &TemplateRevision| {
            pods.iter().any(|pod| pod.meta.labels.get(REVISION_HASH) == Some(&revision.hash))
        };
        let plan = history::plan(&revisions, set.template, set.history_limit, in_use);
        self.history.apply(&owner, &plan).await?;
        if let Some(current) = plan.current {
            return Ok(Some(current.hash.clone()));
        }
        let template = self.read(set).await?.spec.unwrap_or_default().template;
        let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        if !self.history.create(&owner, plan.next, &set.hash, &template, &labels).await? {
            let collisions = set.status.collisions.unwrap_or_default() + 1;
            self.patch_status(set, &json!({"collisionCount": collisions})).await?;
        }
        Ok(None)
    }

    async fn apply(&self, set: &DaemonSet, hash: &str, plan: Plan, now: Timestamp) -> Result<Outcome, ControllerError> {
        let owner = &set.owner();
        for (pod, node) in &plan.failed {
            let message = format!("Found failed daemon pod {} on node {node}, will try to kill it", pod.meta.key);
            self.control.events().record(&owner.object(), Tone::Warning, "FailedDaemonPod", &message);
            self.failures(|failures| {
                let entry = failures.entry((set.meta.key.clone(), node.clone())).or_insert((0, now));
                *entry = (entry.0 + 1, now);
            });
        }
        let deletions =
            stream::iter(plan.delete).map(|pod: Arc<Pod>| async move { self.control.delete(owner, &pod.meta).await });
        let results: Vec<Result<(), ControllerError>> = deletions.buffer_unordered(AT_ONCE).collect().await;
        results.into_iter().collect::<Result<Vec<()>, _>>()?;
        let failed = self.create(set, hash, &plan.create).await;
        if plan.status != set.status {
            self.patch_status(set, &plan.status.to_value()).await?;
        }
        match failed {
            Some(error) if error.is_namespace_terminating() => Ok(Outcome::Done),
            Some(error) => Err(error),
            None => Ok(Outcome::maybe_after(plan.again)),
        }
    }

    async fn create(&self, set: &DaemonSet, hash: &str, nodes: &[String]) -> Option<ControllerError> {
        if nodes.is_empty() {
            return None;
        }
        let mut template: PodTemplateSpec = match self.read(set).await {
            Ok(fresh) => fresh.spec.unwrap_or_default().template,
            Err(error) => return Some(error),
        };
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(REVISION_HASH.to_owned(), hash.to_owned());
        labels.insert(GENERATION.to_owned(), set.meta.generation.to_string());
        let (owner, template) = (&set.owner(), &template);
        let made = slow_start(nodes.len(), |at| {
            let mut pod = pod_from(template.clone(), owner.reference());
            if let Some(spec) = &mut pod.spec {
                nodes::bind(spec, &nodes[at]);
            }
            async move { self.control.create(owner, pod).await.map(drop) }
        })
        .await;
        made.error
    }

    async fn patch_status(&self, set: &DaemonSet, status: &Value) -> Result<(), ControllerError> {
        let patch = json!({"metadata": {"resourceVersion": set.meta.version.to_string()}, "status": status});
        let api = self.api(&set.meta);
        match api.patch_status(&set.meta.key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(written) => {
                let version = Revision::parse(written.metadata.resource_version.as_deref());
                self.own.wrote(&set.meta.key, version);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ControllerError::api("write the status of a daemon set")(error)),
        }
    }
}
