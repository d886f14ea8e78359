//! What tests of several crates share.
//!
//! Rust's test runners know no "skipped at run time": a test that returns early counts as passed. So a test that finds that
//! it can't run here calls [`skipped`], which prints the reason and notes it in the file that `ORRERY_SKIPPED` names;
//! `scripts/test` counts those tests as skipped, by name and reason, and not as passed.
//!
//! Nothing of the product depends on this crate, and it depends on nothing.
//!
//! Start reading at [`skipped`].
#![forbid(unsafe_code)]

use std::{fmt::Display, fs::OpenOptions, io::Write};

/// The environment variable that names the file of skipped tests.
pub const FILE_VARIABLE: &str = "ORRERY_SKIPPED";

/// Says that the running test, or a named part of it, can't run here, and why. The caller returns.
///
/// # Panics
/// When the file can't be written: a skip that nobody counts would pass for a success.
pub fn skipped(why: impl Display) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let mut error = std::io::stderr();
    writeln!(error, "skipped: {why}").expect("standard error takes a line");
    if let Some(path) = std::env::var_os(FILE_VARIABLE) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("ORRERY_SKIPPED can be written");
        // One write of one short line: appends of several processes do not mix.
        file.write_all(format!("{test}: {why}\n").as_bytes()).expect("ORRERY_SKIPPED takes a line");
    }
}
