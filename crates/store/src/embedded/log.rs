//! The durable log: one SQLite file with the present objects and the revision counter.
//!
//! History is not kept on disk. It serves watchers, and those list anew after a restart; so the file stays as small as
//! the objects are and nothing has to be trimmed. Deleted space goes back to the file system in small steps.

use super::index::Stored;
use super::plan::{Final, Plan};
use crate::{Revision, StoreError};
use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Marks the file as ours ("ORRY").
const APPLICATION_ID: i64 = 0x4f52_5259;
/// Version of the tables below. A file with a higher one is refused.
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
    INSERT INTO meta VALUES ('revision', 0);
    CREATE TABLE objects (
        key             TEXT PRIMARY KEY,
        value           BLOB NOT NULL,
        create_revision INTEGER NOT NULL,
        mod_revision    INTEGER NOT NULL,
        expires_ms      INTEGER
    );";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its directory cannot be made or opened.
    #[error("cannot open the store {}: check that its directory can be written", path.display())]
    File {
        /// The store's file, or its lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the store open.
    #[error("the store {} is in use by process {holder}; stop that one first", path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
        /// The process that holds it, as it wrote it down.
        holder: String,
    },
    /// A newer version wrote the file.
    #[error("the store {} has format {found}, this program knows up to {known}; run the newer version", path.display())]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// The file's format.
        found: i64,
        /// The newest that is understood.
        known: i64,
    },
    /// The file belongs to something else.
    #[error("{} is an SQLite file but no store of this program; give another path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// SQLite cannot read or prepare the file.
    #[error("cannot {doing} of the store {}; if the file is damaged, restore it from a backup", path.display())]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// The store's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The thread that writes could not be started.
    #[error("cannot start the store's writer thread")]
    Thread(#[source] std::io::Error),
}

/// An object of the file.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) key: Arc<str>,
    pub(super) stored: Stored,
    pub(super) expires_ms: Option<u64>,
}

/// The open file. The lock is held as long as this lives.
#[derive(Debug)]
pub(super) struct Log {
    connection: Connection,
    path: PathBuf,
    // Declared after the connection: it is let go when the file is closed, not before.
    _lock: File,
}

impl Log {
    /// Opens or creates the file and locks it against other processes.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let connection = connect(path)?;
        Ok(Self { connection, path: path.to_owned(), _lock: lock })
    }

    /// Reads everything: the revision counter and the objects in key order.
    pub(super) fn load(&self) -> Result<(Revision, Vec<Loaded>), OpenError> {
        self.load_rows().map_err(|source| OpenError::Sqlite {
            doing: "read the objects",
            path: self.path.clone(),
            source,
        })
    }

    fn load_rows(&self) -> rusqlite::Result<(Revision, Vec<Loaded>)> {
        let query = "SELECT value FROM meta WHERE name = 'revision'";
        let revision = Revision(self.connection.query_row(query, [], |row| row.get::<_, i64>(0))?.cast_unsigned());
        let query = "SELECT key, value, create_revision, mod_revision, expires_ms FROM objects ORDER BY key";
        let mut statement = self.connection.prepare(query)?;
        let rows = statement.query_map([], |row| {
            let stored = Stored {
                value: Bytes::from(row.get::<_, Vec<u8>>(1)?),
                create_revision: Revision(row.get::<_, i64>(2)?.cast_unsigned()),
                mod_revision: Revision(row.get::<_, i64>(3)?.cast_unsigned()),
            };
            let expires_ms = row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned);
            Ok(Loaded { key: row.get::<_, String>(0)?.into(), stored, expires_ms })
        })?;
        Ok((revision, rows.collect::<rusqlite::Result<_>>()?))
    }

    /// Writes a plan in one SQLite transaction. It is on disk when this returns; on an error nothing is written and
    /// the next call may try again.
    pub(super) fn commit(&mut self, plan: &Plan) -> Result<(), StoreError> {
        self.commit_rows(plan).map_err(|error| StoreError::Unwritable(advice(&error, &self.path)))
    }

    fn commit_rows(&mut self, plan: &Plan) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO objects VALUES (?1, ?2, ?3, ?4, ?5)")?;
            let mut delete = transaction.prepare_cached("DELETE FROM objects WHERE key = ?1")?;
            for (key, Final { stored, expires_ms }) in &plan.finals {
                match stored {
                    Some(stored) => put.execute(params![
                        &**key,
                        &*stored.value,
                        stored.create_revision.0.cast_signed(),
                        stored.mod_revision.0.cast_signed(),
                        // A deadline beyond SQLite's integers is as good as none.
                        expires_ms.and_then(|at| i64::try_from(at).ok()),
                    ])?,
                    None => delete.execute(params![&**key])?,
                };
            }
            let mut count = transaction.prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'revision'")?;
            count.execute(params![plan.revision.0.cast_signed()])?;
        }
        transaction.commit()
    }

    /// House-keeping for quiet moments: moves the write-ahead log into the file and gives free pages back. A failure
    /// is harmless (the write-ahead log stays longer) and only told.
    pub(super) fn tidy(&self) {
        if let Err(error) = self.shrink().and_then(|()| self.connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)"))
        {
            tracing::warn!(path = %self.path.display(), %error, "could not tidy the store's file; trying again later");
        }
    }

    /// Gives some free pages back. The statement frees one page per row, so it has to be read to its end.
    fn shrink(&self) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached("PRAGMA incremental_vacuum(512)")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}

