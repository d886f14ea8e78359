//! The numbers so far. Each may only get better, which here is smaller.

use serde::Deserialize;
use std::{
    io,
    path::{Path, PathBuf},
};

/// The numbers that are watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Numbers {
    /// Half of all files are at most so long.
    pub(crate) median_file_lines: usize,
    /// 95 of 100 files are at most so long.
    pub(crate) p95_file_lines: usize,
    /// The longest file, its tests left out.
    pub(crate) largest_file_lines: usize,
    /// How many of ten thousand functions are long.
    pub(crate) long_functions_per_10000: usize,
    /// All files of the largest crate.
    pub(crate) largest_crate_lines: usize,
}

impl Numbers {
    /// Each number with its name, always in the same order.
    pub(crate) fn named(self) -> [(&'static str, usize); 5] {
        [
            ("median_file_lines", self.median_file_lines),
            ("p95_file_lines", self.p95_file_lines),
            ("largest_file_lines", self.largest_file_lines),
            ("long_functions_per_10000", self.long_functions_per_10000),
            ("largest_crate_lines", self.largest_crate_lines),
        ]
    }

    /// The smaller of each.
    fn min(self, other: Self) -> Self {
        Self {
            median_file_lines: self.median_file_lines.min(other.median_file_lines),
            p95_file_lines: self.p95_file_lines.min(other.p95_file_lines),
            largest_file_lines: self.largest_file_lines.min(other.largest_file_lines),
            long_functions_per_10000: self.long_functions_per_10000.min(other.long_functions_per_10000),
            largest_crate_lines: self.largest_crate_lines.min(other.largest_crate_lines),
        }
    }
}

/// Why the ratchet cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RatchetError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is malformed")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The file of numbers.
#[derive(Debug)]
pub(crate) struct Ratchet {
    numbers: Numbers,
}

const HEADING: &str = "\
# The worst that each number may be; see `cargo xtask check`. A number may only get better:
# `cargo xtask check --update-ratchet` lowers what has improved and never raises anything.
";

impl Ratchet {
    pub(crate) fn read(path: &Path) -> Result<Self, RatchetError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| RatchetError::Read { path: path.to_owned(), source })?;
        let numbers = toml::from_str(&text)
            .map_err(|source| RatchetError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        Ok(Self { numbers })
    }

    pub(crate) fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// Takes over what is better in `present`.
    pub(crate) fn tighten(&mut self, present: Numbers) {
        self.numbers = self.numbers.min(present);
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), RatchetError> {
        let lines = self.numbers.named().map(|(name, number)| format!("{name} = {number}\n")).concat();
        std::fs::write(path, format!("{HEADING}{lines}"))
            .map_err(|source| RatchetError::Write { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratchet_only_goes_down_and_reads_back_what_it_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ratchet.toml");
        let start = Numbers { median_file_lines: 100, p95_file_lines: 200, ..Numbers::default() };
        let mut ratchet = Ratchet { numbers: start };
        ratchet.tighten(Numbers { median_file_lines: 90, p95_file_lines: 300, ..Numbers::default() });
        ratchet.write(&path).unwrap();
        let expected = Numbers { median_file_lines: 90, p95_file_lines: 200, ..Numbers::default() };
        assert_eq!(Ratchet::read(&path).unwrap().numbers(), expected);
    }

    #[test]
    fn the_ratchet_of_this_repository_is_well_formed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ratchet.toml");
        assert_ne!(Ratchet::read(&path).unwrap().numbers(), Numbers::default());
    }
}
