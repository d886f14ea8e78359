//! The durable log: one SQLite file with the present objects and the revision counter.
//!
//! History is not kept on disk. It serves watchers, and those list anew after a restart; so the file stays as small as
//! the objects are and nothing has to be trimmed. Deleted space goes back to the file system in small steps.
//!
//! * `format`: the tables, and how they are verified. `mark`: how far writes have been acknowledged.
//! * `reader`: a file that is only read. `lock`: keeps others out. `error`: what can go wrong.

mod error;
mod format;
mod lock;
mod mark;
mod reader;

pub use error::OpenError;
pub(super) use lock::{beside, lock, private, sync_directory};
pub(super) use mark::{read as read_mark, reset as reset_mark};
pub(super) use reader::{Reader, create_for_copy};

use super::plan::Plan;
use super::stored::{Stored, Totals};
use crate::{Revision, StoreError};
use format::{Contents, Kind};
use mark::Mark;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The open file. The lock is held as long as this lives.
#[derive(Debug)]
pub(super) struct Log {
    connection: Connection,
    path: PathBuf,
    totals: Totals,
    next_id: i64,
    mark: Mark,
    // Declared after the connection: it is let go when the file is closed, not before.
    _lock: File,
}

impl Log {
    /// Opens or creates the file, locks it against other processes, and reads everything.
    pub(super) fn open(path: &Path) -> Result<(Self, Revision, Vec<Stored>), OpenError> {
        let lock = lock(path)?;
        // Made here and not by SQLite, to be readable by nobody else from the start, and to be sure of its entry.
        private(path).and_then(|file| file.sync_all()).map_err(OpenError::file(path))?;
        let mut connection = connect(path)?;
        let mut mark = Mark::open(path)?;
        sync_directory(path).map_err(OpenError::file(path))?;
        match format::kind(&connection, path)? {
            Kind::Fresh => format::create(&mut connection).map_err(OpenError::sqlite("create the tables", path))?,
            Kind::Store(format::VERSION) => {}
            Kind::Store(older) => format::upgrade(&mut connection, older).map_err(|error| error.of(path))?,
        }
        let contents = format::load(&connection).map_err(|error| error.of(path))?;
        let Contents { revision, totals, objects, next_id } = contents;
        match mark.acknowledged() {
            Some(acknowledged) if acknowledged > revision => {
                return Err(OpenError::Behind { path: path.to_owned(), found: revision, acknowledged });
            }
            Some(_) => {}
            None => mark.set(revision),
        }
        Ok((Self { connection, path: path.to_owned(), totals, next_id, mark, _lock: lock }, revision, objects))
    }

    /// No row has this number or a higher one.
    pub(super) fn next_id(&self) -> i64 {
        self.next_id
    }

    /// Writes a plan in one SQLite transaction. It is on disk when this returns; on an error the next call may try again.
    pub(super) fn commit(&mut self, plan: &Plan) -> Result<(), StoreError> {
        let mut totals = self.totals;
        for end in plan.finals.values() {
            end.before.iter().for_each(|stored| totals.take(stored));
            end.after.iter().for_each(|stored| totals.add(stored));
        }
        let written = self.commit_rows(plan, totals);
        written.map_err(|error| StoreError::Unwritable(error::advice(&error, &self.path)))?;
        (self.totals, self.next_id) = (totals, plan.next_id);
        self.mark.set(plan.revision);
        Ok(())
    }

    fn commit_rows(&mut self, plan: &Plan, totals: Totals) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for end in plan.finals.values() {
            match (&end.before, &end.after) {
                (Some(_), Some(after)) => format::update(&transaction, after)?,
                (None, Some(after)) => format::insert(&transaction, after.id, after)?,
                (Some(before), None) => format::delete(&transaction, before)?,
                (None, None) => {}
            }
        }
        format::write_state(&transaction, plan.revision, totals)?;
        transaction.commit()
    }

    /// House-keeping for quiet moments: moves the write-ahead log into the file and gives free pages back. A failure
    /// is harmless (the write-ahead log stays longer) and only told.
    pub(super) fn tidy(&self) {
        let tidied = shrink(&self.connection).and_then(|()| checkpoint(&self.connection));
        if let Err(error) = tidied {
            tracing::warn!(path = %self.path.display(), %error, "could not tidy the store's file; trying again later");
        }
    }
}

/// Moves the write-ahead log into the file.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)")
}

/// Gives some free pages back. The statement frees one page per row, so it has to be read to its end.
fn shrink(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("PRAGMA incremental_vacuum(512)")?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Opens the file as it is. Its write-ahead log is taken in.
fn open_connection(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(OpenError::sqlite("open the file", path))?;
    // Exclusive locking, chosen before the first read, needs no shared-memory file beside the store's.
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE").map_err(OpenError::sqlite("open the file", path))?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let connection = open_connection(path)?;
    // The settings of a foreign file stay as they are.
    format::kind(&connection, path)?;
    // Auto-vacuum has to be chosen before the first table.
    let settings = "
        PRAGMA auto_vacuum = INCREMENTAL;
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;
        PRAGMA wal_autocheckpoint = 4000;
        PRAGMA journal_size_limit = 67108864;";
    connection.execute_batch(settings).map_err(OpenError::sqlite("prepare the file", path))?;
    Ok(connection)
}
