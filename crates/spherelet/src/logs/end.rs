//! The end of a log, as the last words of a container that failed without any.

use super::record::{Lines, Writer};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// As much as the kubelet takes.
const MOST_LINES: usize = 80;
const MOST_BYTES: usize = 2048;
/// What is read of the file, in bytes: more than the records of so many bytes of text, unless most of them are empty.
const READ_BYTES: u64 = 64 * 1024;

/// The last lines of the log in `path`, at most 80 and 2,048 bytes.
pub(crate) fn end(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES).read_to_end(&mut bytes)?;
    let (mut lines, mut writer, mut text) = (Lines::default(), Writer::new(None, false, None), Vec::new());
    lines.push(&bytes);
    while let Some((line, _)) = lines.next_line() {
        writer.write(line, &mut text);
    }
    let mut ends = text.iter().enumerate().rev().skip(1).filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let start = ends.nth(MOST_LINES - 1).unwrap_or(0).max(text.len().saturating_sub(MOST_BYTES));
    Ok(String::from_utf8_lossy(&text[start..]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_bounded_by_lines_and_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let written = |lines: &[String]| {
            let records = lines.iter().map(|line| format!("2026-01-01T00:00:00Z stderr F {line}\n"));
            std::fs::write(&path, records.collect::<String>()).unwrap();
            end(&path).unwrap()
        };
        assert_eq!(written(&[]), "");
        assert_eq!(written(&["oh".into(), "no".into()]), "oh\nno\n");
        let many: Vec<_> = (0..200).map(|number| number.to_string()).collect();
        assert_eq!(written(&many), many[120..].join("\n") + "\n");
        let long: Vec<_> = (0..50).map(|_| "x".repeat(4000)).collect();
        assert_eq!(written(&long), "x".repeat(2047) + "\n");
        assert!(end(Path::new("/nowhere")).is_err());
    }
}
