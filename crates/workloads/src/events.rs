//! Events: what a controller did to an object, for people.

use crate::supervise::chain;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use std::collections::BTreeMap;
use tokio::sync::Mutex;

/// How many different events are remembered for counting; then all are forgotten and counting starts anew.
const MAX_REMEMBERED: usize = 4096;
/// The longest message that the API takes, in bytes.
const MAX_MESSAGE: usize = 1024;

/// Whether an event tells of something that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    Normal,
    Warning,
}

impl Tone {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    uid: String,
    tone: Tone,
    reason: &'static str,
    message: String,
}

struct Written {
    name: String,
    count: i32,
}

/// Writes events; one that repeats is counted up instead.
pub(crate) struct Recorder {
    client: kube::Client,
    component: &'static str,
    written: Mutex<BTreeMap<Key, Written>>,
}

impl Recorder {
    /// A recorder that signs with `component`.
    pub(crate) fn new(client: kube::Client, component: &'static str) -> Self {
        Self { client, component, written: Mutex::new(BTreeMap::new()) }
    }

    /// Tells of `object`. Events are best effort: a failure is logged only.
    pub(crate) async fn record(&self, object: &ObjectReference, tone: Tone, reason: &'static str, message: &str) {
        let message = shortened(message);
        let key = Key { uid: object.uid.clone().unwrap_or_default(), tone, reason, message: message.to_owned() };
        if let Err(error) = self.write(object, key).await {
            tracing::warn!(reason, message, error = chain(&error), "an event could not be written");
        }
    }

    async fn write(&self, object: &ObjectReference, key: Key) -> Result<(), kube::Error> {
        let namespace = object.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let now = Timestamp::now();
        let mut written = self.written.lock().await;
        if let Some(before) = written.get_mut(&key) {
            let count = before.count.saturating_add(1);
            let patch = serde_json::json!({"count": count, "lastTimestamp": Time(now)});
            match api.patch(&before.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => {
                    before.count = count;
                    return Ok(());
                }
                // It has expired meanwhile: write a new one.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let event = event(object, &key, self.component, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        if written.len() >= MAX_REMEMBERED {
            written.clear();
        }
        written.insert(key, Written { name, count: 1 });
        Ok(())
    }
}

fn event(object: &ObjectReference, key: &Key, component: &str, now: Timestamp) -> Event {
    let namespace = object.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let name = format!("{}.{:x}", object.name.as_deref().unwrap_or("object"), now.as_nanosecond());
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
        involved_object: object.clone(),
        type_: Some(key.tone.as_str().to_owned()),
        reason: Some(key.reason.to_owned()),
        message: Some(key.message.clone()),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(component.to_owned()),
        event_time: None::<MicroTime>,
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}

/// At most [`MAX_MESSAGE`] bytes of `message`, cut between characters.
fn shortened(message: &str) -> &str {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "é".repeat(MAX_MESSAGE);
        assert_eq!(shortened(&long).len(), MAX_MESSAGE);
        assert!(shortened(&format!("a{long}")).len() < MAX_MESSAGE + 1);
    }

    #[test]
    fn an_event_of_an_object_without_namespace_lies_in_the_default_one() {
        let node = ObjectReference { kind: Some("Node".into()), name: Some("host-1".into()), ..Default::default() };
        let key = Key { uid: String::new(), tone: Tone::Warning, reason: "NodeNotReady", message: "m".into() };
        let event = event(&node, &key, "node-controller", Timestamp::from_second(1).unwrap());
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(event.metadata.name.as_deref(), Some("host-1.3b9aca00"));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }
}
