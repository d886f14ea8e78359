//! What goes on beside a worker's rounds: probes, lifecycle hooks, pulls. All of it ends with the worker.

use super::worker::Worker;
use crate::{
    host::Shim,
    images::Pulled,
    node::chain,
    probe::{self, Target},
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orrery_lifecycle::{
    env::Addresses,
    handler::Handler,
    pod::{Machine, Notice},
    probe::{Due, Outcome},
};
use std::time::Duration;

/// What a hook may take beyond its container's deadline: the container is killed then.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// What has come to its end.
pub(super) enum Done {
    /// A probe.
    Probe { due: Box<Due>, outcome: Outcome },
    /// The hook after a container's start.
    PostStart { container: String, attempt: u32, result: Result<(), String> },
    /// The hook before a container's end, which has had its signal now.
    PreStop,
    /// A pull, and how long it was since it was asked for.
    Pull { image: String, container: String, result: Result<Box<Pulled>, String>, waited: Duration },
}

impl Worker {
    fn target(&self, container: &str, addresses: &Addresses) -> Option<Target> {
        let pod_ip = addresses.pod_ip.clone()?;
        Some(Target { shim: self.shim()?, container: container.to_owned(), pod_ip })
    }

    /// Begins the probes that are due.
    pub(super) fn begin_probes(&mut self, machine: &Machine, addresses: &Addresses, now: Timestamp) {
        for due in self.prober.look(&self.pod, machine, now) {
            let target = self.target(&due.container, addresses);
            self.tasks.spawn(async move {
                let timeout = Duration::try_from(due.probe.timeout).unwrap_or_default();
                let outcome = match target {
                    Some(target) => probe::probe(&target, &due.probe.handler, timeout).await,
                    None => Outcome::Unknown,
                };
                Done::Probe { due: Box::new(due), outcome }
            });
        }
    }

    /// Begins the hook of a container that was just started, if it has one.
    pub(super) fn begin_post_start(&mut self, container: &str, attempt: u32) {
        let hook = self.pod.container(container).and_then(|container| container.hooks.post_start.clone());
        let (Some(hook), Some(target)) = (hook, self.target(container, &self.addresses())) else { return };
        let container = container.to_owned();
        self.tasks.spawn(async move {
            let result = probe::hook(&target, &hook).await;
            Done::PostStart { container, attempt, result }
        });
    }

    /// Begins the end of a container: its hook, for as long as there is time, then its signal.
    pub(super) fn begin_stop(&mut self, hook: Handler, shim: Shim, container: &str, signal: i32, deadline: Timestamp) {
        let target = self.target(container, &self.addresses());
        let (container, pod, events) = (container.to_owned(), self.pod.clone(), self.shared.events.clone());
        let left = Duration::try_from(deadline.duration_since(Timestamp::now()).max(SignedDuration::ZERO));
        let left = left.unwrap_or_default().max(LEAST_GRACE);
        self.tasks.spawn(async move {
            let result = match target {
                Some(target) => match tokio::time::timeout(left, probe::hook(&target, &hook)).await {
                    Ok(result) => result,
                    Err(_) => Err(format!("it took longer than the {} s that were left", left.as_secs())),
                },
                None => Err("the pod has no address".to_owned()),
            };
            // Told before the signal: nobody may be left to tell it once the container has ended.
            if let Err(why) = result {
                events.warning(&pod, "FailedPreStopHook", format!("PreStopHook failed: {why}"), Some(&container));
            }
            if let Err(error) = shim.signal(&container, signal, false).await {
                tracing::info!(pod = pod.name, container, signal, error = %chain(&error), "a signal was not delivered");
            }
            Done::PreStop
        });
    }

    /// Takes in what has come to its end.
    pub(super) fn take(&mut self, done: Done) {
        let notice = match done {
            Done::Probe { due, outcome } => {
                self.known.send_modify(|known| known.probes.count(&due.container, due.kind, &outcome));
                self.prober.finished(&due, outcome, Timestamp::now())
            }
            Done::PostStart { container, attempt, result: Err(why) } => {
                self.memory.failed_starts.insert(container.clone(), attempt);
                let message = format!("PostStartHook failed: {why}");
                Some(Notice { warning: true, reason: "FailedPostStartHook", message, container: Some(container) })
            }
            Done::PostStart { .. } | Done::PreStop => None,
            Done::Pull { image, container, result, waited } => Some(self.pulled(image, container, result, waited)),
        };
        if let Some(notice) = notice {
            self.shared.events.tell(&self.pod, notice);
        }
    }
}
