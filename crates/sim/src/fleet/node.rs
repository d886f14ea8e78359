//! One hollow node: one task that owns all its pods.
//!
//! ```text
//!   event of the watch, timer, finished write --> pods that are due --> advance --> write (a bounded number at once) --+
//!        ^                                                                                                             |
//!        +-------------------------------------------------------------------------------------------------------------+
//! ```
//!
//! A pod whose write is under way is left alone until it is done; so the API sees its changes in order.

use super::{
    HollowOptions, Identity, heartbeat,
    watch::{PodEvent, PodEvents},
};
use crate::pod::{HollowPod, Place, Write};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::{
    api::core::v1::Pod,
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The most writes of one node at once.
const WRITES: usize = 16;
/// How soon a write that failed is tried again, unless the watch tells something before.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_millis(500);
/// How often the Node's status is written, in heartbeats.
const REPORT_EVERY: u32 = 30;

/// One hollow node.
pub(super) struct HollowNode {
    identity: Identity,
    client: Client,
    options: HollowOptions,
    registered: watch::Sender<bool>,
    pods: BTreeMap<String, Running>,
    /// Addresses that pods have, by their last byte.
    taken: BTreeSet<u8>,
    due: BTreeSet<String>,
    beats: u32,
}

struct Running {
    pod: HollowPod,
    writing: bool,
}

/// How a write ended: with what the pod is now, unless it was removed.
type Written = (String, Result<Option<Pod>, kube::Error>);
type Writes = FuturesUnordered<BoxFuture<'static, Written>>;

impl HollowNode {
    pub(super) fn new(
        identity: Identity,
        client: Client,
        options: HollowOptions,
        registered: watch::Sender<bool>,
    ) -> Self {
        let (pods, taken, due) = Default::default();
        Self { identity, client, options, registered, pods, taken, due, beats: 0 }
    }

    /// Lives until `shutdown` or the end of the events.
    pub(super) async fn run(mut self, mut events: PodEvents, shutdown: CancellationToken) {
        let mut writes = Writes::new();
        let mut beat = self.beat();
        let mut next_beat = None;
        loop {
            let wake = self.next_wake();
            tokio::select! {
                // Cancel-safe: what a stream has not given out it gives out later.
                event = events.next() => match event {
                    Some(event) => self.hear(event),
                    None => return,
                },
                Some((uid, result)) = writes.next(), if !writes.is_empty() => self.written(&uid, result),
                // Cancel-safe: timers.
                () = sleep_until(wake) => self.wake(),
                // Kept over the rounds, so not cancelled; asked for again only once it is done.
                result = &mut beat, if next_beat.is_none() => next_beat = Some(self.beaten(result)),
                () = tokio::time::sleep_until(next_beat.unwrap_or_else(Instant::now)), if next_beat.is_some() => {
                    beat = self.beat();
                    next_beat = None;
                }
                () = shutdown.cancelled() => return,
            }
            self.work(&mut writes);
        }
    }

    fn beat(&self) -> BoxFuture<'static, Result<(), kube::Error>> {
        let (client, identity, options) = (self.client.clone(), self.identity.clone(), self.options.clone());
        let report = self.beats.is_multiple_of(REPORT_EVERY);
        async move {
            if report {
                heartbeat::register(client.clone(), identity.clone(), options.clone()).await?;
            }
            heartbeat::renew(client, identity, options).await
        }
        .boxed()
    }

    /// When the next heartbeat is due.
    fn beaten(&mut self, result: Result<(), kube::Error>) -> Instant {
        match result {
            Ok(()) => {
                self.beats += 1;
                self.registered.send_replace(true);
                Instant::now() + self.options.heartbeat
            }
            Err(error) => {
                tracing::warn!(node = self.identity.name, %error, "the heartbeat failed");
                Instant::now() + Duration::from_secs(1)
            }
        }
    }

    fn hear(&mut self, event: PodEvent) {
        match event {
            PodEvent::Is(pod) => self.see(&pod),
            PodEvent::Gone(uid) => self.forget(&uid),
            PodEvent::Only(seen) => {
                let gone: Vec<_> = self.pods.keys().filter(|uid| !seen.contains(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.forget(uid));
            }
        }
    }

    fn see(&mut self, pod: &Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let seen = match self.pods.get_mut(&uid) {
            Some(running) => running.pod.update(pod),
            None => self.take(&uid, pod),
        };
        match seen {
            Ok(()) => drop(self.due.insert(uid)),
            Err(error) => tracing::warn!(node = self.identity.name, uid, %error, "the pod is malformed"),
        }
    }

    fn take(&mut self, uid: &str, pod: &Pod) -> Result<(), orrery_lifecycle::pod::ProjectError> {
        let shown = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let last = shown.and_then(|ip| ip.rsplit('.').next()?.parse().ok());
        let free = || (1..=254).find(|last| !self.taken.contains(last)).unwrap_or(254);
        let last = last.filter(|last| !self.taken.contains(last)).unwrap_or_else(free);
        let [a, b, c] = self.identity.network;
        let place = Place { host_ip: self.identity.address.to_string(), pod_ip: format!("{a}.{b}.{c}.{last}") };
        let pod = HollowPod::new(pod, place)?;
        self.taken.insert(last);
        self.pods.insert(uid.to_owned(), Running { pod, writing: false });
        Ok(())
    }

    fn forget(&mut self, uid: &str) {
        let Some(running) = self.pods.remove(uid) else { return };
        self.due.remove(uid);
        if let Some(last) = running.pod.pod_ip().rsplit('.').next().and_then(|last| last.parse().ok()) {
            self.taken.remove(&last);
        }
    }

    fn next_wake(&self) -> Option<Timestamp> {
        self.pods.values().filter(|running| !running.writing).filter_map(|running| running.pod.wake_at).min()
    }

    fn wake(&mut self) {
        let now = Timestamp::now();
        let woken = self.pods.iter().filter(|(_, running)| running.pod.wake_at.is_some_and(|at| at <= now));
        self.due.extend(woken.map(|(uid, _)| uid.clone()));
    }

    /// Advances the pods that are due, as long as there is room for writes.
    fn work(&mut self, writes: &mut Writes) {
        let due: Vec<String> = self.due.iter().cloned().collect();
        for uid in due {
            if writes.len() >= WRITES {
                return;
            }
            let Some(running) = self.pods.get_mut(&uid).filter(|running| !running.writing) else { continue };
            self.due.remove(&uid);
            if let Some(write) = running.pod.advance(Timestamp::now()) {
                running.writing = true;
                writes.push(perform(self.client.clone(), uid, &running.pod, write));
            }
        }
    }

    fn written(&mut self, uid: &str, result: Result<Option<Pod>, kube::Error>) {
        let Some(running) = self.pods.get_mut(uid) else { return };
        running.writing = false;
        match result {
            Ok(Some(pod)) => self.see(&pod),
            // Its watch event follows, and after it nothing.
            Ok(None) => running.pod.wake_at = None,
            Err(error) => {
                tracing::debug!(node = self.identity.name, uid, %error, "a write failed and is tried again");
                running.pod.wake_at = Some(Timestamp::now() + AFTER_FAILURE);
            }
        }
    }
}

async fn sleep_until(wake: Option<Timestamp>) {
    match wake {
        Some(at) => {
            let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
            tokio::time::sleep(left).await;
        }
        None => std::future::pending().await,
    }
}

fn perform(client: Client, uid: String, pod: &HollowPod, write: Write) -> BoxFuture<'static, Written> {
    let pods: Api<Pod> = Api::namespaced(client, pod.view.namespace.as_str());
    let name = pod.view.name.clone();
    async move {
        let result = match write {
            Write::Status(patch) => {
                pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(Some)
            }
            Write::Delete => {
                let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: None };
                let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                match pods.delete(&name, &params.preconditions(preconditions)).await {
                    Ok(_) => Ok(None),
                    // Gone, or another pod has the name by now.
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        };
        (uid, result)
    }
    .boxed()
}
