//! Disks that are full, read-only or change what was written: a clear error, reads go on where they can, and nothing that
//! was acknowledged is lost without a word.

mod suite;

use bytes::Bytes;
use orrery_store::{
    Embedded, EmbeddedOptions, Entry, Op, OpenError, RangeRequest, Revision, Store, StoreError, Txn, maintain,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use suite::{delete, put, write};

async fn open(directory: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(&directory.join("store.db"), EmbeddedOptions::default()).await
}

async fn everything(store: &Embedded) -> Vec<Arc<Entry>> {
    store.range(RangeRequest::default()).await.expect("range").entries
}

/// Objects of many sizes, with gaps from deleted ones.
async fn fill(store: &Embedded) -> Revision {
    let mut last = Revision(0);
    for round in 0..6 {
        let value = |number: usize| Bytes::from(vec![b'a' + round; (number * 397) % 9_000]);
        let ops = (0..40).map(|number| Op::Put { key: format!("/fill/{number}"), value: value(number), ttl: None });
        write(store, ops.collect()).await;
        last = write(store, (0..40).step_by(7).map(|number| delete(&format!("/fill/{number}"))).collect()).await;
    }
    last
}

/// Flips single bits of `name` in a directory like `template`. Each time the store has to refuse to open, or to have exactly
/// what was written. Gives how often it refused and how often it did not.
fn flip_bits(template: &Path, name: &str, expected: &[Arc<Entry>], cases: u32) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let intact = std::fs::read(template.join(name)).expect("the file is there");
    let outcomes = std::cell::RefCell::new((0, 0));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&(any::<prop::sample::Index>(), 0..8_u8), |(place, bit)| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for file in std::fs::read_dir(template).expect("the template is there") {
            let file = file.expect("an entry").path();
            std::fs::copy(&file, directory.path().join(file.file_name().expect("a name"))).expect("copy");
        }
        let mut flipped = intact.clone();
        let place = place.index(flipped.len());
        flipped[place] ^= 1 << bit;
        std::fs::write(directory.path().join(name), flipped).expect("write");
        runtime.block_on(async {
            match open(directory.path()).await {
                Err(OpenError::InUse { .. } | OpenError::Thread(_)) => panic!("byte {place}, bit {bit}: misleading"),
                Err(_) => outcomes.borrow_mut().0 += 1,
                Ok(store) => {
                    assert_eq!(everything(&store).await, expected, "byte {place}, bit {bit}");
                    store.close().await;
                    outcomes.borrow_mut().1 += 1;
                }
            }
        });
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    outcomes.into_inner()
}

/// A copy of a store's files as they are now, without the lock and the socket.
fn snapshot(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    for name in ["store.db", "store.db-wal", "store.db.acked"] {
        match std::fs::copy(directory.join(name), copy.path().join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{name}: {error}"),
            Ok(_) | Err(_) => {}
        }
    }
    copy
}

fn prepared(closed: bool) -> (tempfile::TempDir, Vec<Arc<Entry>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = open(directory.path()).await.expect("open");
        fill(&store).await;
        let expected = everything(&store).await;
        if closed {
            store.close().await;
        }
        (snapshot(directory.path()), expected)
    })
}

#[test]
fn a_flipped_bit_of_the_file_is_noticed_or_harmless() {
    let (template, expected) = prepared(true);
    let (refused, harmless) = flip_bits(template.path(), "store.db", &expected, 200);
    assert!(refused > 0 && harmless > 0, "{refused} refused, {harmless} harmless");
}

#[test]
fn a_flipped_bit_of_the_write_ahead_log_is_noticed_or_harmless() {
    let (template, expected) = prepared(false);
    let (refused, harmless) = flip_bits(template.path(), "store.db-wal", &expected, 100);
    assert!(refused > 0, "{refused} refused, {harmless} harmless");
}

