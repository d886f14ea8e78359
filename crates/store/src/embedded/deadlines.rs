//! When which key expires.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The deadlines of all keys that have one, in milliseconds since 1970.
///
/// They follow the wall clock, since they have to outlast a restart; when the clock is set, keys expire earlier or
/// later by as much.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    by_key: HashMap<Arc<str>, u64>,
    queue: BTreeSet<(u64, Arc<str>)>,
}

impl Deadlines {
    /// Sets or takes away a key's deadline.
    pub(super) fn set(&mut self, key: &Arc<str>, expires_ms: Option<u64>) {
        let old = match expires_ms {
            Some(at) => {
                self.queue.insert((at, Arc::clone(key)));
                self.by_key.insert(Arc::clone(key), at)
            }
            None => self.by_key.remove(key),
        };
        if let Some(old) = old.filter(|old| Some(*old) != expires_ms) {
            self.queue.remove(&(old, Arc::clone(key)));
        }
    }

    /// At most `limit` keys whose time has come, the oldest first.
    pub(super) fn due(&self, now_ms: u64, limit: usize) -> Vec<Arc<str>> {
        self.queue.iter().take_while(|(at, _)| *at <= now_ms).take(limit).map(|(_, key)| Arc::clone(key)).collect()
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<u64> {
        self.queue.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_set_again_replaces_the_old_one() {
        let mut deadlines = Deadlines::default();
        let key: Arc<str> = "/a".into();
        for at in [Some(10), Some(10), Some(30), Some(20)] {
            deadlines.set(&key, at);
        }
        assert_eq!((deadlines.next(), deadlines.queue.len()), (Some(20), 1));
        assert!(deadlines.due(19, 10).is_empty());
        assert_eq!(deadlines.due(20, 10), vec![Arc::clone(&key)]);
        deadlines.set(&key, None);
        assert_eq!((deadlines.next(), deadlines.by_key.len()), (None, 0));
    }
}
