//! What administrators do with a store: look, check, give space back, back up, restore, upgrade.

mod suite;

use orrery_store::{
    Control, Embedded, EmbeddedOptions, Entry, OpenError, RangeRequest, Revision, Store, WatchEvent,
    maintain::{self, MaintenanceError},
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use suite::{delete, put, write};

struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { path: directory.path().join("store.db"), _directory: directory }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    async fn open(&self) -> Embedded {
        Embedded::open(&self.path, EmbeddedOptions::default()).await.expect("open")
    }
}

async fn everything(store: &Embedded) -> Vec<Arc<Entry>> {
    store.range(RangeRequest::default()).await.expect("range").entries
}

async fn control(path: &Path) -> Control {
    Control::connect(path).await.expect("connect").expect("a process has it open")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_store_shows_one_revision() {
    let place = Place::new();
    let store = place.open().await;
    // The two keys of each transaction have the same value in every state that there ever was.
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..300 {
                let value = number.to_string();
                write(&store, vec![put("/one", &value), put("/two", &value)]).await;
            }
        })
    };
    let mut last = 0;
    for number in 0..5 {
        let target = place.beside(&format!("copy-{number}.db"));
        let report = control(&place.path).await.backup(&target).await.expect("backup");
        assert!(report.revision >= last && report.path == target);
        last = report.revision;
        let copy = Embedded::open(&target, EmbeddedOptions::default()).await.expect("a copy is a store");
        let objects = everything(&copy).await;
        assert!(
            objects.windows(2).all(|two| two[0].value == two[1].value && two[0].mod_revision == two[1].mod_revision)
        );
        assert_eq!(copy.current_revision().await.expect("revision"), Revision(report.revision));
        copy.close().await;
    }
    writer.await.expect("the writer is not disturbed");
    let again = control(&place.path).await.backup(&place.beside("copy-0.db")).await;
    assert!(matches!(&again, Err(MaintenanceError::Remote(text)) if text.contains("is there already")), "{again:?}");
    store.close().await;
    assert!(Control::connect(&place.path).await.expect("no socket is no error").is_none());
}

#[tokio::test]
async fn a_restored_store_is_the_backup_and_no_watcher_misses_that() {
    let place = Place::new();
    let store = place.open().await;
    write(&store, vec![put("/kept", "1"), put("/changed", "1"), put("/deleted", "1")]).await;
    let saved = everything(&store).await;
    let copy = place.beside("copy.db");
    let backup = control(&place.path).await.backup(&copy).await.expect("backup");
    write(&store, vec![put("/changed", "2"), delete("/deleted"), put("/created", "1")]).await;
    let seen = store.current_revision().await.expect("revision");
    let refused = maintain::restore(&copy, &place.path);
    assert!(matches!(refused, Err(MaintenanceError::Open(OpenError::InUse { .. }))), "{refused:?}");
    store.close().await;

    let report = maintain::restore(&copy, &place.path).expect("restore");
    assert_eq!((report.backup_revision, report.store.objects), (backup.revision, 3));
    let store = place.open().await;
    assert_eq!(everything(&store).await, saved);
    let now = store.current_revision().await.expect("revision");
    assert!(now > seen, "no revision is given twice");
    for from in [Revision(0), Revision(backup.revision), seen, Revision(now.0 - 1)] {
        let mut watch = store.watch("/", from).await.expect("watch");
        assert_eq!(watch.next().await, Some(WatchEvent::Lost { compacted: now }));
    }
    assert_eq!(write(&store, vec![put("/changed", "3")]).await, Revision(now.0 + 1));
    store.close().await;

    // What was replaced is kept, and can be put back.
    let replaced = report.replaced.expect("there was a store");
    maintain::restore(&replaced, &place.path).expect("restore");
    let store = place.open().await;
    assert_eq!(store.get("/created").await.expect("get").expect("it is back").value, "1");
    assert!(store.current_revision().await.expect("revision") > now);
    store.close().await;
}

#[tokio::test]
async fn a_restore_into_nothing_makes_a_store() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let store = place.open().await;
    write(&store, vec![put("/a", "1")]).await;
    store.close().await;
    let report = maintain::restore(&place.path, &elsewhere.path).expect("restore");
    assert_eq!(report.replaced, None);
    let store = elsewhere.open().await;
    assert_eq!(everything(&store).await.len(), 1);
    store.close().await;
}

