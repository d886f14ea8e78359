//! Which images nobody needs any more: by age, and by how full the disk is. Pure.

use crate::digest::Digest;
use crate::registry::CollectionSettings;
use std::time::{Duration, SystemTime};

/// An image is left alone for so long after it came or was used, whatever is set: it may be about to be used.
const LEAST_AGE: Duration = Duration::from_secs(120);

/// An image as far as its removal is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: Digest,
    pub(crate) size_bytes: u64,
    /// When it came or was last seen in use.
    pub(crate) last_used: SystemTime,
    pub(crate) in_use: bool,
}

/// How full the disk is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) size: u64,
    pub(crate) free: u64,
}

/// The images to remove, the longest unused first; `None` as the disk removes by age alone.
pub(crate) fn choose(
    settings: &CollectionSettings,
    disk: Option<Disk>,
    mut images: Vec<Candidate>,
    now: SystemTime,
) -> Vec<Digest> {
    let unused = |image: &Candidate| now.duration_since(image.last_used).unwrap_or_default();
    images.retain(|image| !image.in_use && unused(image) >= LEAST_AGE);
    images.sort_by_key(|image| (image.last_used, image.id.clone()));
    let mut wanted = disk.map_or(0, |disk| to_free(settings, disk));
    let mut chosen = Vec::new();
    for image in images {
        let old = settings.max_unused.is_some_and(|most| unused(&image) > most);
        if old || wanted > 0 {
            wanted = wanted.saturating_sub(image.size_bytes);
            chosen.push(image.id);
        }
    }
    chosen
}

/// Bytes to free so that the disk is as full as it may be; none while it is not too full.
fn to_free(settings: &CollectionSettings, disk: Disk) -> u64 {
    let used = disk.size.saturating_sub(disk.free);
    let share = |percent: u8| u64::try_from(u128::from(disk.size) * u128::from(percent) / 100).unwrap_or(u64::MAX);
    if settings.high_percent >= 100 || used < share(settings.high_percent) {
        return 0;
    }
    used - share(settings.low_percent).min(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, size_bytes: u64, unused_seconds: u64, in_use: bool) -> Candidate {
        let last_used = now() - Duration::from_secs(unused_seconds);
        Candidate { id: Digest::of(name.as_bytes()), size_bytes, last_used, in_use }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn chosen(settings: &CollectionSettings, used: u64, images: &[Candidate]) -> Vec<u64> {
        let disk = Disk { size: 1000, free: 1000 - used };
        let ids = choose(settings, Some(disk), images.to_vec(), now());
        ids.iter().map(|id| images.iter().find(|image| image.id == *id).expect("one of them").size_bytes).collect()
    }

    #[test]
    fn a_disk_that_is_too_full_loses_the_longest_unused_until_it_is_not() {
        let images = [
            image("used", 1, 9000, true),
            image("new", 2, 60, false),
            image("old", 30, 9000, false),
            image("older", 40, 9001, false),
            image("young", 50, 200, false),
        ];
        let usual = CollectionSettings::default();
        let table: [(u64, &[u64]); 6] =
            [(0, &[]), (849, &[]), (850, &[40, 30]), (840, &[]), (900, &[40, 30, 50]), (1000, &[40, 30, 50])];
        for (used, expected) in table {
            assert_eq!(chosen(&usual, used, &images), expected, "{used}");
        }
        let off = CollectionSettings { high_percent: 100, ..usual };
        assert!(chosen(&off, 1000, &images).is_empty());
    }

    #[test]
    fn what_was_unused_for_too_long_goes_however_empty_the_disk_is() {
        let images = [image("a", 1, 3601, false), image("b", 2, 3600, false), image("c", 3, 9999, true)];
        let settings = CollectionSettings { max_unused: Some(Duration::from_secs(3600)), ..Default::default() };
        assert_eq!(chosen(&settings, 0, &images), [1]);
        let ids = choose(&settings, None, images.to_vec(), now());
        assert_eq!(ids, [images[0].id.clone()]);
    }
}