/// Takes the lock that keeps a second process out. SQLite's own locks are not used for that: they would show up as
/// "database is locked" somewhere in the middle.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let failed = |source| OpenError::File { path: lock_path.clone(), source };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let mut file = options.open(&lock_path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder = if known { holder.trim().to_owned() } else { "(unknown)".to_owned() };
            return Err(OpenError::InUse { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let io = |source| OpenError::File { path: path.to_owned(), source };
    // Made here and not by SQLite, to be readable by nobody else from the start, and to be sure of its directory entry.
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    options.open(path).and_then(|file| file.sync_all()).map_err(io)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;

    let sqlite = |doing| move |source| OpenError::Sqlite { doing, path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite("open the file"))?;
    let number = |connection: &Connection, pragma: &str| {
        connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(sqlite("read the format"))
    };
    let (id, version) = (number(&connection, "application_id")?, number(&connection, "user_version")?);
    let tables = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
        .map_err(sqlite("read the format"))?;
    let fresh = id == 0 && version == 0 && tables == 0;
    if !fresh && id != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if version > SCHEMA_VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known: SCHEMA_VERSION });
    }
    // Auto-vacuum has to be chosen before the first table; exclusive locking needs no shared-memory file beside it.
    let settings = "
        PRAGMA locking_mode = EXCLUSIVE;
        PRAGMA auto_vacuum = INCREMENTAL;
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;
        PRAGMA wal_autocheckpoint = 4000;
        PRAGMA journal_size_limit = 67108864;";
    connection.execute_batch(settings).map_err(sqlite("prepare the file"))?;
    if fresh {
        create_schema(&mut connection).map_err(sqlite("create the tables"))?;
    }
    Ok(connection)
}

/// Makes the tables, all or nothing.
fn create_schema(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// What went wrong and what to do about it.
fn advice(error: &rusqlite::Error, path: &Path) -> String {
    let place = path.display();
    let todo = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full: free space, writing goes on by itself then",
        Some(ErrorCode::SystemIoFailure) => "the disk reports errors: look at the kernel log and the disk",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "the file or its file system cannot be written: check permissions and mount options"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the file is damaged: stop this program and restore the file from a backup"
        }
        Some(_) | None => "unexpected; writing is tried again with the next request",
    };
    format!("{place}: {todo} ({error})")
}
