//! Why a request is answered with `Failed`.

use orrery_wire::guest::reason;

/// The reason word and text of a `Failed` answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub(crate) struct Refusal {
    /// One of [`orrery_wire::guest::reason`].
    pub(crate) reason: String,
    /// What happened, for people.
    pub(crate) message: String,
}

impl Refusal {
    /// A refusal for `reason`.
    pub(crate) fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }
}

/// Says what was being done when a system call failed.
pub(crate) trait Doing<T> {
    /// The value, or a refusal for `SystemError` that tells what was being done.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Refusal>;
}

impl<T, E: std::fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Refusal> {
        self.map_err(|error| Refusal::new(reason::SYSTEM_ERROR, format!("{}: {error}", what())))
    }
}
