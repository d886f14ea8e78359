//! The mark: a small file beside the store's that says how far writes have been acknowledged.
//!
//! SQLite takes a damaged end of its write-ahead log for writes that were broken off and drops it without a word, and a
//! file that was put back by hand looks like any other. The mark is written after each commit and so never says more than
//! what was durable; a file that is behind its mark has lost something. It is not synced, as that would double the price of
//! a write: after a power cut it may say less than it could, which only makes it quieter.

use super::OpenError;
use super::lock::{beside, private};
use crate::Revision;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const SUFFIX: &str = ".acked";

/// The open mark.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// What it says; none when it says nothing that can be read.
    acknowledged: Option<Revision>,
    failing: bool,
}

impl Mark {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let path = beside(path, SUFFIX);
        let file = private(&path).map_err(OpenError::file(&path))?;
        let mut bytes = [0; 12];
        let acknowledged = file.read_exact_at(&mut bytes, 0).ok().and_then(|()| decode(&bytes));
        Ok(Self { file, acknowledged, failing: false })
    }

    pub(super) fn acknowledged(&self) -> Option<Revision> {
        self.acknowledged
    }

    /// Notes that everything up to `revision` is durable. That it cannot be noted is no reason to refuse writes.
    pub(super) fn set(&mut self, revision: Revision) {
        match self.file.write_all_at(&encode(revision), 0) {
            Ok(()) => (self.acknowledged, self.failing) = (Some(revision), false),
            Err(error) => {
                if !self.failing {
                    tracing::warn!(%error, "cannot note how far writes have been acknowledged");
                }
                self.failing = true;
            }
        }
    }
}

/// Sets the mark of a store that nobody has open, durably.
pub(in crate::embedded) fn reset(path: &Path, revision: Revision) -> std::io::Result<()> {
    let file = private(&beside(path, SUFFIX))?;
    file.write_all_at(&encode(revision), 0)?;
    file.sync_all()
}

/// What the mark of a store says, if there is one and it can be read.
pub(in crate::embedded) fn read(path: &Path) -> Option<Revision> {
    std::fs::read(beside(path, SUFFIX)).ok().and_then(|bytes| decode(bytes.get(..12)?))
}

fn encode(revision: Revision) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&revision.0.to_le_bytes());
    bytes[8..].copy_from_slice(&crc32fast::hash(&revision.0.to_le_bytes()).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Revision> {
    let revision = Revision(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?));
    (encode(revision) == bytes).then_some(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_a_torn_one_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        assert_eq!((Mark::open(&path).unwrap().acknowledged(), read(&path)), (None, None));
        Mark::open(&path).unwrap().set(Revision(77));
        assert_eq!((Mark::open(&path).unwrap().acknowledged(), read(&path)), (Some(Revision(77)), Some(Revision(77))));
        let mut bytes = std::fs::read(beside(&path, SUFFIX)).unwrap();
        bytes[3] ^= 1;
        std::fs::write(beside(&path, SUFFIX), bytes).unwrap();
        assert_eq!((Mark::open(&path).unwrap().acknowledged(), read(&path)), (None, None));
    }
}
