//! What `orrery store` says to people.

use orrery_store::maintain::{CheckReport, CopyReport, RestoreReport, Stats};

/// A size in the largest unit that leaves a whole number before the point.
pub(super) fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

fn size_of(bytes: usize) -> String {
    size(u64::try_from(bytes).unwrap_or(u64::MAX))
}

pub(super) fn stats(name: &str, running: bool, stats: &Stats) -> String {
    let state = if running { "open" } else { "not open" };
    let mut lines = vec![
        format!("store      {name} ({state})"),
        format!("revision   {} (readable from {})", stats.revision, stats.compacted),
        format!("objects    {} ({})", stats.objects, size_of(stats.object_bytes)),
        format!("file       {}, write-ahead log {}", size(stats.file_bytes), size(stats.wal_bytes)),
        format!("history    {} changes ({})", stats.history_changes, size_of(stats.history_bytes)),
        String::new(),
        format!("{:>9} {:>10}  RESOURCE", "OBJECTS", "SIZE"),
    ];
    let mut resources: Vec<_> = stats.resources.iter().collect();
    resources.sort_by_key(|resource| std::cmp::Reverse(resource.bytes));
    lines.extend(
        resources
            .into_iter()
            .map(|resource| format!("{:>9} {:>10}  {}", resource.objects, size_of(resource.bytes), resource.prefix)),
    );
    lines.push(String::new());
    lines.join("\n")
}

pub(super) fn check(name: &str, report: &CheckReport) -> String {
    if report.is_sound() {
        let (objects, revision) = (report.objects.unwrap_or_default(), report.revision.unwrap_or_default());
        return format!("{name}: sound, {objects} objects at revision {revision}");
    }
    let mut lines = vec![format!("{name}: damaged")];
    lines.extend(report.problems.iter().map(|problem| format!("  {problem}")));
    lines.push(format!("  what to do: {}", report.advice));
    lines.join("\n")
}

pub(super) fn backup(name: &str, report: &CopyReport) -> String {
    let CopyReport { path, revision, objects, bytes } = report;
    format!("{name}: {objects} objects at revision {revision} are in {} ({})", path.display(), size(*bytes))
}

pub(super) fn restore(name: &str, report: &RestoreReport) -> String {
    let mut text = format!(
        "{name}: {} objects as of revision {}; the revision is {} now, so that every client reads anew",
        report.store.objects, report.backup_revision, report.store.revision
    );
    if let Some(replaced) = &report.replaced {
        text.push_str(&format!("\nthe file that was there is now {}; remove it once all is well", replaced.display()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 1023, 1024, 1536, 5 << 20, (3 << 30) + (1 << 29)].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.5 GiB"]);
    }

    #[test]
    fn a_damaged_store_is_told_with_what_to_do() {
        let report = CheckReport {
            problems: vec!["the object \"/a\" does not match its checksum".into()],
            revision: None,
            objects: None,
            objects_sound: false,
            advice: "restore a backup".into(),
        };
        let text = check("manager", &report);
        assert_eq!(
            text,
            "manager: damaged\n  the object \"/a\" does not match its checksum\n  what to do: restore a backup"
        );
    }
}
