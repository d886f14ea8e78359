//! What an administrator does with a store's file: look, check, give space back, back up, restore.
//!
//! The functions here take a file that no process has open, and lock it meanwhile. The same for a store that runs goes
//! through its own process, by the socket beside its file ([`Control`](super::Control)).

mod check;
mod copy;
mod restore;

pub use check::{CheckReport, check};
pub use copy::CopyReport;
pub(super) use copy::copy;
pub use restore::{RestoreReport, restore};

use super::log::{self, OpenError};
use super::stored::Stored;
use crate::Revision;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Why maintenance was not done. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is a file where one was to be written.
    #[error("{} is there already; choose another name or remove it", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot {doing} {}; check the directory, its permissions and the space that is free", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// SQLite cannot do it.
    #[error("cannot {doing} {}; check the space that is free and the disk", path.display())]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The process that has the store open says why not.
    #[error("the process that has the store open says: {0}")]
    Remote(String),
    /// The process that has the store open does not answer as it should.
    #[error("cannot talk to the process that has the store open (by {})", path.display())]
    Connection {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl MaintenanceError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    fn sqlite(doing: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Sqlite { doing, path, source }
    }
}

/// What is in a store and how much room it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// The revision of the last write.
    pub revision: u64,
    /// The oldest revision that can be read at; the last one while no process has the store open.
    pub compacted: u64,
    /// How many objects there are.
    pub objects: usize,
    /// What their keys and values take.
    pub object_bytes: usize,
    /// The size of the file.
    pub file_bytes: u64,
    /// The size of the write-ahead log beside it.
    pub wal_bytes: u64,
    /// Changes that can be watched from the past; none while no process has the store open.
    pub history_changes: usize,
    /// What those keep in memory.
    pub history_bytes: usize,
    /// Objects by resource.
    pub resources: Vec<ResourceStats>,
}

/// The objects of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStats {
    /// What their keys begin with.
    pub prefix: String,
    /// How many there are.
    pub objects: usize,
    /// What their keys and values take.
    pub bytes: usize,
}

/// Counts objects.
pub(super) fn stats_of<'a>(path: &Path, revision: Revision, objects: impl Iterator<Item = &'a Stored>) -> Stats {
    let mut resources: BTreeMap<&str, ResourceStats> = BTreeMap::new();
    for stored in objects {
        let prefix = resource(stored.key());
        let new = || ResourceStats { prefix: prefix.to_owned(), objects: 0, bytes: 0 };
        let counted = resources.entry(prefix).or_insert_with(new);
        counted.objects += 1;
        counted.bytes += stored.key().len() + stored.entry.value.len();
    }
    let resources: Vec<_> = resources.into_values().collect();
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    Stats {
        revision: revision.0,
        compacted: revision.0,
        objects: resources.iter().map(|resource| resource.objects).sum(),
        object_bytes: resources.iter().map(|resource| resource.bytes).sum(),
        file_bytes: size(path),
        wal_bytes: size(&log::beside(path, "-wal")),
        history_changes: 0,
        history_bytes: 0,
        resources,
    }
}

/// The part of a key that names the resource: `/registry/pods/` or, with a group, `/registry/apps/deployments/`. What has
/// fewer parts is taken whole.
fn resource(key: &str) -> &str {
    let slashes: Vec<usize> = key.match_indices('/').map(|(at, _)| at).collect();
    // A namespaced key of the core group and a cluster-wide one of a group look alike; a group has a dot.
    let grouped = slashes.get(1..3).is_some_and(|ends| key[ends[0]..ends[1]].contains('.'));
    slashes.get(if grouped { 3 } else { 2 }).map_or(key, |end| &key[..=*end])
}

/// Counts what is in the store at `path`.
///
/// # Errors
/// When the store is in use, not there, or not sound.
pub fn stats(path: &Path) -> Result<Stats, MaintenanceError> {
    let opened = log::Reader::open(path)?;
    let contents = opened.load()?;
    Ok(stats_of(path, contents.revision, contents.objects.iter()))
}

/// Makes a copy of the store at `path`, every object verified, in a file of its own that is a store again.
///
/// A store that is damaged beyond that is refused; one that is behind what was acknowledged is copied as it is.
///
/// # Errors
/// When the store is in use or not sound, or the copy cannot be written.
pub fn backup(path: &Path, target: &Path) -> Result<CopyReport, MaintenanceError> {
    let opened = log::Reader::open(path)?;
    let contents = opened.load()?;
    copy(target, contents.revision, contents.objects.iter())
}

/// Gives all the space in the file of the store at `path` back that holds nothing. Returns the file's size before and
/// after.
///
/// # Errors
/// When the store is in use or not sound, or there is not enough space for a second copy meanwhile.
pub fn compact(path: &Path) -> Result<(u64, u64), MaintenanceError> {
    let opened = log::Reader::open(path)?;
    opened.load()?;
    let size = || std::fs::metadata(path).map(|metadata| metadata.len()).map_err(MaintenanceError::io("look at", path));
    let before = size()?;
    opened.vacuum().map_err(MaintenanceError::sqlite("compact", path))?;
    drop(opened);
    Ok((before, size()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_counted_by_resource() {
        for (key, expected) in [
            ("/registry/pods/demo/hello", "/registry/pods/"),
            ("/registry/namespaces/demo", "/registry/namespaces/"),
            ("/registry/rbac.authorization.k8s.io/roles/demo/a", "/registry/rbac.authorization.k8s.io/roles/"),
            ("/registry/inventory.orrery.dev/hosts/a", "/registry/inventory.orrery.dev/hosts/"),
            ("/a", "/a"),
            ("plain", "plain"),
        ] {
            assert_eq!(resource(key), expected);
        }
    }
}
