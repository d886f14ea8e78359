//! A store's file that is only read, by a process that does not serve it.

use super::format::{self, Contents, Kind};
use super::lock::{beside, lock};
use super::{OpenError, checkpoint, open_connection};
use crate::Revision;
use crate::embedded::stored::{Stored, Totals};
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// What SQLite finds wrong, at most.
const PROBLEMS: usize = 20;

/// An open file, locked if it may be that of a store in use.
#[derive(Debug)]
pub(in crate::embedded) struct Reader {
    connection: Connection,
    path: std::path::PathBuf,
    // Declared after the connection: it is let go when the file is closed, not before.
    _lock: Option<File>,
}

impl Reader {
    /// Opens a store, or a copy of one. A copy, which has neither lock nor write-ahead log beside it, and a store on a
    /// file system that nobody can write are read as they are; a store is locked, and its write-ahead log is taken in.
    pub(in crate::embedded) fn open(path: &Path) -> Result<Self, OpenError> {
        if !path.exists() {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        if !beside(path, ".lock").exists() && !beside(path, "-wal").exists() {
            return Self::new(path, open_unlocked(path, "immutable=1")?, None);
        }
        match lock(path) {
            Ok(lock) => Self::new(path, open_connection(path)?, Some(lock)),
            Err(OpenError::File { source, .. }) if source.kind() == ErrorKind::ReadOnlyFilesystem => {
                // A lock needs a file that can be written. The write-ahead log is read, though, if there is one.
                let parameter = if beside(path, "-wal").exists() { "vfs=unix-none" } else { "immutable=1" };
                let connection = open_unlocked(path, parameter)?;
                let exclusive = connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE");
                exclusive.map_err(OpenError::sqlite("open the file", path))?;
                Self::new(path, connection, None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a store whose lock the caller holds.
    pub(in crate::embedded) fn open_locked(path: &Path) -> Result<Self, OpenError> {
        Self::new(path, open_connection(path)?, None)
    }

    fn new(path: &Path, connection: Connection, lock: Option<File>) -> Result<Self, OpenError> {
        match format::kind(&connection, path)? {
            Kind::Store(format::VERSION) => Ok(Self { connection, path: path.to_owned(), _lock: lock }),
            Kind::Store(found) => Err(OpenError::Older { path: path.to_owned(), found }),
            Kind::Fresh => Err(OpenError::Damaged { path: path.to_owned(), what: "it is empty".to_owned() }),
        }
    }

    /// Reads and verifies all objects.
    pub(in crate::embedded) fn load(&self) -> Result<Contents, OpenError> {
        format::load(&self.connection).map_err(|error| error.of(&self.path))
    }

    /// What SQLite's own check finds wrong.
    pub(in crate::embedded) fn integrity(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare(&format!("PRAGMA integrity_check({PROBLEMS})"))?;
        let lines: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }

    /// Writes the file anew without its gaps.
    pub(in crate::embedded) fn vacuum(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("VACUUM")?;
        checkpoint(&self.connection)
    }
}

/// Opens a file that nobody writes, without making anything beside it.
fn open_unlocked(path: &Path, parameter: &str) -> Result<Connection, OpenError> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri.push('?');
    uri.push_str(parameter);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags).map_err(OpenError::sqlite("open the file", path))
}

/// Fills an empty file with objects. It is not synced, and a crash leaves it useless.
pub(in crate::embedded) fn create_for_copy<'a>(
    path: &Path,
    revision: Revision,
    objects: impl Iterator<Item = &'a Stored>,
) -> rusqlite::Result<Totals> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    let settings = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;";
    connection.execute_batch(settings)?;
    format::create(&mut connection)?;
    let transaction = connection.transaction()?;
    let mut totals = Totals::default();
    for stored in objects {
        totals.add(stored);
        // Numbered anew: in the order in which they lie side by side.
        format::insert(&transaction, totals.objects.cast_signed(), stored)?;
    }
    format::write_state(&transaction, revision, totals)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(totals)
}
