//! Keys that wait to be looked at.
//!
//! ```text
//!            add            next                    done
//! (absent) ------> waiting ------> in work --------------> (absent)
//!            add_after |              | add: once more when done
//!            later ----'              `--------------------> waiting
//! ```
//!
//! A key waits once, however often it is added, and is never in work twice at a time. So the queue is no longer than there
//! are objects. A key that fails waits longer each time.

use crate::ObjectKey;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

const FIRST_BACKOFF: Duration = Duration::from_millis(5);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct State {
    order: VecDeque<ObjectKey>,
    waiting: HashSet<ObjectKey>,
    in_work: HashSet<ObjectKey>,
    later: BTreeSet<(Instant, ObjectKey)>,
    due: BTreeMap<ObjectKey, Instant>,
    failures: HashMap<ObjectKey, u32>,
}

impl State {
    fn add(&mut self, key: ObjectKey) {
        if self.waiting.insert(key.clone()) && !self.in_work.contains(&key) {
            self.order.push_back(key);
        }
    }

    /// Moves what has become due into the queue. Returns when the next will.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, key)) = self.later.first().cloned() {
            if at > now {
                return Some(at);
            }
            self.later.pop_first();
            self.due.remove(&key);
            self.add(key);
        }
        None
    }
}

/// The queue of one controller.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    news: Notify,
}

impl Queue {
    /// The key is to be looked at.
    pub fn add(&self, key: ObjectKey) {
        self.lock().add(key);
        self.news.notify_one();
    }

    /// The key is to be looked at when `delay` has passed, if it is not looked at sooner for this reason.
    pub fn add_after(&self, key: ObjectKey, delay: Duration) {
        let at = Instant::now() + delay;
        {
            let mut state = self.lock();
            match state.due.get(&key).copied() {
                Some(before) if before <= at => return,
                Some(before) => drop(state.later.remove(&(before, key.clone()))),
                None => {}
            }
            state.due.insert(key.clone(), at);
            state.later.insert((at, key));
        }
        self.news.notify_one();
    }

    /// The next key, once there is one. It stays in work until [`Queue::done`]. Cancel-safe: a key is taken at the end.
    pub async fn next(&self) -> ObjectKey {
        loop {
            let news = self.news.notified();
            let wake = {
                let mut state = self.lock();
                let wake = state.promote(Instant::now());
                if let Some(key) = state.order.pop_front() {
                    state.waiting.remove(&key);
                    state.in_work.insert(key.clone());
                    // One call wakes one worker: pass it on when there is more.
                    if !state.order.is_empty() || wake.is_some() {
                        self.news.notify_one();
                    }
                    return key;
                }
                wake
            };
            match wake {
                Some(at) => {
                    tokio::select! {
                        // Cancel-safe: a notification and a timer.
                        () = news => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => news.await,
            }
        }
    }

    /// The key has been looked at; its failures are forgotten.
    pub fn done(&self, key: &ObjectKey) {
        let mut state = self.lock();
        state.failures.remove(key);
        self.finish(state, key);
    }

    /// The key has been looked at in vain and is tried again after its back-off, which is returned.
    pub fn failed(&self, key: &ObjectKey) -> Duration {
        let delay = {
            let mut state = self.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            let delay = FIRST_BACKOFF.saturating_mul(2u32.saturating_pow(*failures)).min(LONGEST_BACKOFF);
            *failures = failures.saturating_add(1);
            self.finish(state, key);
            delay
        };
        self.add_after(key.clone(), delay);
        delay
    }

    /// How many keys wait now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().order.len()
    }

    /// Whether no key waits now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn finish(&self, mut state: MutexGuard<'_, State>, key: &ObjectKey) {
        state.in_work.remove(key);
        if state.waiting.contains(key) {
            state.order.push_back(key.clone());
            drop(state);
            self.news.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("demo", name)
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_is_never_in_work_twice() {
        let queue = Queue::default();
        for name in ["a", "b", "a"] {
            queue.add(key(name));
        }
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.next().await, key("a"));
        queue.add(key("a"));
        assert_eq!(queue.next().await, key("b"), "a is in work and is not handed out again");
        assert!(tokio::time::timeout(seconds(1), queue.next()).await.is_err());
        queue.done(&key("a"));
        assert_eq!(queue.next().await, key("a"), "it changed while it was in work");
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_delay_counts_and_failures_wait_longer_each_time() {
        let (queue, start) = (Queue::default(), Instant::now());
        queue.add_after(key("a"), seconds(9));
        queue.add_after(key("a"), seconds(3));
        queue.add_after(key("a"), seconds(5));
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(start.elapsed(), seconds(3));
        queue.done(&key("a"));
        assert!(tokio::time::timeout(seconds(60), queue.next()).await.is_err(), "one delay, one look");
        queue.add(key("b"));
        let mut waits = Vec::new();
        for _ in 0..4 {
            assert_eq!(queue.next().await, key("b"));
            waits.push(queue.failed(&key("b")).as_millis());
        }
        assert_eq!(waits, [5, 10, 20, 40]);
        assert_eq!(queue.next().await, key("b"));
        queue.done(&key("b"));
        queue.add(key("b"));
        queue.next().await;
        assert_eq!(queue.failed(&key("b")), FIRST_BACKOFF, "success makes failures forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn two_waiting_workers_get_two_keys() {
        let queue = std::sync::Arc::new(Queue::default());
        let worker = |queue: std::sync::Arc<Queue>| tokio::spawn(async move { queue.next().await });
        let (one, two) = (worker(queue.clone()), worker(queue.clone()));
        tokio::task::yield_now().await;
        queue.add(key("a"));
        queue.add(key("b"));
        let got = BTreeSet::from([one.await.unwrap(), two.await.unwrap()]);
        assert_eq!(got, BTreeSet::from([key("a"), key("b")]));
    }
}
