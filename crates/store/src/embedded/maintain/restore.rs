//! A store out of a copy.
//!
//! The revision is raised far above everything that anyone can have seen: the copy's, that of the file that is replaced,
//! and what was acknowledged since. History begins there, so every watch and every page from before is refused as
//! compacted, and clients read anew; no revision is ever given twice. (etcd recommends the same with `--bump-revision` and
//! `--mark-compacted`.)

use super::super::log::{OpenError, Reader, beside, lock, read_mark, reset_mark, sync_directory};
use super::{CopyReport, MaintenanceError, copy};
use crate::Revision;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How far the revision is raised. Writes that nobody here knows of (a mark that was lost with its disk) are far fewer.
const RAISE: u64 = 1_000_000_000;

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreReport {
    /// The store, and how many objects it has now.
    pub store: CopyReport,
    /// The revision of the backup.
    pub backup_revision: u64,
    /// Where the file that was there is now.
    pub replaced: Option<PathBuf>,
}

/// Puts the backup in the place of the store at `path`. A file that is there is renamed and kept.
///
/// # Errors
/// When the store is in use, the backup is not sound, or the store cannot be written. The store is then as it was; if
/// the process is ended in between, it refuses to open, and the restore has to be repeated.
pub fn restore(backup: &Path, path: &Path) -> Result<RestoreReport, MaintenanceError> {
    let contents = Reader::open(backup)?.load()?;
    let _lock = lock(path)?;
    let present = path.exists();
    let reached = [Some(contents.revision), read_mark(path), if present { revision_of(path) } else { None }];
    let reached = reached.into_iter().flatten().max().unwrap_or_default();
    let revision = Revision(reached.0 + RAISE);

    let fresh = beside(path, ".restoring");
    // What an earlier restore left behind.
    let _ = std::fs::remove_file(&fresh);
    let store = copy(&fresh, revision, contents.objects.iter())?;
    let replaced = present.then(|| beside(path, &format!(".before-{}", revision.0)));
    let rename = |from: &Path, to: &Path| match std::fs::rename(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(MaintenanceError::io("rename", from)),
    };
    if let Some(replaced) = &replaced {
        // The write-ahead log goes first: it must never lie beside another file than its own. Between these steps the store
        // is behind its mark and does not open.
        rename(&beside(path, "-wal"), &beside(replaced, "-wal"))?;
        rename(path, replaced)?;
    }
    rename(&beside(path, "-wal"), &beside(path, "-wal.unused"))?;
    std::fs::rename(&fresh, path).map_err(MaintenanceError::io("rename", &fresh))?;
    reset_mark(path, revision).map_err(MaintenanceError::io("write beside", path))?;
    sync_directory(path).map_err(MaintenanceError::io("write beside", path))?;
    let store = CopyReport { path: path.to_owned(), ..store };
    Ok(RestoreReport { store, backup_revision: contents.revision.0, replaced })
}

/// The revision of a store whose lock is held, if it can be read.
fn revision_of(path: &Path) -> Option<Revision> {
    let read: Result<Revision, OpenError> = Reader::open_locked(path).and_then(|reader| Ok(reader.load()?.revision));
    read.ok()
}
