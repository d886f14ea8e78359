//! The lock that keeps a second process out, and what the directory needs before SQLite gets the file.

use super::OpenError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file beside the store's.
pub(in crate::embedded) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Read and written by its owner only, made if it is not there.
pub(in crate::embedded) fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes sure of the directory's entries.
pub(in crate::embedded) fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Takes the lock of the store at `path`, until the file is dropped. SQLite's own locks are not used for that: they would
/// show up as "database is locked" somewhere in the middle.
pub(in crate::embedded) fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = beside(path, ".lock");
    let failed = || OpenError::file(&lock_path);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed())?;
    }
    let mut file = private(&lock_path).map_err(failed())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder = if known { holder.trim().to_owned() } else { "(unknown)".to_owned() };
            return Err(OpenError::InUse { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(failed()(source)),
    }
    // Who holds it is only for people: a full disk is no reason not to serve what can be read.
    let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = noted {
        tracing::warn!(path = %lock_path.display(), %error, "cannot note who holds the store");
    }
    Ok(file)
}
