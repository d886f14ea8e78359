//! Events: what people read with `kubectl describe`. Best effort, never in anybody's way.

use crate::node::chain;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use orrery_api::names::HostName;
use orrery_lifecycle::pod::{Notice, PodView};
use serde_json::json;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many events may wait to be written. What does not fit is dropped.
const QUEUE: usize = 256;
/// How many kinds of events are remembered to be counted instead of written anew.
const REMEMBERED: usize = 1024;
const COMPONENT: &str = "spherelet";

/// Takes events. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<(Arc<PodView>, Notice)>,
}

impl Events {
    /// Starts the task that writes them.
    pub(super) fn start(client: kube::Client, node: &HostName, tasks: &TaskTracker, ends: CancellationToken) -> Self {
        let (queue, mut waiting) = mpsc::channel::<(Arc<PodView>, Notice)>(QUEUE);
        let mut writer = Writer { client, node: node.to_string(), known: HashMap::new() };
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = ends.cancelled() => return,
                    // `recv` is cancel-safe.
                    next = waiting.recv() => match next {
                        None => return,
                        Some((pod, notice)) => writer.write(&pod, &notice).await,
                    },
                }
            }
        });
        Self { queue }
    }

    /// A queue without a writer.
    #[cfg(test)]
    pub(crate) fn for_test() -> (Self, mpsc::Receiver<(Arc<PodView>, Notice)>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue }, waiting)
    }

    /// Tells of something that happened to `pod`.
    pub(crate) fn tell(&self, pod: &Arc<PodView>, notice: Notice) {
        let (reason, message) = (notice.reason, notice.message.as_str());
        if notice.warning {
            tracing::warn!(namespace = %pod.namespace, pod = pod.name, reason, message);
        } else {
            tracing::info!(namespace = %pod.namespace, pod = pod.name, reason, message);
        }
        if self.queue.try_send((pod.clone(), notice)).is_err() {
            tracing::warn!(pod = pod.name, "an event was dropped: too many wait to be written");
        }
    }

    /// Tells of something ordinary about a container.
    pub(crate) fn normal(&self, pod: &Arc<PodView>, reason: &'static str, message: String, container: Option<&str>) {
        self.tell(pod, Notice { warning: false, reason, message, container: container.map(str::to_owned) });
    }

    /// Tells of something that is not as it should be.
    pub(crate) fn warning(&self, pod: &Arc<PodView>, reason: &'static str, message: String, container: Option<&str>) {
        self.tell(pod, Notice { warning: true, reason, message, container: container.map(str::to_owned) });
    }
}

struct Writer {
    client: kube::Client,
    node: String,
    /// Name and count of the event that says the same.
    known: HashMap<(String, Same), (String, i32)>,
}

/// What makes two notices the same event.
type Same = (&'static str, String, Option<String>);

impl Writer {
    async fn write(&mut self, pod: &PodView, notice: &Notice) {
        let api: Api<Event> = Api::namespaced(self.client.clone(), pod.namespace.as_str());
        let same = (pod.uid.to_string(), (notice.reason, notice.message.clone(), notice.container.clone()));
        let now = Timestamp::now();
        let whole = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
        if let Some((name, count)) = self.known.get_mut(&same) {
            *count = count.saturating_add(1);
            let patch = Patch::Merge(json!({ "count": count, "lastTimestamp": whole }));
            if api.patch(name, &PatchParams::default(), &patch).await.is_ok() {
                return;
            }
        }
        let event = event(pod, notice, &self.node, &whole, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                self.known.insert(same, (name, 1));
            }
            Err(error) => tracing::debug!(error = %chain(&error), "an event could not be written"),
        }
    }
}

fn event(pod: &PodView, notice: &Notice, node: &str, whole: &Time, now: Timestamp) -> Event {
    let field_path = notice.container.as_ref().map(|container| {
        let init = pod.init_containers.iter().any(|known| &known.name == container);
        format!("spec.{}{{{container}}}", if init { "initContainers" } else { "containers" })
    });
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", pod.name, now.as_nanosecond())),
            namespace: Some(pod.namespace.to_string()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.to_string()),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.to_string()),
            resource_version: Some(pod.resource_version.clone()),
            field_path,
        },
        reason: Some(notice.reason.to_owned()),
        message: Some(notice.message.clone()),
        type_: Some(if notice.warning { "Warning" } else { "Normal" }.to_owned()),
        count: Some(1),
        first_timestamp: Some(whole.clone()),
        last_timestamp: Some(whole.clone()),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: Some(node.to_owned()) }),
        reporting_component: Some(COMPONENT.to_owned()),
        reporting_instance: Some(node.to_owned()),
        ..Event::default()
    }
}
