//! What checking a value comes to.

use orrery_machinery::status::FieldError;
use std::collections::HashSet;

/// Errors, and what would be one if it were new.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Why the value is refused; nothing when it is fine.
    pub errors: Vec<FieldError>,
    /// What is wrong with parts that are as they were before.
    pub warnings: Vec<FieldError>,
}

impl Outcome {
    /// Takes over what `other` found.
    pub fn extend(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.warnings.extend(other.warnings);
    }

    /// Leaves each error once.
    pub(super) fn without_repetitions(mut self) -> Self {
        for list in [&mut self.errors, &mut self.warnings] {
            let mut seen = HashSet::new();
            list.retain(|error| seen.insert((error.field.clone(), error.message.clone())));
        }
        self
    }
}