#[tokio::test]
async fn a_file_that_is_older_than_what_was_acknowledged_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store.db");
    let store = open(directory.path()).await.expect("open");
    fill(&store).await;
    store.close().await;
    let old = std::fs::read(&path).expect("read");
    let store = open(directory.path()).await.expect("open again");
    let last = write(&store, vec![put("/a", "1")]).await;
    store.close().await;
    std::fs::write(&path, old).expect("write");
    let refused = open(directory.path()).await.expect_err("it is behind");
    assert!(matches!(refused, OpenError::Behind { acknowledged, .. } if acknowledged == last), "{refused:?}");
    // The same when there is nothing left.
    std::fs::write(&path, "").expect("write");
    let refused = open(directory.path()).await.expect_err("it is behind");
    assert!(matches!(refused, OpenError::Behind { found: Revision(0), .. }), "{refused:?}");
}

#[tokio::test]
async fn damage_that_comes_while_the_store_runs_stops_no_read_and_no_backup() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store.db");
    let store = open(directory.path()).await.expect("open");
    // More than SQLite keeps in memory.
    for chunk in 0..20 {
        let ops = (0..50).map(|number| put(&format!("/big/{}", chunk * 50 + number), &"x".repeat(6_000)));
        write(&store, ops.collect()).await;
    }
    store.close().await;
    let store = open(directory.path()).await.expect("open again");
    let length = std::fs::metadata(&path).expect("it is there").len();
    // All but the first page.
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("open");
    let nonsense = vec![0x5a; usize::try_from(length).unwrap() - 4096];
    std::os::unix::fs::FileExt::write_all_at(&file, &nonsense, 4096).expect("write");
    let mut refusal = None;
    for number in 0..1000 {
        let txn = Txn { compare: Vec::new(), ops: vec![put(&format!("/big/{number}"), "new")] };
        refusal = store.txn(txn).await.err();
        if refusal.is_some() {
            break;
        }
    }
    let Some(StoreError::Unwritable(text)) = refusal else { panic!("{refusal:?} instead of a refusal") };
    assert!(text.contains("damaged") && text.contains("backup"), "{text}");
    let expected = everything(&store).await;
    assert_eq!(expected.len(), 1000);
    let copy = directory.path().join("copy.db");
    let control = orrery_store::Control::connect(&path).await.expect("connect").expect("it runs");
    control.backup(&copy).await.expect("the memory is sound");
    store.close().await;
    assert!(open(directory.path()).await.is_err());
    assert!(!maintain::check(&path).expect("a report").is_sound());
    maintain::restore(&copy, &path).expect("restore");
    let store = open(directory.path()).await.expect("it opens again");
    assert_eq!(everything(&store).await, expected);
    store.close().await;
}

/// A mounted file system, unmounted in the end.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn mount(place: &Path, arguments: &[&str]) -> Option<Mounted> {
    run(Command::new("mount").args(arguments).arg(place)).then(|| Mounted(place.to_owned()))
}

#[tokio::test]
async fn a_full_disk_stops_writes_with_advice_and_reads_go_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(mounted) = mount(directory.path(), &["-t", "tmpfs", "-o", "size=1m", "none"]) else {
        orrery_testing::skipped("mounting a small file system needs root");
        return;
    };
    let outcome = tokio::spawn(fill_and_free(mounted.0.clone())).await;
    drop(mounted);
    outcome.expect("the steps hold");
}

