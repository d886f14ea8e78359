//! Scratch disks: a sparse file with an empty file system for each machine that asks for one.

use orrery_wire::machine::SCRATCH_FILE;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The least size of a scratch disk, in bytes: a journal and a little room.
pub(crate) const LEAST_BYTES: u64 = 16 * 1024 * 1024;
/// Found where Debian has it also when `PATH` lacks the directories of root's programs.
const MKFS: &str = "/sbin/mkfs.ext4";
/// The tables are written when they are used, so that the file takes little room and is made in a moment.
const OPTIONS: &str = "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0";

/// Why there is no scratch disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScratchError {
    #[error("cannot write {path}; is the disk full?")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{MKFS} cannot be run; install it with `apt-get install e2fsprogs`")]
    Missing(#[source] io::Error),
    #[error("{MKFS} made no file system: {0}")]
    Refused(String),
}

/// Makes the scratch disk of `bytes` in a machine's directory, unless it is there.
pub(crate) fn make(directory: &Path, bytes: u64) -> Result<(), ScratchError> {
    let path = directory.join(SCRATCH_FILE);
    if path.exists() {
        return Ok(());
    }
    let unfinished = path.with_extension("new");
    let file_error = |source| ScratchError::File { path: unfinished.clone(), source };
    File::create(&unfinished).and_then(|file| file.set_len(bytes)).map_err(file_error)?;
    let mut mkfs = Command::new(MKFS);
    mkfs.args(["-q", "-F", "-m", "0", "-E", OPTIONS]).arg(&unfinished).stdin(Stdio::null());
    let output = mkfs.output().map_err(ScratchError::Missing)?;
    if !output.status.success() {
        return Err(ScratchError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    fs::rename(&unfinished, &path).map_err(|source| ScratchError::File { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_scratch_disk_is_made_once_and_takes_little_room() {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path(), 1 << 30).unwrap();
        let path = directory.path().join(SCRATCH_FILE);
        let made = fs::metadata(&path).unwrap();
        assert_eq!(made.len(), 1 << 30);
        assert!(made.blocks() * 512 < 8 << 20, "{} blocks", made.blocks());
        make(directory.path(), 1 << 20).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), made.ino());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_size_that_holds_no_file_system_is_refused_with_the_programs_words() {
        let directory = tempfile::tempdir().unwrap();
        let error = make(directory.path(), 4096).unwrap_err();
        assert!(matches!(&error, ScratchError::Refused(text) if !text.is_empty()), "{error}");
        assert!(!directory.path().join(SCRATCH_FILE).exists());
    }
}
