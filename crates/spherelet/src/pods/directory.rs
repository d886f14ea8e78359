//! What the kubelet port may know of the pods: a name leads to the pod's machine and its log files.

use crate::probe::ProbeCounts;
use bytes::Bytes;
use orrery_api::names::MachineId;
use orrery_lifecycle::pod::{ContainerView, PodView};
use orrery_wire::shim::MachineStatus;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// What a worker knows of its pod's machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The shim's socket, while the host holds the machine.
    pub(crate) shim_socket: Option<PathBuf>,
    /// The directory of its log files, likewise.
    pub(crate) log_directory: Option<PathBuf>,
    /// The last status that was seen.
    pub(crate) status: Option<MachineStatus>,
    /// The pod's containers.
    pub(crate) containers: Arc<Vec<ContainerView>>,
    /// How its probes ended since this process knows the pod.
    pub(crate) probes: ProbeCounts,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodName {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: MachineId,
}

/// One pod of the directory.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) uid: MachineId,
    /// The pod's object as JSON.
    pub(crate) json: Bytes,
    pub(crate) facts: watch::Receiver<Known>,
}

/// The pods of this node by namespace and name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    pods: Arc<Mutex<HashMap<(String, String), Entry>>>,
}

fn key(view: &PodView) -> (String, String) {
    (view.namespace.to_string(), view.name.clone())
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Entry>> {
        // Nothing that holds the lock can leave the map half changed.
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, view: &PodView, entry: Entry) {
        self.lock().insert(key(view), entry);
    }

    pub(super) fn update(&self, view: &PodView, json: Vec<u8>) {
        if let Some(entry) = self.lock().get_mut(&key(view)).filter(|entry| entry.uid == view.uid) {
            entry.json = json.into();
        }
    }

    pub(super) fn remove(&self, uid: MachineId) {
        self.lock().retain(|_, entry| entry.uid != uid);
    }

    /// What is known of a pod's machine, and of its changes.
    pub(crate) fn facts(&self, namespace: &str, name: &str) -> Option<watch::Receiver<Known>> {
        self.lock().get(&(namespace.to_owned(), name.to_owned())).map(|entry| entry.facts.clone())
    }

    /// Every pod with a machine, and what is known of that.
    pub(crate) fn machines(&self) -> Vec<(PodName, Known)> {
        self.all().into_iter().filter(|(_, known)| known.shim_socket.is_some()).collect()
    }

    /// Every pod, and what is known of it.
    pub(crate) fn all(&self) -> Vec<(PodName, Known)> {
        let pods = self.lock();
        let known = pods.iter().map(|((namespace, name), entry)| {
            let pod = PodName { namespace: namespace.clone(), name: name.clone(), uid: entry.uid };
            (pod, entry.facts.borrow().clone())
        });
        known.collect()
    }

    /// The objects of all pods, in no order.
    pub(crate) fn objects(&self) -> Vec<Bytes> {
        self.lock().values().map(|entry| entry.json.clone()).collect()
    }

    /// How many pods there are, how many of them have a machine, and how many containers run.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let pods = self.lock();
        let (mut machines, mut containers) = (0, 0);
        for entry in pods.values() {
            let facts = entry.facts.borrow();
            machines += usize::from(facts.shim_socket.is_some());
            let running = |status: &MachineStatus| status.containers.iter().filter(|c| c.exit.is_none()).count();
            containers += facts.status.as_ref().map_or(0, running);
        }
        (pods.len(), machines, containers)
    }

    #[cfg(test)]
    pub(crate) fn insert_for_test(&self, namespace: &str, name: &str, facts: watch::Receiver<Known>) {
        let entry = Entry { uid: MachineId(uuid::Uuid::nil()), json: Bytes::new(), facts };
        self.lock().insert((namespace.to_owned(), name.to_owned()), entry);
    }
}
