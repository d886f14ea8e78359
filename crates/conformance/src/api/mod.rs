//! Class `api`: what the API server alone has to do.

mod server;
mod watchers;

use crate::registry::Test;

/// The tests of this class.
#[must_use]
pub fn tests() -> Vec<Test> {
    [server::TESTS, watchers::TESTS].concat()
}
