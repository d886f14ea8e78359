//! The tables of the file, their versions, and how they are read and verified.
//!
//! ```text
//! 1 (until the first releases): meta(name, value), objects without checksums
//! 2: state (one row: revision, totals), objects with checksums
//! ```
//!
//! Every object has a checksum over all of its parts, and the one row of `state` has the number of objects, the sum of
//! their checksums and a checksum of its own; it is written with each commit. So a flipped bit, a lost or a doubled row is
//! noticed when the file is read, and never served.

use super::OpenError;
use crate::embedded::stored::{Stored, Totals};
use crate::{Entry, Revision};
use bytes::Bytes;
use rusqlite::{Connection, Row, params};
use std::path::Path;

/// Marks the file as ours ("ORRY").
const APPLICATION_ID: i64 = 0x4f52_5259;
/// Version of the tables. A file with a higher one is refused.
pub(super) const VERSION: i64 = 2;
const SCHEMA: &str = "
    CREATE TABLE state (
        one      INTEGER PRIMARY KEY CHECK (one = 1),
        revision INTEGER NOT NULL,
        objects  INTEGER NOT NULL,
        sum      INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    );
    CREATE TABLE objects (
        key             TEXT PRIMARY KEY,
        create_revision INTEGER NOT NULL,
        mod_revision    INTEGER NOT NULL,
        expires_ms      INTEGER,
        checksum        INTEGER NOT NULL,
        value           BLOB NOT NULL
    );";

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing yet.
    Fresh,
    /// A store of this version.
    Store(i64),
}

/// Finds out what the file is.
pub(super) fn kind(connection: &Connection, path: &Path) -> Result<Kind, OpenError> {
    let number = |query: &str| {
        connection.query_row(query, [], |row| row.get::<_, i64>(0)).map_err(OpenError::sqlite("read the format", path))
    };
    let (id, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if id == 0 && version == 0 && tables == 0 {
        return Ok(Kind::Fresh);
    }
    if id != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if version > VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known: VERSION });
    }
    if version < 1 {
        return Err(OpenError::Damaged { path: path.to_owned(), what: format!("its format is {version}") });
    }
    Ok(Kind::Store(version))
}

/// Makes the tables, all or nothing.
pub(super) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    write_state(&transaction, Revision(0), Totals::default())?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Brings tables of version 1 to the present one, all or nothing.
pub(super) fn upgrade(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch("ALTER TABLE objects RENAME TO old")?;
    transaction.execute_batch(SCHEMA)?;
    let query = "SELECT value FROM meta WHERE name = 'revision'";
    let revision = Revision(transaction.query_row(query, [], |row| row.get::<_, i64>(0))?.cast_unsigned());
    let mut totals = Totals::default();
    {
        let mut old =
            transaction.prepare("SELECT key, create_revision, mod_revision, expires_ms, 0, value FROM old")?;
        let mut rows = old.query([])?;
        while let Some(row) = rows.next()? {
            let (stored, _) = read(row)?;
            totals.add(&stored);
            put(&transaction, &stored)?;
        }
    }
    write_state(&transaction, revision, totals)?;
    transaction.execute_batch("DROP TABLE old; DROP TABLE meta;")?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Writes an object in the place of the one with the same key.
pub(super) fn put(connection: &Connection, stored: &Stored) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO objects VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (key) DO UPDATE SET \
        create_revision = ?2, mod_revision = ?3, expires_ms = ?4, checksum = ?5, value = ?6";
    let entry = &stored.entry;
    connection.prepare_cached(upsert)?.execute(params![
        entry.key,
        entry.create_revision.0.cast_signed(),
        entry.mod_revision.0.cast_signed(),
        stored.expires_ms.map(u64::cast_signed),
        stored.checksum,
        &*entry.value,
    ])?;
    Ok(())
}

pub(super) fn delete(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM objects WHERE key = ?1")?.execute([key])?;
    Ok(())
}

