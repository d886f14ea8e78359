//! Class `storage`: volumes that need nothing but the node.

mod directories;
mod downward;
mod files;
mod sub_paths;
mod updates;

use orrery_harness::Test;

pub(crate) fn tests() -> Vec<Test> {
    [directories::TESTS, downward::TESTS, files::TESTS, sub_paths::TESTS, updates::TESTS].concat()
}
