//! When which key expires.

use super::stored::Stored;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The deadlines of all keys that have one, in milliseconds since 1970.
///
/// They follow the wall clock, since they have to outlast a restart; when the clock is set, keys expire earlier or
/// later by as much.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(u64, Arc<str>)>);

impl Deadlines {
    /// Takes note that a key holds something else now.
    pub(super) fn replace(&mut self, key: &str, old: Option<&Stored>, new: Option<&Stored>) {
        let deadline = |stored: Option<&Stored>| stored.and_then(|stored| stored.expires_ms);
        let (old, new) = (deadline(old), deadline(new));
        if old != new {
            old.map(|at| self.0.remove(&(at, key.into())));
            new.map(|at| self.0.insert((at, key.into())));
        }
    }

    /// At most `limit` keys whose time has come, the oldest first.
    pub(super) fn due(&self, now_ms: u64, limit: usize) -> Vec<Arc<str>> {
        self.0.iter().take_while(|(at, _)| *at <= now_ms).take(limit).map(|(_, key)| Arc::clone(key)).collect()
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<u64> {
        self.0.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Revision};
    use bytes::Bytes;

    #[test]
    fn a_deadline_set_again_replaces_the_old_one() {
        let stored = |expires_ms| {
            let (create_revision, mod_revision) = (Revision(1), Revision(1));
            Stored::new(Entry { key: "/a".into(), value: Bytes::new(), create_revision, mod_revision }, expires_ms, 1)
        };
        let mut deadlines = Deadlines::default();
        let mut old = None;
        for at in [Some(10), Some(10), Some(30), Some(20)] {
            let new = stored(at);
            deadlines.replace("/a", old.as_ref(), Some(&new));
            old = Some(new);
        }
        assert_eq!((deadlines.next(), deadlines.0.len()), (Some(20), 1));
        assert!(deadlines.due(19, 10).is_empty());
        assert_eq!(deadlines.due(20, 10), ["/a".into()]);
        deadlines.replace("/a", old.as_ref(), Some(&stored(None)));
        assert_eq!(deadlines.next(), None);
    }
}
