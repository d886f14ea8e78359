//! What the host itself uses.

use orrery_wire::stats::FilesystemStats;
use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Nanoseconds of one of the kernel's ticks of `/proc/stat` (`USER_HZ` is 100 on every platform that we run on).
const TICK_NANOS: u64 = 10_000_000;

/// What the host uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeUsage {
    pub(crate) unix_nanos: u64,
    /// When the host was booted, Unix nanoseconds.
    pub(crate) booted_at: u64,
    /// Of all processors since the boot.
    pub(crate) cpu_nanos: u64,
    pub(crate) cpu_rate: Option<u64>,
    pub(crate) memory_total_bytes: u64,
    pub(crate) memory_available_bytes: u64,
    /// The disk of images and machines' files.
    pub(crate) disk: FilesystemStats,
}

impl NodeUsage {
    /// Reads the kernel's files. What cannot be read is 0.
    pub(crate) fn read(disk: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (stat, meminfo) = (text("/proc/stat"), text("/proc/meminfo"));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            unix_nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            booted_at: number(&stat, "btime ").saturating_mul(1_000_000_000),
            cpu_nanos: busy_ticks(&stat).saturating_mul(TICK_NANOS),
            cpu_rate: None,
            memory_total_bytes: number(&meminfo, "MemTotal:").saturating_mul(1024),
            memory_available_bytes: number(&meminfo, "MemAvailable:").saturating_mul(1024),
            disk: room(disk).unwrap_or_default(),
        }
    }

    /// What the kernel could not give to programs.
    pub(crate) fn working_set_bytes(&self) -> u64 {
        self.memory_total_bytes.saturating_sub(self.memory_available_bytes)
    }
}

/// Ticks of all processors together that were not idle.
fn busy_ticks(stat: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let fields: Vec<u64> = line.split_ascii_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what follows is counted in user and nice already.
    fields.iter().take(8).enumerate().filter(|(index, _)| !matches!(index, 3 | 4)).map(|(_, ticks)| ticks).sum()
}

/// The first number behind a word at the beginning of a line.
fn number(text: &str, word: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_default();
    rest.split_ascii_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn room(path: &Path) -> Option<FilesystemStats> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some(FilesystemStats {
        capacity_bytes: bytes(stat.f_blocks),
        available_bytes: bytes(stat.f_bavail),
        used_bytes: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        inodes: stat.f_files,
        free_inodes: stat.f_ffree,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_counted() {
        assert_eq!(busy_ticks("cpu  1 2 3 1000 2000 4 5 6 100 100\ncpu0 9 9 9\nbtime 77\n"), 21);
        assert_eq!(busy_ticks(""), 0);
        assert_eq!(number("intr 5\nbtime 77\n", "btime "), 77);
    }

    #[test]
    fn this_host_uses_something_and_not_more_than_it_has() {
        let usage = NodeUsage::read(Path::new("/"));
        assert!(usage.cpu_nanos > 0 && usage.booted_at < usage.unix_nanos);
        assert!((1..usage.memory_total_bytes).contains(&usage.working_set_bytes()));
        assert!(usage.disk.used_bytes <= usage.disk.capacity_bytes);
    }
}
