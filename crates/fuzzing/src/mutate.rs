//! The blind driver: mutates seeds by a sequence that a number decides, and calls a target with each.
//!
//! It finds less than libFuzzer, since it does not see which code an input reaches; but it runs in any test.

use crate::Target;

/// Longest input that it makes.
const LONGEST: usize = 8 * 1024;
/// What is put in among other bytes.
const PIECES: [&[u8]; 12] =
    [b"{", b"}", b"[", b"]", b"\"", b"\n", b"\\", b"null", b"9223372036854775807", b"\xff\xfe", b"\xc3\x28", b"1e400"];

/// Xorshift (Marsaglia 2003): the same for the same seed, everywhere.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }
}

/// Calls the target with every seed, then with `steps` mutations of them. `tell` is given each input before it is tried, so
/// that one that fails can be kept.
pub fn run(target: &Target, seeds: &[Vec<u8>], steps: u32, number: u64, mut tell: impl FnMut(&[u8])) {
    for seed in seeds {
        tell(seed);
        (target.run)(seed);
    }
    let mut sequence = Sequence(number | 1);
    for _ in 0..steps {
        let mut input = seeds.get(sequence.below(seeds.len())).cloned().unwrap_or_default();
        for _ in 0..=sequence.below(4) {
            mutate(&mut input, seeds, &mut sequence);
        }
        input.truncate(LONGEST);
        tell(&input);
        (target.run)(&input);
    }
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], sequence: &mut Sequence) {
    let at = sequence.below(input.len() + 1);
    let length = sequence.below(16).min(input.len() - at);
    match sequence.below(8) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..at + length)),
        2 => {
            let repeated = input[at..at + length].to_vec();
            input.splice(at..at, repeated);
        }
        3 => drop(input.splice(at..at + length, PIECES[sequence.below(PIECES.len())].iter().copied())),
        4 => {
            let other = seeds.get(sequence.below(seeds.len())).map_or(&[][..], Vec::as_slice);
            let from = sequence.below(other.len() + 1);
            let to = (from + sequence.below(32)).min(other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
        5 | 6 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << sequence.below(8);
            }
        }
        _ => input.insert(at, sequence.byte()),
    }
}
