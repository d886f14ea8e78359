//! Builds a read-only file system out of a directory, with mkfs.erofs.

use crate::digest::Digest;
use std::io;
use std::path::Path;
use std::process::Command;
use uuid::Uuid;

/// Written into the superblock, where the time of the build would be. Files keep the times that the archive gives them,
/// up to this one (the year 2100); the option for a fixed time would take them away.
const LATEST_TIME: &str = "4102444800";

/// Why a file system was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The program is not there.
    #[error("mkfs.erofs is not installed; install the package erofs-utils")]
    Missing,
    /// The program cannot be run, or its result cannot be made durable.
    #[error("cannot run mkfs.erofs")]
    Run(#[source] io::Error),
    /// The program failed.
    #[error("mkfs.erofs failed: {output}; check the free space of the image store")]
    Failed {
        /// The end of what it wrote.
        output: String,
    },
}

/// Builds `file` from `tree`. The same tree of the same image gives the same bytes. On disk when this returns.
pub(crate) fn build(tree: &Path, file: &Path, id: &Digest) -> Result<(), BuildError> {
    let uuid = Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_str().as_bytes());
    let run = Command::new("mkfs.erofs")
        .env("SOURCE_DATE_EPOCH", LATEST_TIME)
        .args(["--quiet", &format!("-U{uuid}")])
        .args([file, tree])
        .output();
    let output = run.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BuildError::Missing,
        _ => BuildError::Run(error),
    })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let end = text.trim().lines().rev().take(3).collect::<Vec<_>>();
        let output = end.into_iter().rev().collect::<Vec<_>>().join("; ");
        return Err(BuildError::Failed { output });
    }
    std::fs::File::open(file).and_then(|file| file.sync_all()).map_err(BuildError::Run)
}
