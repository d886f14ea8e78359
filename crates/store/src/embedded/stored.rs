//! An object as the index and the file have it.

use crate::Entry;
use std::sync::Arc;

/// An entry with what only this backend knows of it; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) entry: Arc<Entry>,
    /// When it expires, in milliseconds since 1970.
    pub(super) expires_ms: Option<u64>,
    /// Over everything above; goes into the file with it.
    pub(super) checksum: u32,
    /// The number of its row in the file.
    pub(super) id: i64,
    /// [`Fingerprint`] of the key.
    pub(super) fingerprint: Fingerprint,
}

/// Tells most keys apart without reading them, which a look into a node of the tree is spared so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u32);

impl Fingerprint {
    pub(super) fn of(key: &str) -> Self {
        Self(crc32fast::hash(key.as_bytes()))
    }
}

impl Stored {
    pub(super) fn new(entry: Entry, expires_ms: Option<u64>, id: i64) -> Self {
        let checksum = checksum(&entry, expires_ms);
        let fingerprint = Fingerprint::of(&entry.key);
        Self { entry: Arc::new(entry), expires_ms, checksum, id, fingerprint }
    }

    pub(super) fn key(&self) -> &str {
        &self.entry.key
    }
}

/// CRC-32 over an object. The key's length goes first, so that nothing can move between key and value.
fn checksum(entry: &Entry, expires_ms: Option<u64>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let numbers = [
        entry.key.len() as u64,
        entry.create_revision.0,
        entry.mod_revision.0,
        // None and any time differ, as no time is the largest number.
        expires_ms.unwrap_or(u64::MAX),
    ];
    numbers.iter().for_each(|number| hasher.update(&number.to_le_bytes()));
    hasher.update(entry.key.as_bytes());
    hasher.update(&entry.value);
    hasher.finalize()
}

/// What the file says about all of its objects together, so that a lost or doubled one is noticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) objects: u64,
    /// Of the checksums of all objects.
    pub(super) sum: u64,
}

impl Totals {
    pub(super) fn add(&mut self, stored: &Stored) {
        self.objects += 1;
        self.sum = self.sum.wrapping_add(u64::from(stored.checksum));
    }

    pub(super) fn take(&mut self, stored: &Stored) {
        self.objects -= 1;
        self.sum = self.sum.wrapping_sub(u64::from(stored.checksum));
    }

    /// A checksum over the totals and the revision that they belong to.
    pub(super) fn checksum(self, revision: crate::Revision) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        [revision.0, self.objects, self.sum].iter().for_each(|number| hasher.update(&number.to_le_bytes()));
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Revision;
    use bytes::Bytes;

    #[test]
    fn every_part_of_an_object_counts() {
        let base = Entry {
            key: "/a".into(),
            value: Bytes::from_static(b"v"),
            create_revision: Revision(1),
            mod_revision: Revision(2),
        };
        let all = [
            Stored::new(base.clone(), None, 1),
            Stored::new(base.clone(), Some(5), 1),
            Stored::new(Entry { key: "/av".into(), value: Bytes::new(), ..base.clone() }, None, 1),
            Stored::new(Entry { value: Bytes::from_static(b"w"), ..base.clone() }, None, 1),
            Stored::new(Entry { create_revision: Revision(2), ..base.clone() }, None, 1),
            Stored::new(Entry { mod_revision: Revision(3), ..base }, None, 1),
        ];
        let distinct: std::collections::HashSet<u32> = all.iter().map(|stored| stored.checksum).collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn totals_notice_what_is_missing() {
        let stored = |key: &str| {
            let entry =
                Entry { key: key.into(), value: Bytes::new(), create_revision: Revision(1), mod_revision: Revision(1) };
            Stored::new(entry, None, 1)
        };
        let mut totals = Totals::default();
        totals.add(&stored("/a"));
        let one = totals;
        totals.add(&stored("/b"));
        assert_ne!(totals.checksum(Revision(1)), one.checksum(Revision(1)));
        assert_ne!(one.checksum(Revision(1)), one.checksum(Revision(2)));
        totals.take(&stored("/b"));
        assert_eq!(totals, one);
    }
}
