//! A copy of a store, written object by object into a new file.

use super::super::log::{OpenError, Reader, beside, create_for_copy, private, sync_directory};
use super::super::stored::{Stored, Totals};
use super::MaintenanceError;
use crate::Revision;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyReport {
    /// Where the copy is.
    pub path: PathBuf,
    /// The revision that it shows.
    pub revision: u64,
    /// How many objects it has.
    pub objects: u64,
    /// Its size.
    pub bytes: u64,
}

/// Writes a store with these objects, in order of keys, to `target`, which must not be there yet: whole and on disk, or not
/// at all. What was written is read again and compared.
pub(in crate::embedded) fn copy<'a>(
    target: &Path,
    revision: Revision,
    objects: impl Iterator<Item = &'a Stored>,
) -> Result<CopyReport, MaintenanceError> {
    if target.symlink_metadata().is_ok() {
        return Err(MaintenanceError::Exists(target.to_owned()));
    }
    let partial = beside(target, ".partial");
    let written = write(&partial, revision, objects).and_then(|totals| {
        let file = File::open(&partial).map_err(MaintenanceError::io("read", &partial))?;
        let bytes = file.metadata().map_err(MaintenanceError::io("read", &partial))?.len();
        file.sync_all().map_err(MaintenanceError::io("write", &partial))?;
        std::fs::rename(&partial, target).map_err(MaintenanceError::io("name", target))?;
        sync_directory(target).map_err(MaintenanceError::io("name", target))?;
        Ok(CopyReport { path: target.to_owned(), revision: revision.0, objects: totals.objects, bytes })
    });
    if written.is_err() {
        // What could not be finished is of no use; that it could not be removed either is not worth another error.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

fn write<'a>(
    path: &Path,
    revision: Revision,
    objects: impl Iterator<Item = &'a Stored>,
) -> Result<Totals, MaintenanceError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(MaintenanceError::io("replace", path)(error));
        }
        Ok(()) | Err(_) => {}
    }
    drop(private(path).map_err(MaintenanceError::io("create", path))?);
    let totals = create_for_copy(path, revision, objects).map_err(MaintenanceError::sqlite("write", path))?;
    let reader = Reader::open(path)?;
    let contents = reader.load()?;
    if contents.totals != totals {
        let what = "what is read again is not what was written".to_owned();
        return Err(OpenError::Damaged { path: path.to_owned(), what }.into());
    }
    Ok(totals)
}
