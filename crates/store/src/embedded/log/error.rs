//! What can go wrong with the file, and what to do about it.

use crate::Revision;
use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its directory cannot be made or opened.
    #[error("cannot open the store's file {}: check that it and its directory can be read and written", path.display())]
    File {
        /// The store's file, or one beside it.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no store there.
    #[error("there is no store at {}; give the path of its file", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
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
    /// An older version wrote the file. Only serving it upgrades it.
    #[error("the store {} has the old format {found}; start the program that serves it once, which upgrades it", path.display())]
    Older {
        /// The store's file.
        path: PathBuf,
        /// The file's format.
        found: i64,
    },
    /// The file belongs to something else.
    #[error("{} is an SQLite file but no store of this program; give another path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file can be read, but not everything in it is as it was written.
    #[error(
        "the store {} is damaged: {what}; look closer with: orrery store check; then restore a backup with: orrery store \
         restore",
        path.display()
    )]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What is not as it was written.
        what: String,
    },
    /// The file is sound, but older than what was acknowledged: it was replaced by hand, or its write-ahead log is
    /// damaged or gone.
    #[error(
        "the store {} is at revision {}, but {} was acknowledged: newer writes are missing. Restore a backup with: orrery \
         store restore; to go on without the missing writes, back this file up and restore that",
        path.display(), found.0, acknowledged.0
    )]
    Behind {
        /// The store's file.
        path: PathBuf,
        /// The revision of the file.
        found: Revision,
        /// The last revision that was acknowledged, as the file beside it says.
        acknowledged: Revision,
    },
    /// SQLite cannot read or prepare the file.
    #[error(
        "cannot {doing} of the store {}; look closer with: orrery store check; if the file is damaged, restore a backup with: \
         orrery store restore",
        path.display()
    )]
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

impl OpenError {
    pub(in crate::embedded) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    pub(in crate::embedded) fn sqlite(doing: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Sqlite { doing, path, source }
    }
}

/// What went wrong with a write and what to do about it.
pub(super) fn advice(error: &rusqlite::Error, path: &Path) -> String {
    let place = path.display();
    let damaged = "the file is damaged, what is in memory is not: make a backup now (orrery store backup), stop this program and \
        restore the backup (orrery store restore)";
    let todo = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full: free space, writing goes on by itself then",
        Some(ErrorCode::SystemIoFailure) => {
            "the disk refuses to be written: look at the kernel log, the disk, and whether its file system has become \
             read-only; writing goes on by itself once it can"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "the file or its file system cannot be written: check permissions and mount options"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation) => damaged,
        // A row is not where it was read.
        None if matches!(error, rusqlite::Error::StatementChangedRows(_)) => damaged,
        Some(_) | None => "unexpected; writing is tried again with the next request",
    };
    format!("{place}: {todo} ({error})")
}
