//! What the node, its pods and their containers use.
//!
//! Each machine is asked when somebody wants to know, all at once and none for long: a guest that is silent is left out and holds
//! nobody up. Who asks while others are answered, or half a second later, gets the same answer. A rate is the difference to the
//! question before.

mod node;
mod resource;
mod summary;

pub(crate) use resource::exposition;
pub(crate) use summary::summary;

use crate::{
    host::Shim,
    pods::{Directory, Known, PodName},
};
use futures::{StreamExt, stream};
use node::NodeUsage;
use orrery_wire::{
    shim::MachineStatus,
    stats::{GroupStats, MachineStats},
};
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};

/// How long a machine may take to tell.
const PATIENCE: Duration = Duration::from_secs(3);
/// Machines that are asked at the same time.
const PARALLEL: usize = 32;
/// How long an answer is good for.
const FRESH: Duration = Duration::from_millis(500);
/// The least time between two questions that a rate is made of, in nanoseconds.
const LEAST_SPAN: u64 = 500_000_000;

/// What one pod's machine told, and who it is.
#[derive(Debug, Clone)]
pub(crate) struct PodUsage {
    pub(crate) pod: PodName,
    /// When the machine was booted, Unix nanoseconds.
    pub(crate) booted_at: u64,
    pub(crate) stats: MachineStats,
    pub(crate) containers: Vec<ContainerUsage>,
    pub(crate) cpu_rate: Option<u64>,
}

/// What one running container uses.
#[derive(Debug, Clone)]
pub(crate) struct ContainerUsage {
    pub(crate) name: String,
    /// Unix nanoseconds.
    pub(crate) started_at: u64,
    pub(crate) group: GroupStats,
    /// CPU time in a second, in nanoseconds; none at the first question.
    pub(crate) cpu_rate: Option<u64>,
}

/// All that was told at one time.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    pub(crate) node: NodeUsage,
    pub(crate) pods: Vec<PodUsage>,
    /// Pods with a machine that did not tell.
    pub(crate) silent: usize,
}

/// A counter at a time, both in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    at: u64,
    value: u64,
    rate: Option<u64>,
}

impl Sample {
    /// The next sample of the same counter. A counter that went back began anew; a rate stays until there is a new one.
    fn next(before: Option<Self>, at: u64, value: u64) -> Self {
        let Some(before) = before.filter(|before| before.value <= value) else { return Self { at, value, rate: None } };
        let span = at.saturating_sub(before.at);
        if span < LEAST_SPAN {
            return before;
        }
        let rate = u128::from(value - before.value) * 1_000_000_000 / u128::from(span);
        Self { at, value, rate: Some(u64::try_from(rate).unwrap_or(u64::MAX)) }
    }
}

/// By what a counter is known: the pod's id, the container and when it began.
type Counter = (String, String, u64);

/// Asks, and remembers what the last answers were. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Stats {
    directory: Directory,
    /// Where images and machines' files lie.
    disk: PathBuf,
    told: Arc<Mutex<ToldBefore>>,
}

/// The last answer, when it was made, and what rates are made of.
#[derive(Debug, Default)]
struct ToldBefore {
    last: Option<(Instant, Arc<Usage>)>,
    samples: HashMap<Counter, Sample>,
}

impl Stats {
    pub(crate) fn new(directory: Directory, disk: PathBuf) -> Self {
        Self { directory, disk, told: Arc::default() }
    }

    /// Asks everybody, unless that was done a moment ago.
    pub(crate) async fn usage(&self) -> Arc<Usage> {
        let mut before = self.told.lock().await;
        if let Some((_, usage)) = before.last.as_ref().filter(|(when, _)| when.elapsed() < FRESH) {
            return Arc::clone(usage);
        }
        let usage = Arc::new(self.ask_all(&mut before.samples).await);
        before.last = Some((Instant::now(), Arc::clone(&usage)));
        usage
    }

    async fn ask_all(&self, samples: &mut HashMap<Counter, Sample>) -> Usage {
        let machines = self.directory.machines();
        let mut silent: HashSet<String> = machines.iter().map(|(pod, _)| pod.uid.to_string()).collect();
        let told = stream::iter(machines).map(|(pod, known)| async move { Some((pod, ask(&known).await?)) });
        let told: Vec<_> = told.buffer_unordered(PARALLEL).filter_map(|told| async { told }).collect().await;
        let node = NodeUsage::read(&self.disk);
        let before = std::mem::take(samples);
        let mut rate = |counter: Counter, at: u64, value: u64| {
            let sample = Sample::next(before.get(&counter).copied(), at, value);
            samples.insert(counter, sample);
            sample.rate
        };
        let node_rate = rate((String::new(), String::new(), 0), node.unix_nanos, node.cpu_nanos);
        let mut pods: Vec<PodUsage> = told.into_iter().map(|(pod, told)| pod_usage(pod, told, &mut rate)).collect();
        pods.sort_by(|one, other| one.pod.cmp(&other.pod));
        for usage in &pods {
            silent.remove(&usage.pod.uid.to_string());
        }
        // Who is silent this time has a rate the next time all the same.
        samples.extend(before.into_iter().filter(|((uid, ..), _)| silent.contains(uid)));
        Usage { node: NodeUsage { cpu_rate: node_rate, ..node }, silent: silent.len(), pods }
    }
}

async fn ask(known: &Known) -> Option<(MachineStatus, MachineStats)> {
    let (socket, status) = (known.shim_socket.clone()?, known.status.clone()?);
    let stats = tokio::time::timeout(PATIENCE, Shim::new(socket).stats()).await.ok()?.ok()?;
    Some((status, stats))
}

fn pod_usage(
    pod: PodName,
    (status, stats): (MachineStatus, MachineStats),
    rate: &mut impl FnMut(Counter, u64, u64) -> Option<u64>,
) -> PodUsage {
    let (at, uid) = (stats.unix_nanos, pod.uid.to_string());
    let running = stats.names.iter().filter_map(|(stream, name)| {
        let group = stats.guest.containers.iter().find(|group| group.stream == *stream)?;
        let container = status.containers.iter().find(|container| container.name == *name)?;
        Some((name.clone(), container.started_at, group.clone()))
    });
    let containers = running.map(|(name, started_at, group)| {
        let cpu_rate = rate((uid.clone(), name.clone(), started_at), at, group.cpu_nanos);
        ContainerUsage { name, started_at, group, cpu_rate }
    });
    let containers = containers.collect();
    let cpu_rate = rate((uid.clone(), String::new(), status.booted_at), at, stats.guest.pod.cpu_nanos);
    PodUsage { pod, booted_at: status.booted_at, stats, containers, cpu_rate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_two_questions_that_lie_apart() {
        const SECOND: u64 = 1_000_000_000;
        let first = Sample::next(None, SECOND, 100);
        assert_eq!(first.rate, None);
        let second = Sample::next(Some(first), 3 * SECOND, 100 + SECOND / 2);
        assert_eq!(second.rate, Some(SECOND / 4));
        assert_eq!(Sample::next(Some(second), 3 * SECOND + 1, SECOND), second, "too soon for another");
        let began_anew = Sample::next(Some(second), 9 * SECOND, 5);
        assert_eq!((began_anew.value, began_anew.rate), (5, None));
    }
}
