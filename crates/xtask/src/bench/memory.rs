//! What processes hold of the machine's memory, from `/proc/PID/smaps_rollup`.
//!
//! PSS counts a page that several processes share in parts, so that sums are right; USS counts only what would be free if
//! this process alone ended.

use super::BenchError;
use serde::Deserialize;
use std::fs;

/// A process to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: u32,
}

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) pss_kib: u64,
    pub(super) uss_kib: u64,
}

/// A line of `orrery status -o json`, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Row {
    kind: String,
    name: String,
    state: String,
    pid: Option<u32>,
}

impl Row {
    /// Whether this is the line of the warm machines, and all are there.
    pub(super) fn is_warm(&self) -> bool {
        self.kind == "warm"
            && self.state.split_once(" of ").is_some_and(|(ready, wanted)| ready == wanted && ready != "0")
    }

    /// The process of this line, if it is a machine's QEMU.
    pub(super) fn machine(&self) -> Option<u32> {
        self.pid.filter(|_| self.kind == "machine")
    }
}

/// Every process of an installation: those of its status, the keeper above the roles, the shim above each QEMU.
pub(super) fn processes(rows: &[Row]) -> Result<Vec<Process>, BenchError> {
    let mut found: Vec<Process> = Vec::new();
    for row in rows {
        let Some(pid) = row.pid else { continue };
        let parent = match row.kind.as_str() {
            "role" => "keeper".to_owned(),
            _ => format!("shim of {}", row.name),
        };
        let parent = Process { name: parent, pid: parent_of(pid)? };
        if !found.contains(&parent) {
            found.push(parent);
        }
        let name = if row.kind == "role" { row.name.clone() } else { format!("QEMU of {}", row.name) };
        found.push(Process { name, pid });
    }
    Ok(found)
}

/// What the process holds now.
pub(super) fn held(process: &Process) -> Result<Held, BenchError> {
    let text = read(process.pid, "smaps_rollup")?;
    parse_rollup(&text).ok_or_else(|| BenchError::answer(format!("smaps_rollup of {}", process.name), text))
}

pub(super) fn parent_of(pid: u32) -> Result<u32, BenchError> {
    let text = read(pid, "status")?;
    parse_parent(&text).ok_or_else(|| BenchError::answer(format!("/proc/{pid}/status"), text))
}

fn read(pid: u32, file: &str) -> Result<String, BenchError> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(BenchError::io(format!("read {path}")))
}

/// Processor time that the process has used so far, in ticks.
pub(super) fn processor_ticks(process: &Process) -> Result<u64, BenchError> {
    let text = read(process.pid, "stat")?;
    parse_ticks(&text).ok_or_else(|| BenchError::answer(format!("/proc/{}/stat", process.pid), text))
}

/// How many ticks a second has.
#[allow(clippy::cast_precision_loss, reason = "it is a hundred or so")]
pub(super) fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Fields 14 and 15: user's and system's. The second field, a name in parentheses, may hold anything.
fn parse_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// PSS as the kernel says; USS is what is private, clean or not.
fn parse_rollup(text: &str) -> Option<Held> {
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    Some(Held { pss_kib: field("Pss")?, uss_kib: field("Private_Clean")? + field("Private_Dirty")? })
}

fn parse_parent(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: &str = "55f6dd0f0000-7ffd93731000 ---p 00000000 00:00 0                          [rollup]
Rss:               30784 kB
Pss:               13814 kB
Pss_Dirty:          5208 kB
Pss_Anon:           5208 kB
Shared_Clean:      23896 kB
Shared_Dirty:          0 kB
Private_Clean:      1680 kB
Private_Dirty:      5208 kB
Private_Hugetlb:       0 kB
";

    #[test]
    fn pss_is_read_and_uss_is_what_is_private() {
        assert_eq!(parse_rollup(ROLLUP), Some(Held { pss_kib: 13814, uss_kib: 6888 }));
    }

    #[test]
    fn a_rollup_without_its_fields_is_no_number() {
        assert_eq!(parse_rollup(""), None, "a kernel thread");
        assert_eq!(parse_rollup(&ROLLUP.replace("Private_Dirty", "Private")), None);
        assert_eq!(parse_rollup(&ROLLUP.replace("13814 kB", "13814")), None);
    }

    #[test]
    fn processor_time_is_read_past_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 5 0 0";
        assert_eq!(parse_ticks(stat), Some(42));
        assert_eq!(parse_ticks("7 (a"), None);
    }

    #[test]
    fn every_row_brings_its_parent_once() {
        let own = std::process::id();
        let row = |kind: &str, name: &str, pid| Row { kind: kind.into(), name: name.into(), state: String::new(), pid };
        let rows = [
            row("role", "manager", Some(own)),
            row("role", "gone", None),
            row("role", "again", Some(own)),
            row("machine", "demo/hello", Some(own)),
        ];
        let names: Vec<String> = processes(&rows).unwrap().into_iter().map(|process| process.name).collect();
        assert_eq!(names, ["keeper", "manager", "again", "shim of demo/hello", "QEMU of demo/hello"]);
    }

    #[test]
    fn the_memory_of_this_process_can_be_read() {
        let own = held(&Process { name: "test".into(), pid: std::process::id() }).unwrap();
        assert!(own.pss_kib >= own.uss_kib && own.uss_kib > 0, "{own:?}");
    }
}