async fn fill_and_free(place: PathBuf) {
    let ballast = place.join("ballast");
    std::fs::write(&ballast, vec![0_u8; 600 << 10]).expect("write");
    let store = open(&place).await.expect("open");
    let big = "x".repeat(100 << 10);
    let first = write(&store, vec![put("/a", "1")]).await;
    let mut last = first;
    let mut refusal = None;
    for number in 0..20 {
        let txn = Txn { compare: Vec::new(), ops: vec![put(&format!("/big/{number}"), &big)] };
        match store.txn(txn).await {
            Ok(_) => last = store.current_revision().await.expect("revision"),
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }
    let Some(StoreError::Unwritable(text)) = refusal else { panic!("{refusal:?} instead of a refusal") };
    assert!(text.contains("free space"), "{text}");
    assert_eq!(store.get("/a").await.expect("get").expect("it is there").mod_revision, first);
    assert_eq!(store.current_revision().await.expect("revision"), last);
    // The refused write is not there after a restart either, and what was acknowledged is.
    let full = everything(&store).await;
    store.close().await;
    let store = open(&place).await.expect("a full disk is no reason not to open");
    assert_eq!(everything(&store).await, full);
    std::fs::remove_file(&ballast).expect("remove");
    assert_eq!(write(&store, vec![put("/a", "2")]).await, Revision(last.0 + 1));
    store.close().await;
    let store = open(&place).await.expect("open");
    assert_eq!(store.get("/a").await.expect("get").expect("it is there").value, "2");
    store.close().await;
}

#[tokio::test]
async fn a_disk_that_becomes_read_only_stops_writes_with_advice_and_reads_go_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (image, place) = (directory.path().join("image"), directory.path().join("place"));
    std::fs::create_dir(&place).expect("create");
    std::fs::File::create(&image).and_then(|file| file.set_len(32 << 20)).expect("create");
    let made = run(Command::new("mkfs.ext4").arg("-qF").arg(&image));
    let options = ["-o", "loop,errors=remount-ro", &image.display().to_string()].map(str::to_owned);
    let arguments: Vec<&str> = options.iter().map(String::as_str).collect();
    let mounted = if made { mount(&place, &arguments) } else { None };
    let Some(mounted) = mounted else {
        orrery_testing::skipped("mounting an image needs root, mkfs.ext4 and loop devices");
        return;
    };
    let source = Command::new("findmnt").args(["-no", "SOURCE"]).arg(&place).output().expect("findmnt runs");
    let device = String::from_utf8_lossy(&source.stdout).trim().trim_start_matches("/dev/").to_owned();
    let trigger = PathBuf::from(format!("/sys/fs/ext4/{device}/trigger_fs_error"));
    if !trigger.exists() {
        orrery_testing::skipped("this kernel can't pretend that a disk has failed");
        return;
    }
    let outcome = tokio::spawn(fail_the_disk(place.clone(), trigger)).await;
    let expected = outcome.expect("the steps hold");
    drop(mounted);
    let mounted = mount(&place, &arguments).expect("it mounts again");
    let outcome = tokio::spawn(reopen_and_copy(place.clone(), expected)).await;
    outcome.expect("the steps hold");
    drop(mounted);
    let arguments = ["-o", "loop,ro", &image.display().to_string()].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mounted = mount(&place, &arguments).expect("it mounts read-only");
    let refused = open(&place).await.expect_err("nothing can be written there");
    assert!(refused.to_string().contains("can be read and written"), "{refused}");
    for name in ["store.db", "copy/store.db"] {
        let report = maintain::check(&place.join(name)).expect("it can be read");
        assert!(report.is_sound(), "{name}: {report:?}");
    }
    maintain::backup(&place.join("copy/store.db"), &directory.path().join("copy.db")).expect("backup");
    drop(mounted);
}

async fn fail_the_disk(place: PathBuf, trigger: PathBuf) -> Vec<Arc<Entry>> {
    let store = open(&place).await.expect("open");
    let last = fill(&store).await;
    let expected = everything(&store).await;
    std::fs::write(&trigger, "test of the store").expect("the trigger takes it");
    let refused = store.txn(Txn { compare: Vec::new(), ops: vec![put("/a", "1")] }).await;
    let Err(StoreError::Unwritable(text)) = refused else { panic!("{refused:?} instead of a refusal") };
    assert!(text.contains("read-only"), "{text}");
    assert_eq!(everything(&store).await, expected);
    assert_eq!(store.current_revision().await.expect("revision"), last);
    store.close().await;
    expected
}

/// What was acknowledged is there once the disk is well again. Leaves a copy whose write-ahead log is not taken in yet.
async fn reopen_and_copy(place: PathBuf, expected: Vec<Arc<Entry>>) {
    let store = open(&place).await.expect("open");
    assert_eq!(everything(&store).await, expected);
    write(&store, vec![put("/a", "1")]).await;
    let copy = place.join("copy");
    std::fs::create_dir(&copy).expect("create");
    for name in ["store.db", "store.db-wal", "store.db.acked", "store.db.lock"] {
        std::fs::copy(place.join(name), copy.join(name)).expect("copy");
    }
    assert!(std::fs::metadata(copy.join("store.db-wal")).expect("it is there").len() > 0);
    store.close().await;
}