pub(super) fn write_state(connection: &Connection, revision: Revision, totals: Totals) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO state VALUES (1, ?1, ?2, ?3, ?4) ON CONFLICT (one) DO UPDATE SET \
        revision = ?1, objects = ?2, sum = ?3, checksum = ?4";
    let mut statement = connection.prepare_cached(upsert)?;
    let numbers = [revision.0, totals.objects, totals.sum, u64::from(totals.checksum(revision))];
    statement.execute(numbers.map(u64::cast_signed))?;
    Ok(())
}

/// Everything in the file, verified.
#[derive(Debug)]
pub(in crate::embedded) struct Contents {
    pub(in crate::embedded) revision: Revision,
    pub(in crate::embedded) totals: Totals,
    /// In order of keys.
    pub(in crate::embedded) objects: Vec<Stored>,
}

/// Why contents cannot be trusted.
#[derive(Debug)]
pub(super) enum ReadError {
    Sqlite(rusqlite::Error),
    Damaged(String),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl ReadError {
    pub(super) fn of(self, path: &Path) -> OpenError {
        match self {
            Self::Sqlite(source) => OpenError::sqlite("read the objects", path)(source),
            Self::Damaged(what) => OpenError::Damaged { path: path.to_owned(), what },
        }
    }
}

/// Reads and verifies all objects. They are read in the order in which they lie in the file.
pub(super) fn load(connection: &Connection) -> Result<Contents, ReadError> {
    let query = "SELECT revision, objects, sum, checksum FROM state";
    let row = connection.query_row(query, [], |row| {
        Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get(3)?].map(i64::cast_unsigned))
    });
    let [revision, objects, sum, checksum] = match row {
        Err(rusqlite::Error::QueryReturnedNoRows) => return damaged("its state is missing"),
        row => row?,
    };
    let (revision, totals) = (Revision(revision), Totals { objects, sum });
    if u64::from(totals.checksum(revision)) != checksum {
        return damaged("its state does not match its checksum");
    }
    let mut found = Totals::default();
    let mut objects = Vec::new();
    let mut statement = connection
        .prepare("SELECT key, create_revision, mod_revision, expires_ms, checksum, value FROM objects NOT INDEXED")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (stored, checksum) = read(row)?;
        if i64::from(stored.checksum) != checksum {
            return damaged(format!("the object {:?} does not match its checksum", stored.key()));
        }
        found.add(&stored);
        objects.push(stored);
    }
    if found != totals {
        return damaged(format!("{} objects are there and {} should be", found.objects, totals.objects));
    }
    objects.sort_unstable_by(|one, other| one.key().cmp(other.key()));
    if let Some(twice) = objects.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
        return damaged(format!("the object {:?} is there twice", twice[0].key()));
    }
    Ok(Contents { revision, totals, objects })
}

/// Compares SQLite's index of keys with the objects. A wrong one would send writes astray.
pub(super) fn verify_keys(connection: &Connection, objects: &[Stored]) -> Result<(), ReadError> {
    let mut statement = connection.prepare("SELECT key FROM objects ORDER BY key")?;
    let mut rows = statement.query([])?;
    for stored in objects {
        match rows.next()? {
            Some(row) if row.get_ref(0)?.as_str().is_ok_and(|key| key == stored.key()) => {}
            Some(_) | None => return damaged(format!("the index of keys is wrong at {:?}", stored.key())),
        }
    }
    if rows.next()?.is_some() { damaged("the index of keys has too many") } else { Ok(()) }
}

fn damaged<T>(what: impl Into<String>) -> Result<T, ReadError> {
    Err(ReadError::Damaged(what.into()))
}

/// An object, and the checksum that the file has for it.
fn read(row: &Row<'_>) -> rusqlite::Result<(Stored, i64)> {
    let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let entry = Entry {
        key: row.get(0)?,
        value: Bytes::copy_from_slice(row.get_ref(5)?.as_blob()?),
        create_revision: Revision(number(1)?),
        mod_revision: Revision(number(2)?),
    };
    let expires_ms = row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned);
    Ok((Stored::new(entry, expires_ms), row.get(4)?))
}
