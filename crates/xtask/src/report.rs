//! What a check says.

use std::{error::Error, fmt};

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The check's name.
    pub(crate) check: &'static str,
    /// What was found, in a few words.
    pub(crate) summary: String,
    /// What is wrong, each with what to do.
    pub(crate) problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where and what.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) fix: String,
}

impl Verdict {
    pub(crate) fn new(check: &'static str, summary: String, problems: Vec<Problem>) -> Self {
        Self { check, summary, problems }
    }

    /// The check could not be made.
    pub(crate) fn cannot(check: &'static str, error: &dyn Error) -> Self {
        let what = chain(error);
        let fix = "put that right and run the check again".to_owned();
        Self::new(check, "could not be checked".to_owned(), vec![Problem { what, fix }])
    }

    pub(crate) fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Problems beyond this many are only counted.
const SHOWN: usize = 20;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_good() { '✓' } else { '✗' };
        write!(f, "{mark} {}: {}", self.check, self.summary)?;
        for (index, problem) in self.problems.iter().take(SHOWN).enumerate() {
            write!(f, "\n    {}", problem.what)?;
            // The same advice once is enough.
            if self.problems.get(index + 1).is_none_or(|next| next.fix != problem.fix) || index + 1 == SHOWN {
                write!(f, "\n      → {}", problem.fix)?;
            }
        }
        if self.problems.len() > SHOWN {
            write!(f, "\n    and {} more", self.problems.len() - SHOWN)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_one_line_and_its_problems() {
        let problem = |what: &str| Problem { what: what.into(), fix: "do it".into() };
        let good = Verdict::new("words", "fine".into(), Vec::new());
        assert_eq!(good.to_string(), "✓ words: fine");
        let bad = Verdict::new("words", "2 found".into(), vec![problem("a"), problem("b")]);
        assert_eq!(bad.to_string(), "✗ words: 2 found\n    a\n    b\n      → do it");
    }
}
