//! The output of one process on its way from the reader to its consumer. Pure.
//!
//! ```text
//!   guest --(window)--> buffered --(taken)--> consumer --(owed)--> credit --> window
//! ```
//! At any time window + buffered + taken but not yet consumed + owed is [`INITIAL_CREDIT`]; so this is also the most that
//! is ever buffered, and a guest that sends beyond its window is found out.

use crate::cri::Source;
use orrery_wire::{frame::INITIAL_CREDIT, guest::ProcessExit};
use std::collections::VecDeque;

/// Credit is given back in amounts of at least this, so that small output does not cost a frame each.
const CREDIT_STEP: u32 = 32 * 1024;
/// Most bytes that are taken at once: they fit one frame on any connection.
const MAX_TAKE: usize = orrery_wire::frame::MAX_PAYLOAD;

/// How a stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// The process has ended.
    Exited(ProcessExit),
    /// The machine has.
    Broken,
}

/// What the consumer gets next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    Bytes(Source, Vec<u8>),
    End(StreamEnd),
    /// Nothing yet.
    Empty,
}

#[derive(Debug)]
pub(crate) struct Window {
    bytes: VecDeque<u8>,
    /// Runs of bytes from the same source, oldest first.
    runs: VecDeque<(Source, usize)>,
    window: u32,
    owed: u32,
    end: Option<StreamEnd>,
}

impl Default for Window {
    fn default() -> Self {
        Self { bytes: VecDeque::new(), runs: VecDeque::new(), window: INITIAL_CREDIT, owed: 0, end: None }
    }
}

impl Window {
    /// Takes output from the guest; an error when it has no credit for it or has ended.
    pub(crate) fn push(&mut self, source: Source, bytes: &[u8]) -> Result<(), String> {
        if self.end.is_some() {
            return Err("output came after the end of its process".into());
        }
        let left = u32::try_from(bytes.len()).ok().and_then(|length| self.window.checked_sub(length));
        self.window =
            left.ok_or_else(|| format!("{} bytes of output came with credit for {}", bytes.len(), self.window))?;
        match self.runs.back_mut() {
            Some((last, length)) if *last == source => *length += bytes.len(),
            _ if bytes.is_empty() => {}
            _ => self.runs.push_back((source, bytes.len())),
        }
        self.bytes.extend(bytes);
        Ok(())
    }

    /// Nothing follows. What is buffered can still be taken. The first end counts.
    pub(crate) fn end(&mut self, end: StreamEnd) {
        self.end.get_or_insert(end);
    }

    /// The oldest bytes of one source, or the end after the last of them.
    pub(crate) fn take(&mut self) -> Taken {
        let Some((source, run)) = self.runs.front_mut() else {
            return self.end.clone().map_or(Taken::Empty, Taken::End);
        };
        let source = *source;
        let length = (*run).min(MAX_TAKE);
        *run -= length;
        if *run == 0 {
            self.runs.pop_front();
        }
        Taken::Bytes(source, self.bytes.drain(..length).collect())
    }

    /// The consumer is done with so many bytes: the credit to send, when it is worth a frame.
    pub(crate) fn consumed(&mut self, bytes: u32) -> Option<u32> {
        self.owed += bytes;
        if self.owed < CREDIT_STEP || self.end.is_some() {
            return None;
        }
        let credit = std::mem::take(&mut self.owed);
        self.window += credit;
        Some(credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn more_than_the_window_is_a_violation() {
        let mut window = Window::default();
        window.push(Source::Stdout, &vec![0; INITIAL_CREDIT as usize]).unwrap();
        assert!(window.push(Source::Stderr, b"x").unwrap_err().contains("credit for 0"));
    }

    #[test]
    fn output_after_the_end_is_a_violation() {
        let mut window = Window::default();
        window.push(Source::Stdout, b"last words").unwrap();
        window.end(StreamEnd::Broken);
        assert!(window.push(Source::Stdout, b"x").is_err());
        assert_eq!(window.take(), Taken::Bytes(Source::Stdout, b"last words".to_vec()));
        assert_eq!(window.take(), Taken::End(StreamEnd::Broken));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))] // Each moves up to 2 MB byte by byte.

        #[test]
        fn a_guest_that_keeps_to_its_credit_is_never_stuck_and_nothing_is_lost(
            pushes in prop::collection::vec((any::<bool>(), 1usize..70_000), 1..30),
        ) {
            let mut window = Window::default();
            let mut credit = INITIAL_CREDIT as usize;
            let (mut sent, mut received) = (Vec::new(), Vec::new());
            for (error, length) in pushes {
                let source = if error { Source::Stderr } else { Source::Stdout };
                let byte = u8::try_from(length % 251).unwrap();
                // A consumer that comes only when the guest is stuck.
                while credit < length {
                    let Taken::Bytes(source, bytes) = window.take() else { panic!("the guest is stuck") };
                    let granted = window.consumed(u32::try_from(bytes.len()).unwrap());
                    received.extend(bytes.into_iter().map(|byte| (source, byte)));
                    credit += granted.unwrap_or(0) as usize;
                }
                credit -= length;
                window.push(source, &vec![byte; length]).unwrap();
                sent.extend(std::iter::repeat_n((source, byte), length));
                prop_assert!(window.bytes.len() <= INITIAL_CREDIT as usize);
            }
            while let Taken::Bytes(source, bytes) = window.take() {
                received.extend(bytes.into_iter().map(|byte| (source, byte)));
            }
            prop_assert_eq!(sent, received);
        }
    }
}
