//! Watch events as they are sent, made once for all who see them.
//!
//! A change goes to every watcher of its resource at about the same time, and most want the same bytes. The last few are kept;
//! who comes late makes its own.

use bytes::Bytes;
use orrery_machinery::descriptor::ResourceDescriptor;
use orrery_store::Change;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// How many events are kept. Their bytes are in flight for watchers anyway.
const KEPT: usize = 32;

struct Line {
    /// Held, so that no other change can have its address.
    change: Arc<Change>,
    resource: Arc<ResourceDescriptor>,
    kind: &'static str,
    bytes: Bytes,
}

/// The last events that were made. Clones share them.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<VecDeque<Line>>>);

impl Lines {
    /// The bytes that tell of `change` as an event of this `kind` to watchers of `resource`: those that were made for another
    /// watcher, or what `make` gives.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get<E>(
        &self,
        (kind, change): (&'static str, &Arc<Change>),
        resource: &Arc<ResourceDescriptor>,
        make: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = lines.iter().rev().find(|line| {
            Arc::ptr_eq(&line.change, change) && Arc::ptr_eq(&line.resource, resource) && line.kind == kind
        });
        if let Some(line) = made {
            return Ok(line.bytes.clone());
        }
        // Made under the lock: others who want it wait for less than they would work.
        let bytes = make()?;
        if lines.len() == KEPT {
            lines.pop_front();
        }
        let (change, resource) = (Arc::clone(change), Arc::clone(resource));
        lines.push_back(Line { change, resource, kind, bytes: bytes.clone() });
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_machinery::descriptor::FixedResource;
    use orrery_store::Revision;
    use std::convert::Infallible;

    fn change(revision: u64) -> Arc<Change> {
        Arc::new(Change { key: "k".into(), current: None, previous: None, revision: Revision(revision) })
    }

    #[test]
    fn an_event_is_made_once_for_each_kind_and_resource_and_only_the_last_are_kept() {
        let lines = Lines::default();
        let resources: [Arc<ResourceDescriptor>; 2] = [(); 2].map(|()| Arc::new(FixedResource::PLAIN.into()));
        let mut made = 0;
        let mut get = |change: &Arc<Change>, kind, resource| {
            let make = || {
                made += 1;
                Ok::<_, Infallible>(Bytes::from(made.to_string()))
            };
            lines.get((kind, change), resource, make).unwrap()
        };
        let changes: Vec<_> = (0..=KEPT as u64).map(change).collect();
        assert_eq!(get(&changes[0], "ADDED", &resources[0]), "1");
        assert_eq!(get(&changes[0], "ADDED", &resources[0]), "1");
        assert_eq!(get(&changes[0], "DELETED", &resources[0]), "2");
        assert_eq!(get(&changes[0], "ADDED", &resources[1]), "3");
        for change in &changes[1..] {
            get(change, "ADDED", &resources[0]);
        }
        assert_eq!(get(&changes[1], "ADDED", &resources[0]), "4");
        assert_eq!(get(&changes[0], "ADDED", &resources[0]), "36");
    }
}
