//! A refusal or failure on its way to whoever asked.

use orrery_wire::shim::ShimReply;

/// Text from a guest is cut to so many characters before it is shown.
const MAX_GUEST_TEXT: usize = 1024;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// One CamelCase word, of [`orrery_wire::guest::reason`] or [`orrery_wire::shim::reason`].
    pub(crate) reason: String,
    /// For people.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }

    /// What a guest said; it is not trusted with control characters or length.
    pub(crate) fn of_guest(reason: &str, message: &str) -> Self {
        let word: String = reason.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        Self { reason: word, message: printable(message) }
    }
}

impl From<Failure> for ShimReply {
    fn from(failure: Failure) -> Self {
        Self::Failed { reason: failure.reason, message: failure.message }
    }
}

/// A guest's text without control characters and cut to a length.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_GUEST_TEXT).collect()
}

/// An error and all its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_words_are_cut_and_cleaned() {
        let failure = Failure::of_guest("Bad\nReason\u{1b}", &format!("a\u{1b}[2Jb{}", "x".repeat(5000)));
        assert_eq!(failure.reason, "BadReason");
        assert!(failure.message.starts_with("a [2Jb") && failure.message.len() == MAX_GUEST_TEXT);
    }
}
