//! A projected copy of the objects of one kind.
//!
//! The watch's objects are dropped as soon as they are projected: whole API objects are not kept.
//!
//! ```text
//! unsynced --init done--> synced --init--> synced (the new list is gathered beside the old one) --init done--> synced
//! ```

use futures::{FutureExt, Stream, StreamExt, stream::BoxStream};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use orrery_reconcile::{ControllerError, chain};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, fmt::Debug};

/// The most events that are taken at once before the caller gets a turn.
const MAX_DRAIN: usize = 1000;

/// A kind's objects by `namespace/name` (or `name`), as the projection shows them.
pub(crate) struct Mirror<K, V> {
    what: &'static str,
    stream: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    project: fn(&K) -> Option<V>,
    matters: fn(Option<&V>, Option<&V>) -> bool,
    items: BTreeMap<String, V>,
    gathered: BTreeMap<String, V>,
    synced: bool,
    version: u64,
}

impl<K, V> Mirror<K, V>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    V: PartialEq,
{
    /// Watches `api`; `what` names the objects in messages. An object whose projection is none is left out.
    pub(crate) fn new(what: &'static str, api: Api<K>, config: watcher::Config, project: fn(&K) -> Option<V>) -> Self {
        Self::of_stream(what, watcher::watcher(api, config).default_backoff(), project)
    }

    fn of_stream(
        what: &'static str,
        stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
        project: fn(&K) -> Option<V>,
    ) -> Self {
        Self {
            what,
            stream: stream.boxed(),
            project,
            matters: |old, new| old != new,
            items: BTreeMap::new(),
            gathered: BTreeMap::new(),
            synced: false,
            version: 0,
        }
    }

    /// Counts only those changes in [`Mirror::version`] for which `matters(old, new)` holds.
    pub(crate) fn versioned_by(mut self, matters: fn(Option<&V>, Option<&V>) -> bool) -> Self {
        self.matters = matters;
        self
    }

    /// Waits for news and takes in all that has arrived. Cancel-safe: an event is taken in when it is taken out.
    pub(crate) async fn changed(&mut self) -> Result<(), ControllerError> {
        let mut next = self.stream.next().await;
        for _ in 0..MAX_DRAIN {
            match next {
                None => return Err(ControllerError::WatchEnded(self.what)),
                Some(Ok(event)) => self.take_in(event),
                Some(Err(error)) => {
                    tracing::warn!(kind = self.what, error = chain(&error), "the watch failed; it is started again");
                }
            }
            match self.stream.next().now_or_never() {
                Some(more) => next = more,
                None => break,
            }
        }
        Ok(())
    }

    /// Whether the first list is complete.
    pub(crate) fn synced(&self) -> bool {
        self.synced
    }

    /// The objects.
    pub(crate) fn items(&self) -> &BTreeMap<String, V> {
        &self.items
    }

    /// Counts the changes that matter.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    fn take_in(&mut self, event: Event<K>) {
        match event {
            Event::Init => self.gathered = BTreeMap::new(),
            Event::InitApply(object) => {
                if let Some(value) = (self.project)(&object) {
                    self.gathered.insert(key(&object), value);
                }
            }
            Event::InitDone => {
                let old = std::mem::replace(&mut self.items, std::mem::take(&mut self.gathered));
                let gone = old.iter().filter(|(key, _)| !self.items.contains_key(*key));
                let matters = self.items.iter().any(|(key, value)| (self.matters)(old.get(key), Some(value)))
                    || gone.into_iter().any(|(_, value)| (self.matters)(Some(value), None));
                self.version += u64::from(matters);
                self.synced = true;
            }
            Event::Apply(object) => self.set(key(&object), (self.project)(&object)),
            Event::Delete(object) => self.set(key(&object), None),
        }
    }

    fn set(&mut self, key: String, value: Option<V>) {
        self.version += u64::from((self.matters)(self.items.get(&key), value.as_ref()));
        match value {
            Some(value) => self.items.insert(key, value),
            None => self.items.remove(&key),
        };
    }
}

fn key<K: Resource>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use k8s_openapi::api::core::v1::Namespace;

    fn namespace(name: &str, label: &str) -> Namespace {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.into());
        namespace.metadata.labels = Some([("l".to_owned(), label.to_owned())].into());
        namespace
    }

    fn label(namespace: &Namespace) -> Option<String> {
        namespace.labels().get("l").filter(|label| *label != "skip").cloned()
    }

    #[tokio::test]
    async fn a_mirror_follows_lists_and_events_and_counts_what_changed() {
        let events = [
            Event::Init,
            Event::InitApply(namespace("a", "1")),
            Event::InitApply(namespace("b", "1")),
            Event::InitDone,
            Event::Apply(namespace("a", "2")),
            Event::Apply(namespace("a", "2")),
            Event::Apply(namespace("c", "skip")),
            Event::Delete(namespace("b", "1")),
            // The watch starts anew: nothing is lost or doubled while the list comes in.
            Event::Init,
            Event::InitApply(namespace("a", "2")),
            Event::InitDone,
        ];
        let mut mirror = Mirror::of_stream("namespaces", stream::iter(events.map(Ok)), label);
        assert!(!mirror.synced());
        assert!(matches!(mirror.changed().await, Err(ControllerError::WatchEnded("namespaces"))));
        assert!(mirror.synced());
        assert_eq!(mirror.items().iter().collect::<Vec<_>>(), [(&"a".to_owned(), &"2".to_owned())]);
        assert_eq!(mirror.version(), 3);
    }
}