#[tokio::test]
async fn missing_writes_are_given_up_only_by_restoring_the_store_from_itself() {
    let place = Place::new();
    let store = place.open().await;
    write(&store, vec![put("/a", "1")]).await;
    store.close().await;
    let old = std::fs::read(&place.path).expect("read");
    let store = place.open().await;
    let last = write(&store, vec![put("/a", "2")]).await;
    store.close().await;
    std::fs::write(&place.path, old).expect("write");
    let report = maintain::check(&place.path).expect("a report");
    assert!(
        !report.is_sound() && report.objects_sound && report.advice.contains("newer writes are missing"),
        "{report:?}"
    );
    let copy = place.beside("copy.db");
    maintain::backup(&place.path, &copy).expect("backup");
    maintain::restore(&copy, &place.path).expect("restore");
    let store = place.open().await;
    assert!(store.current_revision().await.expect("revision") > last);
    store.close().await;
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored_and_nothing_is_changed() {
    let place = Place::new();
    let store = place.open().await;
    write(&store, (0..50).map(|number| put(&format!("/{number}"), &"x".repeat(500))).collect()).await;
    let copy = place.beside("copy.db");
    control(&place.path).await.backup(&copy).await.expect("backup");
    store.close().await;
    // All of them: some of what looks like a value is what SQLite has left in a gap.
    let mut bytes = std::fs::read(&copy).expect("read");
    bytes.chunk_by_mut(|one, other| one == other).filter(|run| run.len() > 400 && run[0] == b'x').for_each(|run| {
        run[0] = b'y';
    });
    std::fs::write(&copy, bytes).expect("write");
    let before = std::fs::read(&place.path).expect("read");
    let refused = maintain::restore(&copy, &place.path);
    assert!(matches!(refused, Err(MaintenanceError::Open(OpenError::Damaged { .. }))), "{refused:?}");
    let report = maintain::check(&copy).expect("a report");
    assert!(report.problems.iter().any(|problem| problem.contains("does not match its checksum")), "{report:?}");
    assert_eq!(std::fs::read(&place.path).expect("read"), before);
}

#[tokio::test]
async fn statistics_are_the_same_from_outside_and_inside() {
    let place = Place::new();
    let store = place.open().await;
    write(&store, vec![put("/registry/pods/demo/a", "12345"), put("/registry/pods/demo/b", "1")]).await;
    write(&store, vec![put("/registry/apps.example/things/a", "1")]).await;
    let inside = control(&place.path).await.stats().await.expect("stats");
    assert_eq!((inside.revision, inside.compacted, inside.history_changes, inside.objects), (2, 0, 3, 3));
    let counted: Vec<_> = inside.resources.iter().map(|resource| (&*resource.prefix, resource.objects)).collect();
    assert_eq!(counted, [("/registry/apps.example/things/", 1), ("/registry/pods/", 2)]);
    let in_use = maintain::stats(&place.path);
    assert!(matches!(in_use, Err(MaintenanceError::Open(OpenError::InUse { .. }))), "{in_use:?}");
    assert_eq!(control(&place.path).await.compact().await.expect("compact"), 2);
    let mut late = store.watch("/", Revision(1)).await.expect("watch");
    assert_eq!(late.next().await, Some(WatchEvent::Lost { compacted: Revision(2) }));
    store.close().await;
    let outside = maintain::stats(&place.path).expect("stats");
    assert_eq!((outside.resources, outside.objects), (inside.resources, inside.objects));
    assert!(matches!(
        maintain::stats(&place.beside("none.db")),
        Err(MaintenanceError::Open(OpenError::Missing { .. }))
    ));
}

#[tokio::test]
async fn compacting_gives_space_back_and_loses_nothing() {
    let place = Place::new();
    let store = place.open().await;
    write(&store, (0..2000).map(|number| put(&format!("/{number}"), &"x".repeat(3_000))).collect()).await;
    write(&store, (3..2000).map(|number| delete(&format!("/{number}"))).collect()).await;
    let expected = everything(&store).await;
    store.close().await;
    let (before, after) = maintain::compact(&place.path).expect("compact");
    assert!(after < 64 << 10 && after < before, "{before} bytes before, {after} after");
    assert!(maintain::check(&place.path).expect("a report").is_sound());
    let store = place.open().await;
    assert_eq!(everything(&store).await, expected);
    store.close().await;
}

#[tokio::test]
async fn a_file_of_the_first_format_is_upgraded() {
    let place = Place::new();
    let file = rusqlite::Connection::open(&place.path).expect("SQLite works");
    file.execute_batch(
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
        INSERT INTO meta VALUES ('revision', 7);
        CREATE TABLE objects (key TEXT PRIMARY KEY, value BLOB NOT NULL, create_revision INTEGER NOT NULL,
            mod_revision INTEGER NOT NULL, expires_ms INTEGER);
        INSERT INTO objects VALUES ('/a', x'6f6e65', 2, 5, NULL), ('/gone', x'', 3, 3, 1000);
        PRAGMA application_id = 1330795097;
        PRAGMA user_version = 1;",
    )
    .expect("SQLite works");
    drop(file);
    let older = maintain::stats(&place.path);
    assert!(matches!(older, Err(MaintenanceError::Open(OpenError::Older { found: 1, .. }))), "{older:?}");
    let store = place.open().await;
    let entry = store.get("/a").await.expect("get").expect("it is there");
    assert_eq!((&entry.value[..], entry.create_revision, entry.mod_revision), (&b"one"[..], Revision(2), Revision(5)));
    assert!(write(&store, vec![put("/b", "1")]).await > Revision(7));
    store.close().await;
    assert!(maintain::check(&place.path).expect("a report").is_sound());
}

#[tokio::test]
async fn a_file_of_the_second_format_is_upgraded() {
    let place = Place::new();
    let store = place.open().await;
    write(&store, (0..100).map(|number| put(&format!("/{number}"), "one")).collect()).await;
    let last = write(&store, vec![put("/7", "two"), delete("/8")]).await;
    let expected = everything(&store).await;
    store.close().await;
    let file = rusqlite::Connection::open(&place.path).expect("SQLite works");
    file.execute_batch(
        "ALTER TABLE objects RENAME TO new;
        CREATE TABLE objects (key TEXT PRIMARY KEY, create_revision INTEGER NOT NULL, mod_revision INTEGER NOT NULL,
            expires_ms INTEGER, checksum INTEGER NOT NULL, value BLOB NOT NULL);
        INSERT INTO objects SELECT key, create_revision, mod_revision, expires_ms, checksum, value FROM new;
        DROP TABLE new;
        PRAGMA user_version = 2;",
    )
    .expect("SQLite works");
    drop(file);
    let store = place.open().await;
    assert_eq!((everything(&store).await, store.current_revision().await.expect("open")), (expected, last));
    assert!(write(&store, vec![put("/8", "3"), put("/9", "3"), delete("/10")]).await > last);
    let expected = everything(&store).await;
    store.close().await;
    assert!(maintain::check(&place.path).expect("a report").is_sound());
    let store = place.open().await;
    assert_eq!(everything(&store).await, expected);
    store.close().await;
}
