//! Records of a log file in the CRI format: `TIMESTAMP STREAM F|P TEXT`, one a line. `P` is a piece of a line that goes on
//! in the next record of the same stream; `F` ends it. Pure.

use k8s_openapi::jiff::Timestamp;

/// A record longer than this is none of the shim's and is thrown away.
const LONGEST: usize = 1024 * 1024;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) at: Timestamp,
    /// The time as it is written, so that nothing is lost in reading it.
    pub(super) at_text: &'a str,
    pub(super) stderr: bool,
    /// Whether the line goes on in another record.
    pub(super) partial: bool,
    pub(super) text: &'a [u8],
}

/// Reads one line of a log file, without its end; none when it is no record.
pub(super) fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let at_text = std::str::from_utf8(parts.next()?).ok()?;
    let stderr = match parts.next()? {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let partial = match parts.next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(Record { at: at_text.parse().ok()?, at_text, stderr, partial, text: parts.next().unwrap_or_default() })
}

/// Cuts bytes, as they are read, into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    start: usize,
}

impl Lines {
    /// Takes bytes as they were read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.len() > LONGEST {
            self.buffer.clear();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its end, and its length with it.
    pub(super) fn next_line(&mut self) -> Option<(&[u8], usize)> {
        let rest = &self.buffer[self.start..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        self.start += end + 1;
        Some((&rest[..end], end + 1))
    }
}

/// Finds where the last lines of a file begin, as the file is read from its beginning.
#[derive(Debug)]
pub(super) struct Tail {
    wanted: usize,
    starts: std::collections::VecDeque<u64>,
    offset: u64,
    /// Whether the last record ended its line.
    fresh: bool,
}

impl Tail {
    /// For the last `wanted` lines.
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted, starts: std::collections::VecDeque::new(), offset: 0, fresh: true }
    }

    /// Takes the next line of the file; `length` is its length with its end.
    pub(super) fn take(&mut self, line: &[u8], length: usize) {
        if self.fresh {
            self.starts.push_back(self.offset);
            if self.starts.len() > self.wanted {
                self.starts.pop_front();
            }
        }
        self.fresh = !parse(line).is_some_and(|record| record.partial);
        self.offset += u64::try_from(length).unwrap_or(u64::MAX);
    }

    /// Where to begin reading.
    pub(super) fn start(&self) -> u64 {
        self.starts.front().copied().unwrap_or(self.offset)
    }
}

/// Makes what is sent to the client out of records.
#[derive(Debug)]
pub(super) struct Writer {
    /// Records before this are left out.
    pub(super) since: Option<Timestamp>,
    /// Whether each line begins with its time.
    pub(super) timestamps: bool,
    /// Bytes that may still be sent.
    pub(super) limit: Option<u64>,
    /// Streams that are left out.
    pub(super) without_stdout: bool,
    pub(super) without_stderr: bool,
    /// Whether a line of the stream (stdout, stderr) goes on.
    open: [bool; 2],
}

impl Writer {
    pub(super) fn new(since: Option<Timestamp>, timestamps: bool, limit: Option<u64>) -> Self {
        Self { since, timestamps, limit, without_stdout: false, without_stderr: false, open: [false; 2] }
    }

