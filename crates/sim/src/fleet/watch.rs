//! What nodes hear of their pods: each by a watch of its own, or all by one.

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// How many events wait for one node before the shared watch waits for it.
const QUEUE: usize = 64;

/// Something that a node hears of its pods.
#[derive(Debug)]
pub(super) enum PodEvent {
    /// A pod of the node is like this.
    Is(Box<Pod>),
    /// The pod with this UID is gone.
    Gone(String),
    /// Pods with other UIDs than these are gone: the watch began anew.
    Only(BTreeSet<String>),
}

/// A node's events. A stream that ends ends its node.
pub(super) type PodEvents = BoxStream<'static, PodEvent>;

/// The pods of `node`, by a watch of its own.
pub(super) fn own(client: Client, node: &str) -> PodEvents {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let events = watcher(Api::<Pod>::all(client), config).default_backoff();
    translated(events).boxed()
}

/// Events of the watch as events of pods. While a watch begins anew, the pods seen are gathered.
fn translated<S>(events: S) -> impl Stream<Item = PodEvent> + Send
where
    S: Stream<Item = watcher::Result<watcher::Event<Pod>>> + Send + 'static,
{
    let state = (Box::pin(events), BTreeSet::new());
    stream::unfold(state, |(mut events, mut seen)| async move {
        loop {
            let event = match events.next().await? {
                Err(error) => {
                    tracing::debug!(%error, "the watch on pods failed and is begun anew");
                    continue;
                }
                Ok(watcher::Event::Apply(pod)) => PodEvent::Is(Box::new(pod)),
                Ok(watcher::Event::Delete(pod)) => PodEvent::Gone(pod.metadata.uid.unwrap_or_default()),
                Ok(watcher::Event::Init) => {
                    seen = BTreeSet::new();
                    continue;
                }
                Ok(watcher::Event::InitApply(pod)) => {
                    seen.extend(pod.metadata.uid.clone());
                    PodEvent::Is(Box::new(pod))
                }
                Ok(watcher::Event::InitDone) => PodEvent::Only(std::mem::take(&mut seen)),
            };
            return Some((event, (events, seen)));
        }
    })
}

/// One watch for all nodes.
pub(super) struct Shared {
    client: Client,
    queues: BTreeMap<String, mpsc::Sender<PodEvent>>,
    receivers: BTreeMap<String, mpsc::Receiver<PodEvent>>,
}

impl Shared {
    pub(super) fn new(client: Client, nodes: &[String]) -> Self {
        let mut shared = Self { client, queues: BTreeMap::new(), receivers: BTreeMap::new() };
        for node in nodes {
            let (sender, receiver) = mpsc::channel(QUEUE);
            shared.queues.insert(node.clone(), sender);
            shared.receivers.insert(node.clone(), receiver);
        }
        shared
    }

    /// The events of `node`; once for each.
    pub(super) fn pods_of(&mut self, node: &str) -> PodEvents {
        match self.receivers.remove(node) {
            Some(receiver) => ReceiverStream::new(receiver).boxed(),
            None => stream::empty().boxed(),
        }
    }

    /// Hands out events until `shutdown`. Where a pod is bound to is never changed, so that the UID need not be looked up.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let config = watcher::Config::default().fields("spec.nodeName!=");
        let mut events = Box::pin(translated(watcher(Api::<Pod>::all(self.client), config).default_backoff()));
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        loop {
            let event = tokio::select! {
                // Cancel-safe: what is lost with the stream nobody waits for any more.
                event = events.next() => event,
                () = shutdown.cancelled() => return,
            };
            let Some(event) = event else { return };
            match event {
                PodEvent::Is(pod) => {
                    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
                    let Some(queue) = self.queues.get(&node) else { continue };
                    if let Some(uid) = pod.metadata.uid.clone() {
                        places.insert(uid, node);
                    }
                    // A node that has ended hears nothing any more.
                    let _ = queue.send(PodEvent::Is(pod)).await;
                }
                PodEvent::Gone(uid) => {
                    let queue = places.remove(&uid).and_then(|node| self.queues.get(&node));
                    if let Some(queue) = queue {
                        let _ = queue.send(PodEvent::Gone(uid)).await;
                    }
                }
                PodEvent::Only(seen) => {
                    places.retain(|uid, _| seen.contains(uid));
                    for queue in self.queues.values() {
                        let _ = queue.send(PodEvent::Only(seen.clone())).await;
                    }
                }
            }
        }
    }
}
