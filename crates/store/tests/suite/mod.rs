//! What every backend of the `Store` trait has to pass. Each check takes a fresh, empty store, which should tell
//! progress at least every second.

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

/// Waits until the watch says that it has given everything up to `revision`; panics if there is another change.
pub(crate) async fn quiet_until(watch: &mut Watch, revision: Revision) {
    loop {
        match watch.next().await.expect("the watch goes on") {
            WatchEvent::Progress(at) if at >= revision => return,
            WatchEvent::Progress(_) => {}
            event => panic!("nothing more was to come, but {event:?}"),
        }
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
        assert_eq!(change.current.expect("a put").value, expected.to_string().as_bytes());
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
    assert_eq!((change.key.as_str(), change.current), ("/ttl/a", None));
    assert_eq!(change.previous.expect("it was there").mod_revision, start);
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
    assert_eq!((change.revision, change.current, change.previous.is_some()), (third, None, true));
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
