//! The embedded backend: the common suite, and what belongs to this backend alone.

mod suite;

use bytes::Bytes;
use orrery_store::{
    Embedded, EmbeddedOptions, Op, OpenError, RangeRequest, Revision, Store, StoreError, Txn, WatchEvent,
};
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;
use std::time::Duration;
use suite::{delete, next_change, put, write};

/// So long that a test which waits for it hangs: progress has to come when it is asked for.
const NEVER: Duration = Duration::from_secs(24 * 3600);

fn options() -> EmbeddedOptions {
    EmbeddedOptions { progress_interval: NEVER, ..EmbeddedOptions::default() }
}

/// A directory and a store in it.
async fn fresh(options: EmbeddedOptions) -> (tempfile::TempDir, Arc<Embedded>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Embedded::open(&directory.path().join("store.db"), options).await.expect("open");
    (directory, Arc::new(store))
}

#[test]
fn the_store_does_what_the_oracle_says() {
    follows_the_oracle(&tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));
}

#[test]
fn the_store_does_what_the_oracle_says_when_its_callers_write_themselves() {
    follows_the_oracle(&tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"));
}

fn follows_the_oracle(runtime: &tokio::runtime::Runtime) {
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&suite::model::steps(), |steps| {
        runtime.block_on(async {
            let (_directory, store) = fresh(options()).await;
            suite::model::follows_the_oracle(&*store, steps).await;
            store.close().await;
        });
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test]
async fn progress_comes_when_it_is_asked_for() {
    let (_directory, store) = fresh(options()).await;
    suite::progress_comes_when_it_is_asked_for(store).await;
}

#[tokio::test]
async fn progress_comes_by_itself_now_and_then() {
    let often = EmbeddedOptions { progress_interval: Duration::from_millis(1), ..options() };
    let (_directory, store) = fresh(often).await;
    let mut watch = store.watch("/", Revision(0)).await.expect("watch");
    for _ in 0..3 {
        assert_eq!(watch.next().await, Some(WatchEvent::Progress(Revision(0))));
    }
}

#[tokio::test]
async fn pages_show_one_revision_while_others_write() {
    let (_directory, store) = fresh(options()).await;
    suite::pages_show_one_revision_while_others_write(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_of_one_prefix_see_the_same() {
    let (_directory, store) = fresh(options()).await;
    suite::watchers_of_one_prefix_see_the_same(store).await;
}

#[tokio::test]
async fn history_that_is_too_old_is_forgotten_and_idle_watchers_are_not_lost() {
    let (_directory, store) = fresh(EmbeddedOptions { history_age: Duration::from_millis(20), ..options() }).await;
    let mut idle = store.watch("/idle", Revision(0)).await.expect("watch");
    let first = write(&*store, vec![put("/a", "1")]).await;
    let before = RangeRequest { at: Some(Revision(0)), ..RangeRequest::default() };
    while store.range(before.clone()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(store.range(before).await, Err(StoreError::Compacted { compacted, .. }) if compacted == first));
    let mut late = store.watch("/idle", Revision(0)).await.expect("watch");
    assert_eq!(late.next().await, Some(WatchEvent::Lost { compacted: first }));
    let last = write(&*store, vec![put("/idle", "1")]).await;
    assert!(matches!(next_change(&mut idle).await, WatchEvent::Change(change) if change.revision == last));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_are_serialised() {
    let (_directory, store) = fresh(options()).await;
    suite::concurrent_writers_are_serialised(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_values_are_deleted_by_ordinary_revisions() {
    let (_directory, store) = fresh(options()).await;
    suite::expired_values_are_deleted_by_ordinary_revisions(store).await;
}

#[tokio::test]
async fn the_forgotten_past_and_the_future_are_refused() {
    let (_directory, store) = fresh(options()).await;
    suite::the_forgotten_past_and_the_future_are_refused(store).await;
}

#[tokio::test]
async fn odd_transactions_leave_no_trace() {
    let (_directory, store) = fresh(options()).await;
    suite::odd_transactions_leave_no_trace(store).await;
}

#[tokio::test]
async fn a_reopened_store_has_its_objects_and_goes_on_counting() {
    let (directory, store) = fresh(options()).await;
    write(&*store, vec![put("/a", "1"), put("/b", "1")]).await;
    let last = write(&*store, vec![delete("/b")]).await;
    let before = store.get("/a").await.expect("get");
    let mut watch = store.watch("/", last).await.expect("watch");
    store.close().await;
    assert!(matches!(store.get("/a").await, Err(StoreError::Closed)));
    assert!(matches!(store.txn(Txn::default()).await, Err(StoreError::Closed)));
    while let Some(event) = watch.next().await {
        assert_eq!(event, WatchEvent::Progress(last));
    }

    let store = Embedded::open(&directory.path().join("store.db"), options()).await.expect("open again");
    assert_eq!(store.current_revision().await.expect("revision"), last);
    assert_eq!(store.get("/a").await.expect("get"), before);
    assert_eq!(store.get("/b").await.expect("get"), None);
    let mut early = store.watch("/", Revision(last.0 - 1)).await.expect("watch");
    assert_eq!(early.next().await, Some(WatchEvent::Lost { compacted: last }));
    let mut on = store.watch("/", last).await.expect("watch");
    let next = write(&store, vec![put("/b", "2")]).await;
    assert_eq!(next, Revision(last.0 + 1));
    assert!(matches!(next_change(&mut on).await, WatchEvent::Change(change) if change.revision == next));
}

#[tokio::test]
async fn what_expired_while_the_store_was_closed_is_deleted_when_it_opens() {
    let (directory, store) = fresh(options()).await;
    let brief = Op::Put { key: "/a".into(), value: Bytes::new(), ttl: Some(Duration::from_millis(1)) };
    // The deletion may come before the close or after the opening; either way it comes.
    write(&*store, vec![brief]).await;
    store.close().await;
    let store = Embedded::open(&directory.path().join("store.db"), options()).await.expect("open again");
    let mut watch = store.watch("/", store.current_revision().await.expect("revision")).await.expect("watch");
    while store.get("/a").await.expect("get").is_some() {
        watch.next().await.expect("the watch goes on");
    }
    assert_eq!(store.current_revision().await.expect("revision"), Revision(2));
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_told_that_it_is_lost() {
    let (_directory, store) = fresh(EmbeddedOptions { history_changes: 20, watch_buffer: 2, ..options() }).await;
    let mut slow = store.watch("/busy/", Revision(0)).await.expect("watch");
    let mut idle = store.watch("/idle/", Revision(0)).await.expect("watch");
    // More than one portion of history, the channel and the bound on history hold together.
    for number in 1..=400 {
        write(&*store, vec![put("/busy/a", &number.to_string())]).await;
    }
    let mut given = Revision(0);
    let compacted = loop {
        match next_change(&mut slow).await {
            WatchEvent::Change(change) => {
                assert_eq!(change.revision, Revision(given.0 + 1));
                given = change.revision;
            }
            WatchEvent::Lost { compacted } => break compacted,
            WatchEvent::Progress(_) => unreachable!("next_change skips progress"),
        }
    };
    assert!(compacted > given && given.0 < 400);
    let last = write(&*store, vec![put("/idle/a", "1")]).await;
    assert!(matches!(next_change(&mut idle).await, WatchEvent::Change(change) if change.revision == last));
}

#[tokio::test]
async fn a_second_opener_is_refused_and_told_by_whom() {
    let (directory, store) = fresh(options()).await;
    let path = directory.path().join("store.db");
    let refused = Embedded::open(&path, options()).await;
    let Err(OpenError::InUse { holder, .. }) = refused else { panic!("{refused:?} instead of a refusal") };
    assert_eq!(holder, std::process::id().to_string());
    store.close().await;
    Embedded::open(&path, options()).await.expect("the file is free again").close().await;
}

#[tokio::test]
async fn files_of_newer_versions_and_of_others_are_refused() {
    let (directory, store) = fresh(options()).await;
    store.close().await;
    let path = directory.path().join("store.db");
    let change = |path: &std::path::Path, sql: &str| {
        rusqlite::Connection::open(path).and_then(|file| file.execute_batch(sql)).expect("SQLite works");
    };
    change(&path, "PRAGMA user_version = 99");
    assert!(matches!(Embedded::open(&path, options()).await, Err(OpenError::Newer { found: 99, known: 3, .. })));
    let other = directory.path().join("other.db");
    change(&other, "CREATE TABLE theirs (x)");
    assert!(matches!(Embedded::open(&other, options()).await, Err(OpenError::Foreign { .. })));
    let text = directory.path().join("text.db");
    std::fs::write(&text, "not a database at all, only some text in a file. ".repeat(40)).expect("write");
    assert!(matches!(Embedded::open(&text, options()).await, Err(OpenError::Sqlite { .. })));
}
