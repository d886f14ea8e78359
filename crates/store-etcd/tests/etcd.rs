//! The etcd backend: the common suite against a real etcd, and what belongs to this backend alone.
//!
//! etcd comes from `$ORRERY_TEST_TOOLS` (`scripts/get-etcd` puts it there) or the `PATH`. Each test has a server of its own,
//! on Unix sockets in a directory of its own, with long times for elections, as the machine may be busy.

#[path = "../../store/tests/suite/mod.rs"]
mod suite;

use orrery_store::{RangeRequest, Store, StoreError, Watch, WatchEvent};
use orrery_store_etcd::{ConnectError, EtcdOptions, EtcdStore};
use proptest::test_runner::{Config, TestRunner};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use suite::{next_change, put, quiet_until, write};

/// So long that a test which waits for it hangs: progress has to come when it is asked for.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// A server. Killed when it is dropped.
struct Etcd {
    program: PathBuf,
    directory: tempfile::TempDir,
    child: Child,
}

impl Etcd {
    /// Starts the program of that name; none, with the reason told, when there is none.
    fn start(name: &str) -> Option<Self> {
        let tools = std::env::var_os("ORRERY_TEST_TOOLS").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = tools.into_iter().chain(std::env::split_paths(&path));
        let Some(program) = places.map(|place| place.join(name)).find(|program| program.exists()) else {
            orrery_testing::skipped(format!("there is no {name}; get it with: scripts/get-etcd DIRECTORY"));
            return None;
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let child = run(&program, directory.path());
        Some(Self { program, directory, child })
    }

    fn endpoint(&self) -> String {
        format!("unix:{}/localhost:1", self.directory.path().display())
    }

    fn options(&self, root: &str) -> EtcdOptions {
        let history_age = None;
        EtcdOptions { history_age, progress_interval: NEVER, ..EtcdOptions::new(vec![self.endpoint()], root) }
    }

    /// A store below `root`, once the server answers.
    async fn store(&self, root: &str) -> Arc<EtcdStore> {
        loop {
            match EtcdStore::connect(self.options(root)).await {
                Ok(store) => return Arc::new(store),
                Err(ConnectError::Unreachable { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn restart(&mut self) {
        self.child = run(&self.program, self.directory.path());
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(program: &Path, directory: &Path) -> Child {
    let log = std::fs::File::create(directory.join("log")).expect("a log");
    Command::new(program)
        .current_dir(directory)
        .args(["--data-dir", "data", "--log-level", "error"])
        .args(["--listen-client-urls", "unix://localhost:1", "--advertise-client-urls", "unix://localhost:1"])
        .args(["--listen-peer-urls", "unix://localhost:2", "--initial-advertise-peer-urls", "unix://localhost:2"])
        .args(["--initial-cluster", "default=unix://localhost:2"])
        .args(["--heartbeat-interval", "250", "--election-timeout", "2500"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("etcd starts")
}

/// A server and a store, or the test is over.
macro_rules! etcd_or_skip {
    ($etcd:ident, $store:ident) => {
        let Some($etcd) = Etcd::start("etcd") else { return };
        #[allow(unused_mut, reason = "some tests restart it")]
        let mut $etcd = $etcd;
        let $store = $etcd.store("/orrery").await;
        let _ = &mut $etcd;
    };
}

#[test]
fn the_store_does_what_the_oracle_says() {
    let Some(etcd) = Etcd::start("etcd") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let case = std::cell::Cell::new(0);
    let mut runner =
        TestRunner::new(Config { cases: 24, failure_persistence: None, max_shrink_iters: 100, ..Config::default() });
    let outcome = runner.run(&suite::model::steps(), |steps| {
        case.set(case.get() + 1);
        runtime.block_on(async {
            let store = etcd.store(&format!("/case-{}", case.get())).await;
            suite::model::follows_the_oracle(&*store, steps).await;
        });
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_are_serialised() {
    etcd_or_skip!(etcd, store);
    suite::concurrent_writers_are_serialised(store).await;
}

#[tokio::test]
async fn progress_comes_when_it_is_asked_for() {
    etcd_or_skip!(etcd, store);
    suite::progress_comes_when_it_is_asked_for(store).await;
}

#[tokio::test]
async fn pages_show_one_revision_while_others_write() {
    etcd_or_skip!(etcd, store);
    suite::pages_show_one_revision_while_others_write(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_of_one_prefix_see_the_same() {
    etcd_or_skip!(etcd, store);
    suite::watchers_of_one_prefix_see_the_same(store).await;
}

#[tokio::test]
async fn expired_values_are_deleted_by_ordinary_revisions() {
    etcd_or_skip!(etcd, store);
    suite::expired_values_are_deleted_by_ordinary_revisions(store).await;
}

#[tokio::test]
async fn the_forgotten_past_and_the_future_are_refused() {
    etcd_or_skip!(etcd, store);
    suite::the_forgotten_past_and_the_future_are_refused(store).await;
}

#[tokio::test]
async fn odd_transactions_leave_no_trace() {
    etcd_or_skip!(etcd, store);
    suite::odd_transactions_leave_no_trace(store).await;
}

#[tokio::test]
async fn a_page_of_a_compacted_revision_says_what_is_kept() {
    etcd_or_skip!(etcd, store);
    let first = write(&*store, vec![put("/a", "1")]).await;
    write(&*store, vec![put("/a", "2")]).await;
    let third = write(&*store, vec![put("/a", "3")]).await;
    store.compact(third).await.expect("compact");
    let page = store.range(RangeRequest { at: Some(first), ..RangeRequest::default() }).await;
    assert!(
        matches!(page, Err(StoreError::Compacted { asked, compacted }) if (asked, compacted) == (first, third)),
        "{page:?}"
    );
}

#[tokio::test]
async fn stores_of_one_etcd_do_not_see_each_other() {
    etcd_or_skip!(etcd, store);
    let other = etcd.store("/orrery-2").await;
    let start = write(&*store, vec![put("/a", "1")]).await;
    let mut watch = store.watch("", start).await.expect("watch");
    write(&*other, vec![put("/a", "2"), put("/b", "2")]).await;
    let page = store.range(RangeRequest::default()).await.expect("range");
    assert_eq!(page.entries.iter().map(|entry| &*entry.key).collect::<Vec<_>>(), ["/a"]);
    quiet_until(&mut watch, store.current_revision().await.expect("revision")).await;
}

/// Reads changes of `/a`, which count, up to `last`.
async fn count_up_to(watch: &mut Watch, from: u64, last: u64) {
    for expected in from..=last {
        let WatchEvent::Change(change) = next_change(watch).await else { panic!("a change was to come") };
        assert_eq!(change.current.as_ref().expect("a put").value, expected.to_string());
    }
}

#[tokio::test]
async fn a_watch_outlives_etcd_and_misses_nothing() {
    etcd_or_skip!(etcd, store);
    let start = store.current_revision().await.expect("revision");
    let mut watch = store.watch("/a", start).await.expect("watch");
    write(&*store, vec![put("/a", "1")]).await;
    count_up_to(&mut watch, 1, 1).await;
    etcd.kill();
    etcd.restart();
    // Another client, so that the first one finds out by itself.
    let other = etcd.store("/orrery").await;
    for number in 2..=5 {
        write(&*other, vec![put("/a", &number.to_string())]).await;
    }
    count_up_to(&mut watch, 2, 5).await;
    assert_eq!(store.get("/a").await.expect("reads are tried again").expect("it is there").value, "5");
}

#[tokio::test]
async fn a_watch_that_is_not_read_holds_up_nobody_and_misses_nothing() {
    etcd_or_skip!(etcd, store);
    let slow_store =
        EtcdStore::connect(EtcdOptions { watch_buffer: 1, ..etcd.options("/orrery") }).await.expect("connect");
    let start = store.current_revision().await.expect("revision");
    let mut slow = slow_store.watch("/a", start).await.expect("watch");
    let mut fast = slow_store.watch("/a", start).await.expect("watch");
    for number in 1..=200_u64 {
        write(&*store, vec![put("/a", &number.to_string())]).await;
        count_up_to(&mut fast, number, number).await;
    }
    count_up_to(&mut slow, 1, 200).await;
}

#[tokio::test]
async fn values_that_live_equally_long_share_a_lease() {
    etcd_or_skip!(etcd, store);
    let hour = Some(Duration::from_secs(3600));
    let op = |number: u32| orrery_store::Op::Put { key: format!("/ttl/{number}"), value: "v".into(), ttl: hour };
    for number in 0..20 {
        write(&*store, vec![op(number), op(number + 100)]).await;
    }
    // 40 leases would be 40 transactions more in etcd's log; what counts here is that revisions are those of the writes.
    assert_eq!(store.leases_granted(), 1);
}

#[tokio::test]
async fn history_is_forgotten_after_its_age() {
    let Some(etcd) = Etcd::start("etcd") else { return };
    drop(etcd.store("/orrery").await);
    let age = Some(Duration::from_millis(50));
    let store = EtcdStore::connect(EtcdOptions { history_age: age, ..etcd.options("/orrery") }).await.expect("connect");
    let first = write(&store, vec![put("/a", "1")]).await;
    write(&store, vec![put("/a", "2")]).await;
    let mut watch = store.watch("/", first).await.expect("watch");
    next_change(&mut watch).await;
    loop {
        let page = store.range(RangeRequest { at: Some(first), ..RangeRequest::default() }).await;
        if matches!(page, Err(StoreError::Compacted { .. })) {
            break;
        }
        tokio::task::yield_now().await;
    }
    // Who has everything is not lost.
    let last = write(&store, vec![put("/a", "3")]).await;
    assert!(matches!(next_change(&mut watch).await, WatchEvent::Change(change) if change.revision == last));
    let mut late = store.watch("/", first).await.expect("watch");
    assert!(matches!(next_change(&mut late).await, WatchEvent::Lost { compacted } if compacted > first));
}

#[tokio::test]
async fn an_etcd_that_is_too_old_is_refused() {
    let Some(etcd) = Etcd::start("etcd-too-old") else { return };
    let refused = loop {
        match EtcdStore::connect(etcd.options("/orrery")).await {
            Err(ConnectError::Unreachable { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => break error,
            Ok(_) => panic!("it was taken"),
        }
    };
    assert!(matches!(&refused, ConnectError::TooOld { found, .. } if found.starts_with("3.4.")), "{refused}");
    assert!(refused.to_string().contains("3.5.13 or newer"), "{refused}");
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_told() {
    let nowhere = EtcdOptions::new(vec!["unix:/nonexistent/etcd".to_owned()], "/orrery");
    assert!(matches!(EtcdStore::connect(nowhere).await, Err(ConnectError::Unreachable { .. })));
    let nothing = EtcdOptions::new(Vec::new(), "/orrery");
    assert!(matches!(EtcdStore::connect(nothing).await, Err(ConnectError::Endpoint(_))));
}
