//! Plain SQLite with nothing around it: the same two tables, the same settings, the same group commit.
//!
//! A single writer works on the connection itself, without any queue. Many writers send to one thread, which takes what has
//! gathered into one transaction and answers after the commit.

use crate::{Failure, engine::Engine};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

struct Request {
    key: String,
    value: Bytes,
    answer: oneshot::Sender<bool>,
}

pub(crate) struct Plain {
    database: Arc<Mutex<Database>>,
    requests: SyncSender<Request>,
}

struct Database {
    connection: Connection,
    revision: i64,
}

impl Database {
    fn write(&mut self, writes: &[(String, Bytes)]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut known = transaction.prepare_cached("SELECT create_revision FROM objects WHERE key = ?1")?;
            let mut put = transaction.prepare_cached(
                "INSERT INTO objects VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE SET mod_revision = ?3, value = ?4",
            )?;
            let mut count = transaction
                .prepare_cached("INSERT INTO state VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET revision = ?1")?;
            for (key, value) in writes {
                self.revision += 1;
                let created: Option<i64> = known.query_row([key], |row| row.get(0)).optional()?;
                put.execute(params![key, created.unwrap_or(self.revision), self.revision, &**value])?;
            }
            count.execute([self.revision])?;
        }
        transaction.commit()
    }
}

impl Plain {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE;
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            PRAGMA wal_autocheckpoint = 4000;
            CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY, revision INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, create_revision INTEGER NOT NULL,
                mod_revision INTEGER NOT NULL, value BLOB NOT NULL);",
        )?;
        let revision =
            connection.query_row("SELECT max(revision) FROM state", [], |row| row.get::<_, Option<i64>>(0))?;
        let database = Arc::new(Mutex::new(Database { connection, revision: revision.unwrap_or(0) }));
        let (requests, queued) = sync_channel(1024);
        let writer = Arc::clone(&database);
        std::thread::Builder::new().name("plain-writer".to_owned()).spawn(move || write_queued(&writer, &queued))?;
        Ok(Self { database, requests })
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        lock(&self.database)
    }
}

fn lock(database: &Mutex<Database>) -> MutexGuard<'_, Database> {
    database.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_queued(database: &Mutex<Database>, queued: &Receiver<Request>) {
    while let Ok(first) = queued.recv() {
        let batch: Vec<Request> = std::iter::once(first).chain(queued.try_iter().take(255)).collect();
        let mut writes = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for Request { key, value, answer } in batch {
            writes.push((key, value));
            answers.push(answer);
        }
        let written = lock(database).write(&writes).is_ok();
        for answer in answers {
            // Who does not wait any more needs no answer.
            let _ = answer.send(written);
        }
    }
}

#[async_trait::async_trait]
impl Engine for Plain {
    async fn load(&self, objects: Vec<(String, Bytes)>) -> Result<(), Failure> {
        Ok(self.database().write(&objects)?)
    }

    async fn put(&self, key: String, value: Bytes) -> Result<(), Failure> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { key, value, answer })?;
        if answered.await? { Ok(()) } else { Err("SQLite cannot write".into()) }
    }

    async fn put_alone(&self, key: String, value: Bytes) -> Result<(), Failure> {
        Ok(self.database().write(&[(key, value)])?)
    }

    async fn get(&self, key: &str) -> Result<Bytes, Failure> {
        let database = self.database();
        let mut get = database.connection.prepare_cached("SELECT value FROM objects WHERE key = ?1")?;
        Ok(get.query_row([key], |row| Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?)))?)
    }

    async fn range(&self, prefix: &str) -> Result<usize, Failure> {
        let database = self.database();
        let end = format!("{prefix}\u{7f}");
        let mut range = database.connection.prepare_cached(
            "SELECT key, create_revision, mod_revision, value FROM objects WHERE key >= ?1 AND key < ?2 ORDER BY key",
        )?;
        let rows = range.query_map([prefix, &end], |row| {
            let value = Bytes::copy_from_slice(row.get_ref(3)?.as_blob()?);
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, value))
        })?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.len())
    }
}
