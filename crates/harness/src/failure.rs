//! How a test says that something is wrong.

use std::fmt;

/// What a test comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a test does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server (or the road to it) did not do what the test asks for.
    Wrong(String),
    /// The test can't be run against this cluster, and why; it counts as not holding.
    Skipped(String),
}

impl Failure {
    /// Something is wrong.
    pub fn wrong(what: impl fmt::Display) -> Self {
        Self::Wrong(what.to_string())
    }

    /// Something that the test needs is not there.
    pub fn skipped(why: impl fmt::Display) -> Self {
        Self::Skipped(why.to_string())
    }

    /// The same, with what was being done before it.
    #[must_use]
    pub fn during(self, what: impl fmt::Display) -> Self {
        match self {
            Self::Wrong(why) => Self::Wrong(format!("{what}: {why}")),
            Self::Skipped(why) => Self::Skipped(format!("{what}: {why}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(what) | Self::Skipped(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::wrong(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::wrong(format!("not the JSON that was expected: {error}"))
    }
}

/// Says what was being done when something went wrong.
pub trait During<T> {
    /// The failure, if there is one, preceded by `what`.
    ///
    /// # Errors
    /// Those of the result.
    fn during(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T> During<T> for Outcome<T> {
    fn during(self, what: impl fmt::Display) -> Self {
        self.map_err(|failure| failure.during(what))
    }
}

/// Returns a failure with the given words unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err($crate::Failure::wrong(format!($($words)+)));
        }
    };
}

/// Returns a failure that shows both unless `found == wanted`.
#[macro_export]
macro_rules! same {
    ($found:expr, $wanted:expr, $($words:tt)+) => {
        // A match keeps what both sides borrow from alive.
        match (&$found, &$wanted) {
            (found, wanted) => {
                if *found != *wanted {
                    let what = format!($($words)+);
                    let text = format!("{what}: found {found:?}, wanted {wanted:?}");
                    return Err($crate::Failure::wrong(text));
                }
            }
        }
    };
}
