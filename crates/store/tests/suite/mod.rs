//! What every backend of the `Store` trait has to pass. Each check takes a store in which nobody else writes and under
//! whose prefixes nothing is yet.
#![allow(dead_code, reason = "each backend uses its part")]

use bytes::Bytes;
use orrery_store::{Compare, Op, RangeRequest, Revision, Store, StoreError, Txn, TxnOutcome, Watch, WatchEvent};
use std::sync::Arc;
use std::time::Duration;

pub(crate) mod model;

pub(crate) fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()), ttl: None }
}

pub(crate) fn delete(key: &str) -> Op {
    Op::Delete { key: key.to_owned() }
}

pub(crate) async fn write(store: &dyn Store, ops: Vec<Op>) -> Revision {
    match store.txn(Txn { compare: Vec::new(), ops }).await {
        Ok(TxnOutcome::Committed(revision)) => revision,
        other => panic!("an unconditional write was answered with {other:?}"),
    }
}

/// The next event that is not progress.
pub(crate) async fn next_change(watch: &mut Watch) -> WatchEvent {
    loop {
        match watch.next().await.expect("the watch goes on") {
            WatchEvent::Progress(_) => {}
            event => return event,
        }
    }
}

/// Waits until the watch says, when it is asked, that it has given everything up to `revision`; panics if there is another
/// change.
pub(crate) async fn quiet_until(watch: &mut Watch, revision: Revision) {
    watch.request_progress();
    loop {
        match watch.next().await.expect("the watch goes on") {
            WatchEvent::Progress(at) if at >= revision => return,
            WatchEvent::Progress(_) => {}
            event => panic!("nothing more was to come, but {event:?}"),
        }
    }
}

/// Progress that is asked for comes after everything that was there when it was asked, without waiting for its time.
pub(crate) async fn progress_comes_when_it_is_asked_for<S: Store>(store: Arc<S>) {
    let start = store.current_revision().await.expect("revision");
    let mut idle = store.watch("/idle/", start).await.expect("watch");
    let mut busy = store.watch("/busy/", start).await.expect("watch");
    quiet_until(&mut idle, start).await;
    quiet_until(&mut busy, start).await;
    let mut last = start;
    for number in 0..10 {
        last = write(&*store, vec![put(&format!("/busy/{number}"), "1")]).await;
    }
    quiet_until(&mut idle, last).await;
    busy.request_progress();
    for number in 1..=10 {
        let WatchEvent::Change(change) = next_change(&mut busy).await else { panic!("a change was to come") };
        assert_eq!(change.revision, Revision(start.0 + number));
    }
    quiet_until(&mut busy, last).await;
}

/// Pages of one revision fit together whatever is written meanwhile, and say how much is left.
pub(crate) async fn pages_show_one_revision_while_others_write<S: Store>(store: Arc<S>) {
    for chunk in 0..10 {
        let ops = (0..50).map(|number| put(&format!("/pages/{:03}", chunk * 50 + number), "old"));
        write(&*store, ops.collect()).await;
    }
    let mut request = RangeRequest { prefix: "/pages/".into(), limit: Some(120), ..RangeRequest::default() };
    let mut keys = Vec::new();
    for (turn, left) in [380, 260, 140, 20, 0].into_iter().enumerate() {
        let page = store.range(request.clone()).await.expect("range");
        assert_eq!(page.remaining, left);
        assert!(page.entries.iter().all(|entry| entry.value == "old" && entry.mod_revision <= page.revision));
        keys.extend(page.entries.iter().map(|entry| entry.key.clone()));
        request.at = Some(page.revision);
        request.after = keys.last().cloned();
        // Before, in and after what is still to come.
        let ops = vec![delete(&format!("/pages/{turn:03}")), delete("/pages/300"), put("/pages/450", "new")];
        write(&*store, ops).await;
        write(&*store, vec![put("/pages/300", "new"), put(&format!("/pages/49{turn}a"), "new")]).await;
    }
    let expected: Vec<_> = (0..500).map(|number| format!("/pages/{number:03}")).collect();
    assert_eq!(keys, expected);
    let count = RangeRequest { prefix: "/pages/".into(), limit: Some(0), ..RangeRequest::default() };
    let counted = store.range(count).await.expect("range");
    assert_eq!((counted.entries.len(), counted.remaining), (0, 500));
}

/// Many watchers of one prefix, some of which come late or leave early, are given the same changes.
pub(crate) async fn watchers_of_one_prefix_see_the_same<S: Store>(store: Arc<S>) {
    let start = store.current_revision().await.expect("revision");
    let mut readers = Vec::new();
    for round in 0..20 {
        for reader in 0..10 {
            let mut watch = store.watch("/same/", start).await.expect("watch");
            readers.push(tokio::spawn(async move {
                // Some leave in the middle.
                let enough = if reader == 0 { 5 } else { 20 };
                let mut seen = Vec::new();
                while seen.len() < enough {
                    let WatchEvent::Change(change) = next_change(&mut watch).await else {
                        panic!("a change was to come")
                    };
                    seen.push(change.current.as_ref().map(|entry| entry.value.clone()));
                }
                seen
            }));
        }
        write(&*store, vec![put("/same/a", &round.to_string()), put("/other/a", "x")]).await;
    }
    for reader in readers {
        let seen = reader.await.expect("no reader panics");
        let expected: Vec<_> = (0..seen.len()).map(|round| Some(Bytes::from(round.to_string()))).collect();
        assert_eq!(seen, expected);
    }
}

