//! The tables of the file, their versions, and how they are read and verified.
//!
//! ```text
//! 1 (until the first releases): meta(name, value), objects without checksums
//! 2: state (one row: revision, totals), objects with checksums, found by an index of their keys
//! 3: objects are found by their rows' numbers, which the index in memory has
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
pub(super) const VERSION: i64 = 3;
const SCHEMA: &str = "
    CREATE TABLE state (
        one      INTEGER PRIMARY KEY CHECK (one = 1),
        revision INTEGER NOT NULL,
        objects  INTEGER NOT NULL,
        sum      INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    );
    CREATE TABLE objects (
        id              INTEGER PRIMARY KEY,
        key             TEXT NOT NULL,
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

/// Brings tables of an older version to the present one, all or nothing.
pub(super) fn upgrade(connection: &mut Connection, from: i64) -> Result<(), ReadError> {
    let transaction = connection.transaction()?;
    transaction.execute_batch("ALTER TABLE objects RENAME TO old")?;
    let (revision, expected, checksum) = if from == 1 {
        let query = "SELECT value FROM meta WHERE name = 'revision'";
        let revision = transaction.query_row(query, [], |row| row.get::<_, i64>(0))?.cast_unsigned();
        transaction.execute_batch("DROP TABLE meta")?;
        (Revision(revision), None, "NULL")
    } else {
        let (revision, totals) = read_state(&transaction)?;
        transaction.execute_batch("DROP TABLE state")?;
        (revision, Some(totals), "checksum")
    };
    transaction.execute_batch(SCHEMA)?;
    let mut totals = Totals::default();
    {
        let query =
            format!("SELECT key, create_revision, mod_revision, expires_ms, {checksum}, value FROM old NOT INDEXED");
        let mut old = transaction.prepare(&query)?;
        let mut rows = old.query([])?;
        while let Some(row) = rows.next()? {
            let id = totals.objects.cast_signed() + 1;
            let stored = read(row, id)?;
            totals.add(&stored);
            insert(&transaction, id, &stored)?;
        }
    }
    if let Some(expected) = expected.filter(|expected| *expected != totals) {
        return damaged(format!("{} objects are there and {} should be", totals.objects, expected.objects));
    }
    write_state(&transaction, revision, totals)?;
    transaction.execute_batch("DROP TABLE old")?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// Writes an object that is not there yet.
pub(super) fn insert(connection: &Connection, id: i64, stored: &Stored) -> rusqlite::Result<()> {
    one(write(connection, "INSERT INTO objects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", id, stored)?)
}

/// Writes an object over what its row had. A row that is not found where it should be is damage.
pub(super) fn update(connection: &Connection, stored: &Stored) -> rusqlite::Result<()> {
    let update = "UPDATE objects SET create_revision = ?3, mod_revision = ?4, expires_ms = ?5, checksum = ?6, value = ?7 \
        WHERE id = ?1 AND key = ?2";
    one(write(connection, update, stored.id, stored)?)
}

pub(super) fn delete(connection: &Connection, stored: &Stored) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM objects WHERE id = ?1 AND key = ?2")?;
    one(delete.execute(params![stored.id, stored.key()])?)
}

/// Gives the columns of an object to a statement, in their order.
fn write(connection: &Connection, statement: &str, id: i64, stored: &Stored) -> rusqlite::Result<usize> {
    let entry = &stored.entry;
    connection.prepare_cached(statement)?.execute(params![
        id,
        entry.key,
        entry.create_revision.0.cast_signed(),
        entry.mod_revision.0.cast_signed(),
        stored.expires_ms.map(u64::cast_signed),
        stored.checksum,
        &*entry.value,
    ])
}

fn one(changed: usize) -> rusqlite::Result<()> {
    if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
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
    /// No row has this number or a higher one.
    pub(in crate::embedded) next_id: i64,
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
    let (revision, totals) = read_state(connection)?;
    let mut found = Totals::default();
    let mut objects = Vec::new();
    let mut next_id = 1;
    let mut statement = connection
        .prepare("SELECT key, create_revision, mod_revision, expires_ms, checksum, value, id FROM objects")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get(6)?;
        let stored = read(row, id)?;
        if id < next_id {
            return damaged(format!("the object {:?} is out of order", stored.key()));
        }
        next_id = id.saturating_add(1);
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
    Ok(Contents { revision, totals, objects, next_id })
}

fn read_state(connection: &Connection) -> Result<(Revision, Totals), ReadError> {
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
    Ok((revision, totals))
}

fn damaged<T>(what: impl Into<String>) -> Result<T, ReadError> {
    Err(ReadError::Damaged(what.into()))
}

/// An object, compared with its checksum if the file has one.
fn read(row: &Row<'_>, id: i64) -> Result<Stored, ReadError> {
    let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let entry = Entry {
        key: row.get(0)?,
        value: Bytes::copy_from_slice(row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?),
        create_revision: Revision(number(1)?),
        mod_revision: Revision(number(2)?),
    };
    let stored = Stored::new(entry, row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned), id);
    match row.get::<_, Option<i64>>(4)? {
        Some(checksum) if checksum != i64::from(stored.checksum) => {
            damaged(format!("the object {:?} does not match its checksum", stored.key()))
        }
        Some(_) | None => Ok(stored),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_whose_row_is_not_where_it_was_is_damage() {
        let mut connection = Connection::open_in_memory().unwrap();
        create(&mut connection).unwrap();
        let (create_revision, mod_revision) = (Revision(1), Revision(1));
        let stored = |key: &str, id| {
            Stored::new(Entry { key: key.into(), value: Bytes::new(), create_revision, mod_revision }, None, id)
        };
        insert(&connection, 1, &stored("/a", 1)).unwrap();
        update(&connection, &stored("/a", 1)).unwrap();
        // No row has the number, and another object's has it.
        for lost in [stored("/a", 2), stored("/b", 1)] {
            for refused in [update(&connection, &lost), delete(&connection, &lost)] {
                let advice = super::super::error::advice(&refused.unwrap_err(), Path::new("/store.db"));
                assert!(advice.contains("the file is damaged"), "{advice}");
            }
        }
        delete(&connection, &stored("/a", 1)).unwrap();
    }
}
