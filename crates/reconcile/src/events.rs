//! Events: what a controller did to an object, for people.
//!
//! Writing them is nobody's business to wait for: [`Recorder::record`] puts them into a bounded channel, and one task
//! ([`write_events`]) writes them, counts up those that repeat, and holds back who says too much about one object
//! (25 at once, then one in five minutes, as upstream does: `k8s.io/client-go/tools/record/events_cache.go`).

use crate::chain;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::mpsc, time::Instant};

/// How many different events are remembered for counting; then all are forgotten and counting starts anew.
const MAX_REMEMBERED: usize = 4096;
/// The longest message that the API takes, in bytes.
const MAX_MESSAGE: usize = 1024;
/// How many events may wait to be written; more are dropped.
const MAX_WAITING: usize = 4096;
/// How many events about one object may come at once.
const BURST: u32 = 25;
/// How long it takes until one more may come.
const REFILL: Duration = Duration::from_secs(300);

/// Whether an event tells of something that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tone {
    /// It did.
    Normal,
    /// Somebody should look.
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

#[derive(Debug)]
struct Said {
    object: ObjectReference,
    component: &'static str,
    tone: Tone,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

/// Says what a controller did. Clones say it to the same writer.
#[derive(Debug, Clone)]
pub struct Recorder {
    component: &'static str,
    out: mpsc::Sender<Said>,
}

impl Recorder {
    /// The same writer under another signature.
    #[must_use]
    pub fn signed(&self, component: &'static str) -> Self {
        Self { component, out: self.out.clone() }
    }

    /// Tells of `object`. Events are best effort: one that finds the channel full is dropped.
    pub fn record(&self, object: &ObjectReference, tone: Tone, reason: &'static str, message: &str) {
        let said = Said {
            object: object.clone(),
            component: self.component,
            tone,
            reason,
            message: shortened(message).to_owned(),
            at: Timestamp::now(),
        };
        if self.out.try_send(said).is_err() {
            tracing::debug!(reason, message, "an event was dropped: too many wait");
        }
    }
}

/// A recorder that signs with `component`, and the task that writes what it says; the task ends with its last recorder.
pub fn write_events(client: kube::Client, component: &'static str) -> (Recorder, impl Future<Output = ()> + Send) {
    let (out, mut waiting) = mpsc::channel(MAX_WAITING);
    let writer = async move {
        let mut writer = Writer { client, written: BTreeMap::new(), spoken: BTreeMap::new() };
        while let Some(said) = waiting.recv().await {
            writer.take(said).await;
        }
    };
    (Recorder { component, out }, writer)
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    uid: String,
    component: &'static str,
    tone: Tone,
    reason: &'static str,
    message: String,
}

struct Written {
    name: String,
    count: i32,
}

/// How much may still be said about an object.
struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    /// Takes one, if there is one.
    fn take(&mut self, now: Instant) -> bool {
        let refilled = now.duration_since(self.since).as_secs() / REFILL.as_secs();
        if refilled > 0 {
            self.left = self.left.saturating_add(u32::try_from(refilled).unwrap_or(u32::MAX)).min(BURST);
            self.since = now;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

struct Writer {
    client: kube::Client,
    written: BTreeMap<Key, Written>,
    spoken: BTreeMap<(String, &'static str), Allowance>,
}

impl Writer {
    async fn take(&mut self, said: Said) {
        let uid = said.object.uid.clone().unwrap_or_default();
        let now = Instant::now();
        if self.spoken.len() >= MAX_REMEMBERED {
            self.spoken.clear();
        }
        let fresh = || Allowance { left: BURST, since: now };
        if !self.spoken.entry((uid.clone(), said.component)).or_insert_with(fresh).take(now) {
            return;
        }
        let (tone, reason, message) = (said.tone, said.reason, said.message.clone());
        let key = Key { uid, component: said.component, tone, reason, message };
        if let Err(error) = self.write(&said, key).await {
            let gone = matches!(&error, kube::Error::Api(status) if [403, 404].contains(&status.code));
            // A namespace that is going takes no more events.
            if !gone {
                tracing::warn!(reason, message = said.message, error = chain(&error), "an event could not be written");
            }
        }
    }

    async fn write(&mut self, said: &Said, key: Key) -> Result<(), kube::Error> {
        let namespace = namespace_of(&said.object);
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if let Some(before) = self.written.get_mut(&key) {
            let count = before.count.saturating_add(1);
            let patch = serde_json::json!({"count": count, "lastTimestamp": Time(said.at)});
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
        let event = event(said);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        if self.written.len() >= MAX_REMEMBERED {
            self.written.clear();
        }
        self.written.insert(key, Written { name, count: 1 });
        Ok(())
    }
}

/// Events of objects without namespace lie in the default one.
fn namespace_of(object: &ObjectReference) -> &str {
    object.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}

fn event(said: &Said) -> Event {
    let object = &said.object;
    let name = format!("{}.{:x}", object.name.as_deref().unwrap_or("object"), said.at.as_nanosecond());
    let namespace = Some(namespace_of(object).to_owned());
    Event {
        metadata: ObjectMeta { name: Some(name), namespace, ..ObjectMeta::default() },
        involved_object: object.clone(),
        type_: Some(said.tone.as_str().to_owned()),
        reason: Some(said.reason.to_owned()),
        message: Some(said.message.clone()),
        source: Some(EventSource { component: Some(said.component.to_owned()), host: None }),
        reporting_component: Some(said.component.to_owned()),
        reporting_instance: Some(said.component.to_owned()),
        event_time: None::<MicroTime>,
        first_timestamp: Some(Time(said.at)),
        last_timestamp: Some(Time(said.at)),
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
        let object = ObjectReference { kind: Some("Node".into()), name: Some("host-1".into()), ..Default::default() };
        let said = Said {
            object,
            component: "node-controller",
            tone: Tone::Warning,
            reason: "NodeNotReady",
            message: "m".into(),
            at: Timestamp::from_second(1).unwrap(),
        };
        let event = event(&said);
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(event.metadata.name.as_deref(), Some("host-1.3b9aca00"));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_too_much_about_an_object_is_held_back() {
        let mut allowance = Allowance { left: BURST, since: Instant::now() };
        let taken = (0..100).filter(|_| allowance.take(Instant::now())).count();
        assert_eq!(taken, 25);
        tokio::time::advance(REFILL * 2).await;
        let taken = (0..100).filter(|_| allowance.take(Instant::now())).count();
        assert_eq!(taken, 2);
    }
}
