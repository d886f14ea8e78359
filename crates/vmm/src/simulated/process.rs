//! A process of the simulated guest: what it has read, what it has to say, and how it ends.

use orrery_wire::{
    frame::{FrameKind, INITIAL_CREDIT, MAX_PAYLOAD},
    guest::ProcessSpec,
};
use std::collections::VecDeque;

const SIGKILL: i32 = 9;

/// What a process does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Program {
    /// Says its words and ends.
    Say { kind: FrameKind, text: Vec<u8> },
    /// Ends with a code.
    Exit(i32),
    /// Copies its input to its output.
    Cat,
    /// Does nothing until a signal that it heeds.
    Sleep { stubborn: bool },
    /// Writes so many bytes and ends.
    Flood(usize),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: i32,
    pub(super) signal: Option<i32>,
}

#[derive(Debug)]
pub(super) struct Process {
    /// The stream of its container.
    pub(super) container: u32,
    program: Program,
    input: VecDeque<u8>,
    input_ended: bool,
    /// What the host may still send.
    input_credit: u64,
    output: VecDeque<(FrameKind, Vec<u8>)>,
    output_credit: usize,
    end: Option<End>,
}

/// What a step of a process gives to the host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Output(FrameKind, Vec<u8>),
    InputTaken(u32),
    Ended(End),
}

impl Process {
    /// The process, or none when there is no such program.
    pub(super) fn start(spec: &ProcessSpec, container: u32) -> Option<Self> {
        let words = || format!("{}\n", spec.argv[1..].join(" ")).into_bytes();
        let number = || spec.argv.get(1).and_then(|word| word.parse::<i32>().ok()).unwrap_or(0);
        let program = match spec.argv.first()?.as_str() {
            "echo" | "/crx-init" => Program::Say { kind: FrameKind::Stdout, text: words() },
            "err" => Program::Say { kind: FrameKind::Stderr, text: words() },
            "exit" => Program::Exit(number()),
            "cat" => Program::Cat,
            "sleep" => Program::Sleep { stubborn: false },
            "stubborn" => Program::Sleep { stubborn: true },
            "flood" => Program::Flood(usize::try_from(number()).unwrap_or(0)),
            _ => return None,
        };
        Some(Self::of(program, container, spec.stdin))
    }

    /// A process that says what a file holds, or fails when there is none.
    pub(super) fn show(file: Option<&[u8]>, container: u32) -> Self {
        let program =
            file.map_or(Program::Exit(1), |text| Program::Say { kind: FrameKind::Stdout, text: text.to_vec() });
        Self::of(program, container, false)
    }

    /// A connection to a port that sends back what it gets.
    pub(super) fn echo(stream: u32) -> Self {
        Self::of(Program::Cat, stream, true)
    }

    /// A connection to a port that throws away what it gets.
    pub(super) fn discard(stream: u32) -> Self {
        Self::of(Program::Sleep { stubborn: false }, stream, true)
    }

    fn of(program: Program, container: u32, stdin: bool) -> Self {
        Self {
            container,
            program,
            input: VecDeque::new(),
            input_ended: !stdin,
            input_credit: INITIAL_CREDIT.into(),
            output: VecDeque::new(),
            output_credit: INITIAL_CREDIT as usize,
            end: None,
        }
    }

    /// Takes input. False when the host has sent more than it was allowed.
    pub(super) fn input(&mut self, bytes: &[u8]) -> bool {
        let Some(left) = self.input_credit.checked_sub(bytes.len() as u64) else { return false };
        self.input_credit = left;
        self.input.extend(bytes);
        true
    }

    pub(super) fn end_input(&mut self) {
        self.input_ended = true;
    }

    pub(super) fn grant(&mut self, bytes: u32) {
        self.output_credit += bytes as usize;
    }

    pub(super) fn signal(&mut self, signal: i32) {
        let heeds = self.program != Program::Sleep { stubborn: true } || signal == SIGKILL;
        if heeds && signal != 0 && self.end.is_none() {
            self.output.clear();
            self.end = Some(End { code: 128 + signal, signal: Some(signal) });
        }
    }

    /// Does all that it can with the credit that it has; `lawless` processes care about none.
    pub(super) fn step(&mut self, lawless: bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.run(&mut effects);
        while let Some((kind, bytes)) = self.output.front_mut() {
            let allowed = if lawless { MAX_PAYLOAD } else { self.output_credit.min(MAX_PAYLOAD) };
            let length = bytes.len().min(allowed);
            if length == 0 {
                return effects;
            }
            self.output_credit = self.output_credit.saturating_sub(length);
            effects.push(Effect::Output(*kind, bytes.drain(..length).collect()));
            if bytes.is_empty() {
                self.output.pop_front();
            }
        }
        effects.extend(self.end.map(Effect::Ended));
        effects
    }

    fn run(&mut self, effects: &mut Vec<Effect>) {
        if self.end.is_some() {
            return;
        }
        let done = Some(End { code: 0, signal: None });
        match &mut self.program {
            Program::Say { kind, text } => {
                self.output.push_back((*kind, std::mem::take(text)));
                self.end = done;
            }
            Program::Flood(bytes) => {
                self.output.push_back((FrameKind::Stdout, vec![b'x'; *bytes]));
                self.output.retain(|(_, bytes)| !bytes.is_empty());
                self.end = done;
            }
            Program::Exit(code) => self.end = Some(End { code: *code, signal: None }),
            Program::Cat => {
                // Like a real one it reads no more while its output is stuck.
                if self.output.is_empty() && !self.input.is_empty() {
                    let bytes: Vec<u8> = self.input.drain(..).collect();
                    self.input_credit += bytes.len() as u64;
                    effects.push(Effect::InputTaken(u32::try_from(bytes.len()).expect("input is bounded by credit")));
                    self.output.push_back((FrameKind::Stdout, bytes));
                }
                if self.input_ended && self.input.is_empty() {
                    self.end = done;
                }
            }
            Program::Sleep { .. } => {}
        }
    }
}
