//! Patterns of paths.

use super::PathElement;

/// A pattern of paths: names, and none for any step. It matches what it leads to and all that is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern(pub &'static [Option<&'static str>]);

impl Pattern {
    pub(super) fn matches(step: Option<&str>, element: &PathElement<'_>) -> bool {
        step.is_none_or(|name| matches!(element, PathElement::Field(field) if field == name))
    }
}
