//! Watchers by prefix: what each prefix's watchers may still have to be given, and whom to wake.
//!
//! All watchers of one prefix share a *group*: the changes under the prefix, as far as history goes. A change is put into
//! its groups once, whatever the number of watchers; each watcher then takes shared references at its own pace. So a slow
//! watcher costs no memory beyond history's bounds. When history forgets a change that a watcher still had to be given, the
//! watcher is told that it is lost: none misses anything silently.

use crate::{Change, Revision};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// The groups by their prefixes.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_prefix: HashMap<String, Arc<Group>>,
    /// How many groups have a prefix of which length: a key is looked up once for each length.
    lengths: BTreeMap<usize, usize>,
}

impl Groups {
    /// The group of a prefix; a new one begins with what history has.
    pub(super) fn join<'a>(&mut self, prefix: &str, history: impl Iterator<Item = &'a Arc<Change>>) -> Arc<Group> {
        let group = match self.by_prefix.get(prefix) {
            Some(group) => Arc::clone(group),
            None => {
                let changes = history.filter(|change| change.key.starts_with(prefix)).cloned().collect();
                let group = Arc::new(Group::new(changes));
                self.by_prefix.insert(prefix.to_owned(), Arc::clone(&group));
                *self.lengths.entry(prefix.len()).or_default() += 1;
                group
            }
        };
        group.lock().members += 1;
        group
    }

    /// Takes a watcher off the list, and its group when it was the last.
    pub(super) fn leave(&mut self, prefix: &str, group: &Group, slot: Option<usize>) {
        let mut members = group.lock();
        members.members -= 1;
        if let Some(slot) = slot {
            members.wakers[slot] = None;
            members.free.push(slot);
        }
        if members.members == 0 {
            drop(members);
            self.by_prefix.remove(prefix);
            let length = self.lengths.get_mut(&prefix.len()).expect("each group's length is counted");
            *length -= 1;
            if *length == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// Puts changes into their groups. Gives who waits for them.
    pub(super) fn add(&self, changes: &[Arc<Change>]) -> Vec<Waker> {
        let mut waiting = Vec::new();
        for change in changes {
            for group in self.of(&change.key) {
                let mut group = group.lock();
                group.changes.push_back(Arc::clone(change));
                waiting.extend(group.wakers.iter_mut().filter_map(Option::take));
            }
        }
        waiting
    }

    /// Takes changes that history has forgotten, the oldest first, out of their groups.
    pub(super) fn forget(&self, changes: &[Arc<Change>]) {
        for change in changes {
            for group in self.of(&change.key) {
                let mut group = group.lock();
                group.changes.pop_front();
                group.forgotten = change.revision;
            }
        }
    }

    /// Tells all groups that the store is closed. Gives who waits.
    pub(super) fn close(&self) -> Vec<Waker> {
        let mut waiting = Vec::new();
        for group in self.by_prefix.values() {
            let mut group = group.lock();
            group.closed = true;
            waiting.extend(group.wakers.iter_mut().filter_map(Option::take));
        }
        waiting
    }

    fn of(&self, key: &str) -> impl Iterator<Item = &Arc<Group>> {
        let prefixes = self.lengths.keys().map_while(move |length| (*length <= key.len()).then_some(*length));
        prefixes.filter_map(move |length| self.by_prefix.get(key.get(..length)?))
    }
}

/// The watchers of one prefix.
#[derive(Debug)]
pub(super) struct Group(Mutex<Members>);

#[derive(Debug)]
struct Members {
    /// What history has under the prefix.
    changes: VecDeque<Arc<Change>>,
    /// The last change under the prefix that history has forgotten since the group began.
    forgotten: Revision,
    /// By watcher, for those who wait.
    wakers: Vec<Option<Waker>>,
    /// Places in `wakers` whose watchers have left.
    free: Vec<usize>,
    members: usize,
    closed: bool,
}

/// What a watcher is given.
pub(super) enum Pulled {
    /// The next changes. Those of one revision come together.
    Changes(VecDeque<Arc<Change>>),
    /// There is nothing now; the watcher will be woken.
    Nothing,
    /// Something that had to be given is forgotten.
    Missed,
    /// The store is closed.
    Closed,
}

impl Group {
    fn new(changes: VecDeque<Arc<Change>>) -> Self {
        let (wakers, free) = (Vec::new(), Vec::new());
        Self(Mutex::new(Members { changes, forgotten: Revision(0), wakers, free, members: 0, closed: false }))
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what comes after `position`, about `limit` changes at most, or notes who waits in the watcher's place, which is
    /// handed out with the first waiting.
    pub(super) fn pull(
        &self,
        position: Revision,
        limit: usize,
        slot: &mut Option<usize>,
        context: &Context<'_>,
    ) -> Pulled {
        let mut group = self.lock();
        if group.closed {
            return Pulled::Closed;
        }
        if group.forgotten > position {
            return Pulled::Missed;
        }
        // Mostly a watcher has been given all but the last.
        let behind = match group.changes.len().checked_sub(2).map(|second| group.changes[second].revision) {
            Some(second) if second <= position => group.changes.len() - 1,
            Some(_) | None => group.changes.partition_point(|change| change.revision <= position),
        };
        let mut end = group.changes.len().min(behind.saturating_add(limit.max(1)));
        while end > 0 && end < group.changes.len() && group.changes[end].revision == group.changes[end - 1].revision {
            end += 1;
        }
        let next: VecDeque<_> =
            group.changes.range(behind..end).filter(|next| next.revision > position).cloned().collect();
        if !next.is_empty() {
            return Pulled::Changes(next);
        }
        group.wait(slot, context.waker());
        Pulled::Nothing
    }
}

impl Members {
    fn wait(&mut self, slot: &mut Option<usize>, waker: &Waker) {
        let place = *slot.get_or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.wakers.push(None);
                self.wakers.len() - 1
            })
        });
        match &mut self.wakers[place] {
            Some(present) => present.clone_from(waker),
            absent @ None => *absent = Some(waker.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, revision: u64) -> Arc<Change> {
        Arc::new(Change { key: key.into(), current: None, previous: None, revision: Revision(revision) })
    }

    fn pull(group: &Group, position: u64, limit: usize, slot: &mut Option<usize>) -> Option<Vec<u64>> {
        let context = Context::from_waker(Waker::noop());
        match group.pull(Revision(position), limit, slot, &context) {
            Pulled::Changes(changes) => Some(changes.iter().map(|change| change.revision.0).collect()),
            Pulled::Nothing => Some(Vec::new()),
            Pulled::Missed | Pulled::Closed => None,
        }
    }

    #[test]
    fn a_group_is_given_the_changes_under_its_prefix_and_no_others() {
        let mut groups = Groups::default();
        let past = [change("/a/x", 1), change("/b/x", 2)];
        let (all, a, exact) =
            (groups.join("", past.iter()), groups.join("/a/", past.iter()), groups.join("/ä", past.iter()));
        groups.add(&[change("/ä", 3), change("/a/y", 4), change("/a", 5)]);
        let given = |group: &Group| pull(group, 0, 10, &mut None).unwrap();
        assert_eq!((given(&all), given(&a), given(&exact)), (vec![1, 2, 3, 4, 5], vec![1, 4], vec![3]));
    }

    #[test]
    fn changes_of_one_revision_are_given_together() {
        let mut groups = Groups::default();
        let group = groups.join("/", [].iter());
        groups.add(&[change("/a", 1), change("/b", 1), change("/c", 1), change("/a", 2)]);
        assert_eq!(pull(&group, 0, 2, &mut None), Some(vec![1, 1, 1]));
        assert_eq!(pull(&group, 1, 2, &mut None), Some(vec![2]));
        assert_eq!(pull(&group, 2, 2, &mut None), Some(vec![]));
    }

    #[test]
    fn only_who_had_to_be_given_what_is_forgotten_is_lost() {
        let mut groups = Groups::default();
        let (busy, idle) = (groups.join("/busy", [].iter()), groups.join("/idle", [].iter()));
        let changes = [change("/busy", 1), change("/busy", 2), change("/busy", 3)];
        groups.add(&changes);
        groups.forget(&changes[..2]);
        assert_eq!(pull(&busy, 1, 9, &mut None), None);
        assert_eq!(pull(&busy, 2, 9, &mut None), Some(vec![3]));
        assert_eq!(pull(&idle, 0, 9, &mut None), Some(vec![]));
    }

    #[test]
    fn who_leaves_is_not_woken_and_leaves_no_group_behind() {
        let mut groups = Groups::default();
        let (mut first, mut second) = (None, None);
        let group = groups.join("/", [].iter());
        groups.join("/", [].iter());
        assert_eq!((pull(&group, 0, 9, &mut first), pull(&group, 0, 9, &mut second)), (Some(vec![]), Some(vec![])));
        groups.leave("/", &group, first);
        assert_eq!(groups.add(&[change("/a", 1)]).len(), 1);
        groups.leave("/", &group, second);
        assert!(groups.by_prefix.is_empty() && groups.lengths.is_empty());
        assert!(groups.add(&[change("/a", 2)]).is_empty());
    }
}