/// Of many concurrent creations of a key one wins; concurrent counting loses nothing; a watcher sees each step once.
pub(crate) async fn concurrent_writers_are_serialised<S: Store>(store: Arc<S>) {
    let mut watch = store.watch("/count", Revision(0)).await.expect("watch");
    let tasks: Vec<_> = (0..16).map(|number| tokio::spawn(create_then_count(Arc::clone(&store), number))).collect();
    let mut created = 0;
    for task in tasks {
        created += usize::from(task.await.expect("no writer panics"));
    }
    assert_eq!(created, 1);
    let entry = store.get("/count").await.expect("get").expect("it is there");
    assert_eq!(&entry.value[..], b"64");
    let mut last = Revision(0);
    for expected in 1..=64 {
        let WatchEvent::Change(change) = next_change(&mut watch).await else { panic!("a change was to come") };
        assert_eq!(change.current.as_ref().expect("a put").value, expected.to_string().as_bytes());
        assert!(change.revision > last);
        last = change.revision;
    }
    quiet_until(&mut watch, last).await;
}

async fn create_then_count<S: Store>(store: Arc<S>, number: usize) -> bool {
    let create = Txn { compare: vec![Compare::Absent("/one".into())], ops: vec![put("/one", &number.to_string())] };
    let created = matches!(store.txn(create).await.expect("txn"), TxnOutcome::Committed(_));
    let mut done = 0;
    while done < 4 {
        let present = store.get("/count").await.expect("get");
        let (compare, next) = match present {
            None => (Compare::Absent("/count".into()), 1),
            Some(entry) => {
                let value: u32 = String::from_utf8_lossy(&entry.value).parse().expect("a number");
                (Compare::ModRevision("/count".into(), entry.mod_revision), value + 1)
            }
        };
        let txn = Txn { compare: vec![compare], ops: vec![put("/count", &next.to_string())] };
        done += usize::from(matches!(store.txn(txn).await.expect("txn"), TxnOutcome::Committed(_)));
    }
    created
}

/// A value with a time to live is deleted by an ordinary revision; one that is written again without, stays.
pub(crate) async fn expired_values_are_deleted_by_ordinary_revisions<S: Store>(store: Arc<S>) {
    let brief = |key: &str| Op::Put {
        key: key.to_owned(),
        value: Bytes::from_static(b"brief"),
        ttl: Some(Duration::from_millis(200)),
    };
    let start = write(&*store, vec![brief("/ttl/a"), brief("/ttl/b"), put("/ttl/c", "stays")]).await;
    write(&*store, vec![put("/ttl/b", "stays too")]).await;
    let mut watch = store.watch("/ttl/a", start).await.expect("watch");
    let WatchEvent::Change(change) = next_change(&mut watch).await else { panic!("a change was to come") };
    assert_eq!((change.key.as_str(), &change.current), ("/ttl/a", &None));
    assert_eq!(change.previous.as_ref().expect("it was there").mod_revision, start);
    assert!(change.revision > start);
    // The first deadline of the second key was the same, and has passed too.
    let page = store.range(RangeRequest { prefix: "/ttl/".into(), ..RangeRequest::default() }).await.expect("range");
    let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["/ttl/b", "/ttl/c"]);
}

/// What is compacted is refused or reported as lost, what is not there yet is refused.
pub(crate) async fn the_forgotten_past_and_the_future_are_refused<S: Store>(store: Arc<S>) {
    let first = write(&*store, vec![put("/a", "1")]).await;
    let second = write(&*store, vec![put("/a", "2")]).await;
    store.compact(second).await.expect("compact");
    let at = |revision| RangeRequest { at: Some(revision), ..RangeRequest::default() };
    assert!(matches!(store.range(at(first)).await, Err(StoreError::Compacted { .. })));
    assert_eq!(store.range(at(second)).await.expect("range").entries.len(), 1);
    let ahead = Revision(second.0 + 1);
    assert!(matches!(store.range(at(ahead)).await, Err(StoreError::Future { .. })));
    assert!(matches!(store.compact(ahead).await, Err(StoreError::Future { .. })));
    let mut lost = store.watch("/", first).await.expect("watch");
    assert_eq!(lost.next().await, Some(WatchEvent::Lost { compacted: second }));
    assert_eq!(lost.next().await, None);
    let mut kept = store.watch("/", second).await.expect("watch");
    let third = write(&*store, vec![delete("/a")]).await;
    let WatchEvent::Change(change) = next_change(&mut kept).await else { panic!("a change was to come") };
    assert_eq!((change.revision, &change.current, change.previous.is_some()), (third, &None, true));
}

/// A transaction that writes a key twice is refused and writes nothing; one that changes nothing takes no revision.
pub(crate) async fn odd_transactions_leave_no_trace<S: Store>(store: Arc<S>) {
    let twice = Txn { compare: Vec::new(), ops: vec![put("/a", "1"), delete("/a")] };
    assert!(store.txn(twice).await.is_err());
    assert_eq!(store.get("/a").await.expect("get"), None);
    let before = store.current_revision().await.expect("revision");
    assert_eq!(write(&*store, vec![delete("/missing")]).await, before);
    assert_eq!(write(&*store, Vec::new()).await, before);
    let conflict = Txn { compare: vec![Compare::ModRevision("/a".into(), Revision(1))], ops: vec![put("/a", "1")] };
    assert_eq!(store.txn(conflict).await.expect("txn"), TxnOutcome::Conflict(vec![None]));
}
