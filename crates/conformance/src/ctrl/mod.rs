//! Class `ctrl`: what controllers have to do.

use crate::registry::Test;

/// The tests of this class.
#[must_use]
pub fn tests() -> Vec<Test> {
    Vec::new()
}
