//! The log format of the container runtime interface: `TIMESTAMP STREAM TAG TEXT`.
//!
//! A tag is `F` for a line that is whole or ends one, `P` for a part that goes on in the next record. A line longer than
//! [`MAX_TEXT`] is cut, and so is what has no line end when the container ends. Pure: time is passed in.

use jiff::Timestamp;

/// Most bytes of text in one record.
pub(crate) const MAX_TEXT: usize = 16 * 1024;

/// Which output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// Turns output into records. Holds the unfinished line of each stream, at most [`MAX_TEXT`] bytes of each.
#[derive(Debug, Default)]
pub(crate) struct Formatter {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Formatter {
    /// Takes output and appends the records that it completes to `records`.
    pub(crate) fn push(&mut self, source: Source, bytes: &[u8], unix_nanos: u64, records: &mut Vec<u8>) {
        let pending = match source {
            Source::Stdout => &mut self.stdout,
            Source::Stderr => &mut self.stderr,
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let mut rest = text;
            while pending.len() + rest.len() > MAX_TEXT {
                let (head, tail) = rest.split_at(MAX_TEXT - pending.len());
                pending.extend_from_slice(head);
                rest = tail;
                record(source, b'P', pending, unix_nanos, records);
            }
            pending.extend_from_slice(rest);
            if ends {
                record(source, b'F', pending, unix_nanos, records);
            }
        }
    }

    /// The container has ended: what has no line end becomes a part.
    pub(crate) fn finish(&mut self, unix_nanos: u64, records: &mut Vec<u8>) {
        for (source, pending) in [(Source::Stdout, &mut self.stdout), (Source::Stderr, &mut self.stderr)] {
            if !pending.is_empty() {
                record(source, b'P', pending, unix_nanos, records);
            }
        }
    }
}

fn record(source: Source, tag: u8, text: &mut Vec<u8>, unix_nanos: u64, records: &mut Vec<u8>) {
    let time = Timestamp::from_nanosecond(unix_nanos.into()).expect("64 bits of nanoseconds are in range");
    let source = match source {
        Source::Stdout => "stdout",
        Source::Stderr => "stderr",
    };
    records.extend_from_slice(format!("{} {source} ", time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ")).as_bytes());
    records.extend_from_slice(&[tag, b' ']);
    records.append(text);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: u64 = 1_700_000_000_000_000_007;

    fn formatted(pieces: &[(Source, &[u8])]) -> String {
        let (mut formatter, mut records) = (Formatter::default(), Vec::new());
        for (source, bytes) in pieces {
            formatter.push(*source, bytes, AT, &mut records);
        }
        formatter.finish(AT, &mut records);
        String::from_utf8(records).unwrap()
    }

    #[test]
    fn a_line_has_nine_digits_of_its_second_and_is_full() {
        assert_eq!(formatted(&[(Source::Stdout, b"hello\n")]), "2023-11-14T22:13:20.000000007Z stdout F hello\n");
    }

    #[test]
    fn lines_of_two_streams_do_not_mix() {
        let text = formatted(&[
            (Source::Stdout, b"one "),
            (Source::Stderr, b"two\n"),
            (Source::Stdout, b"three\n\n"),
            (Source::Stderr, b"rest"),
        ]);
        let records: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(records, ["stderr F two", "stdout F one three", "stdout F ", "stderr P rest"]);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_and_no_record_is_too_long(lengths in prop::collection::vec(0usize..40_000, 0..5), cut in 1usize..50_000) {
            let mut sent = Vec::new();
            for length in lengths {
                sent.extend(std::iter::repeat_n(b'x', length));
                sent.push(b'\n');
            }
            let (mut formatter, mut records) = (Formatter::default(), Vec::new());
            sent.chunks(cut).for_each(|chunk| formatter.push(Source::Stdout, chunk, AT, &mut records));
            formatter.finish(AT, &mut records);
            let mut read = String::new();
            for record in String::from_utf8(records).unwrap().lines() {
                let mut fields = record.splitn(4, ' ');
                let (tag, text) = (fields.nth(2).unwrap(), fields.next().unwrap());
                prop_assert!(text.len() <= MAX_TEXT);
                read.push_str(text);
                if tag == "F" {
                    read.push('\n');
                }
            }
            prop_assert_eq!(read.into_bytes(), sent);
        }
    }
}
