//! What the machine and its containers use, read from the kernel's own files.

use crate::cgroup;
use orrery_wire::stats::{FilesystemStats, GroupStats, GuestStats, InterfaceStats};
use std::fs;
use std::path::Path;

const INTERFACES: &str = "/sys/class/net";

/// What the guest uses; of the containers each by its stream.
pub(crate) fn read(containers: impl Iterator<Item = (u32, Option<FilesystemStats>)>) -> GuestStats {
    let root = Path::new(cgroup::ROOT);
    let meminfo = text(Path::new("/proc/meminfo"));
    GuestStats {
        containers: containers
            .map(|(stream, writable)| group(&root.join(stream.to_string()), stream, writable))
            .collect(),
        pod: group(root, 0, None),
        memory_total_bytes: kibibytes(&meminfo, "MemTotal:"),
        memory_available_bytes: kibibytes(&meminfo, "MemAvailable:"),
        interfaces: interfaces(),
        scratch: crate::volume::scratch_usage(),
    }
}

/// The room on the file system at `path`; none when there is none.
pub(crate) fn filesystem(path: &Path) -> Option<FilesystemStats> {
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

fn group(path: &Path, stream: u32, writable: Option<FilesystemStats>) -> GroupStats {
    let file = |name: &str| text(&path.join(name));
    let (cpu, memory) = (file("cpu.stat"), file("memory.stat"));
    let memory_bytes = number(&file("memory.current"));
    GroupStats {
        stream,
        cpu_nanos: field(&cpu, "usage_usec").saturating_mul(1000),
        memory_bytes,
        working_set_bytes: memory_bytes.saturating_sub(field(&memory, "inactive_file")),
        anonymous_bytes: field(&memory, "anon"),
        page_faults: field(&memory, "pgfault"),
        major_page_faults: field(&memory, "pgmajfault"),
        processes: number(&file("pids.current")),
        writable,
    }
}

fn interfaces() -> Vec<InterfaceStats> {
    let names = fs::read_dir(INTERFACES).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name != "lo");
    let read = |name: String| {
        let counter = |what: &str| number(&text(&Path::new(INTERFACES).join(&name).join("statistics").join(what)));
        InterfaceStats {
            received_bytes: counter("rx_bytes"),
            receive_errors: counter("rx_errors"),
            sent_bytes: counter("tx_bytes"),
            send_errors: counter("tx_errors"),
            name,
        }
    };
    names.map(read).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn number(text: &str) -> u64 {
    text.trim_end().parse().unwrap_or(0)
}

/// The number behind a word at the beginning of a line.
fn field(text: &str, word: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).map_or(0, number)
}

fn kibibytes(meminfo: &str, word: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(word)?.trim().strip_suffix(" kB"));
    line.map_or(0, number).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name_and_what_is_missing_is_nothing() {
        let stat = "anon 4096\nanon_thp 1\ninactive_file 8192\npgfault 7\n";
        assert_eq!((field(stat, "anon"), field(stat, "inactive_file"), field(stat, "pgmajfault")), (4096, 8192, 0));
        assert_eq!(kibibytes("MemTotal:         102400 kB\nMemFree: 1 kB\n", "MemTotal:"), 102_400 * 1024);
        assert_eq!(kibibytes("", "MemTotal:"), 0);
        assert_eq!(number("12\n"), 12);
        assert_eq!(number("max\n"), 0);
    }

    #[test]
    fn the_room_of_a_file_system_adds_up() {
        let room = filesystem(Path::new("/")).expect("there is a root");
        assert!(room.used_bytes <= room.capacity_bytes && room.available_bytes <= room.capacity_bytes);
        assert_eq!(filesystem(Path::new("/no/such/path")), None);
    }
}