    /// Appends what `line` of the file shows to `out`.
    pub(super) fn write(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(record) = parse(line) else { return };
        let hidden = if record.stderr { self.without_stderr } else { self.without_stdout };
        if hidden || self.since.is_some_and(|since| record.at < since) {
            return;
        }
        let before = out.len();
        let open = &mut self.open[usize::from(record.stderr)];
        if self.timestamps && !*open {
            out.extend_from_slice(record.at_text.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(record.text);
        if !record.partial {
            out.push(b'\n');
        }
        *open = record.partial;
        if let Some(limit) = &mut self.limit {
            let added = u64::try_from(out.len() - before).unwrap_or(u64::MAX);
            let kept = usize::try_from(added.min(*limit)).unwrap_or(usize::MAX);
            out.truncate(before.saturating_add(kept));
            *limit -= added.min(*limit);
        }
    }

    /// Whether nothing more may be sent.
    pub(super) fn full(&self) -> bool {
        self.limit == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: &str = "2026-07-29T10:00:00.000000001Z";

    fn shown(lines: &[String], cut: usize, writer: &mut Writer) -> String {
        let file: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
        let (mut cutter, mut out) = (Lines::default(), Vec::new());
        for chunk in file.chunks(cut) {
            cutter.push(chunk);
            while let Some((line, _)) = cutter.next_line() {
                writer.write(line, &mut out);
            }
        }
        String::from_utf8(out).unwrap()
    }

    fn records(list: &[(&str, &str, &str)]) -> Vec<String> {
        list.iter().map(|(stream, tag, text)| format!("{AT} {stream} {tag} {text}")).collect()
    }

    #[test]
    fn pieces_of_a_line_are_put_together_and_times_stand_at_its_beginning() {
        let lines =
            records(&[("stdout", "P", "hel"), ("stdout", "F", "lo"), ("stderr", "F", ""), ("stdout", "F", "a b")]);
        assert_eq!(shown(&lines, 7, &mut Writer::new(None, false, None)), "hello\n\na b\n");
        let expected = format!("{AT} hello\n{AT} \n{AT} a b\n");
        assert_eq!(shown(&lines, 7, &mut Writer::new(None, true, None)), expected);
    }

    #[test]
    fn a_limit_cuts_in_the_middle_of_a_line_and_an_early_record_is_left_out() {
        let lines = records(&[("stdout", "F", "hello"), ("stdout", "F", "world")]);
        let mut writer = Writer::new(None, false, Some(8));
        assert_eq!(shown(&lines, 100, &mut writer), "hello\nwo");
        assert!(writer.full());
        let after = AT.parse::<Timestamp>().unwrap() + k8s_openapi::jiff::SignedDuration::from_nanos(1);
        assert_eq!(shown(&lines, 100, &mut Writer::new(Some(after), false, None)), "");
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        for line in
            ["", "hello", "2026-07-29T10:00:00Z stdout", "2026-07-29T10:00:00Z other F x", "yesterday stdout F x"]
        {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(parse(format!("{AT} stdout F").as_bytes()).unwrap().text, b"");
    }

    proptest! {
        #[test]
        fn the_tail_shows_the_last_whole_lines(
            lines in prop::collection::vec(prop::collection::vec("[a-z ]{0,6}", 1..4), 0..12),
            wanted in 0usize..15,
            cut in 1usize..50,
        ) {
            let file: Vec<String> = lines.iter().flat_map(|pieces| {
                let last = pieces.len() - 1;
                pieces.iter().enumerate().map(move |(i, text)| format!("{AT} stdout {} {text}", if i == last { "F" } else { "P" }))
            }).collect();
            let mut tail = Tail::new(wanted);
            file.iter().for_each(|line| tail.take(line.as_bytes(), line.len() + 1));
            let whole: String = file.iter().map(|line| format!("{line}\n")).collect();
            let rest = &whole[usize::try_from(tail.start()).unwrap()..];
            let rest: Vec<String> = rest.lines().map(str::to_owned).collect();
            let expected: String = lines.iter().skip(lines.len().saturating_sub(wanted)).map(|pieces| pieces.concat() + "\n").collect();
            prop_assert_eq!(shown(&rest, cut, &mut Writer::new(None, false, None)), expected);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), limit in 0u64..100) {
            let (mut lines, mut writer, mut out) = (Lines::default(), Writer::new(None, true, Some(limit)), Vec::new());
            lines.push(&bytes);
            while let Some((line, _)) = lines.next_line() {
                writer.write(line, &mut out);
            }
            prop_assert!(out.len() as u64 <= limit);
        }
    }
}
