//! Benchmarks that are programs of their own: an example of another crate, which says a number a line.
//!
//! This program then needs none of what they measure. What an engine's number means beside another's is the business of whoever
//! runs it.

use super::{BenchError, interrupt::Children};
use serde::Deserialize;
use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// A number as such a program says it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Number {
    pub(super) engine: String,
    pub(super) what: String,
    pub(super) value: f64,
}

/// All numbers of a run.
#[derive(Debug)]
pub(super) struct Numbers(pub(super) Vec<Number>);

impl Numbers {
    /// Builds the example of the package in the release profile and runs it. Its progress goes to standard error.
    pub(super) fn of(
        root: &Path,
        (package, example): (&str, &str),
        arguments: &[OsString],
        children: &Children,
    ) -> Result<Self, BenchError> {
        let mut command = Command::new("cargo");
        command.current_dir(root).args(["run", "--quiet", "--release", "-p", package, "--example", example, "--"]);
        command.args(arguments);
        let mut running = children.start(command.stdout(Stdio::piped())).map_err(BenchError::io("run cargo"))?;
        let mut numbers = Vec::new();
        for line in BufReader::new(running.child.stdout.take().expect("it is piped")).lines() {
            let line = line.map_err(BenchError::io("read what the benchmark says"))?;
            numbers
                .push(serde_json::from_str(&line).map_err(|_| BenchError::answer("the benchmark's output", &*line))?);
        }
        let status = running.child.wait().map_err(BenchError::io("wait for the benchmark"))?;
        if children.told_to_end() {
            return Err(BenchError::BrokenOff);
        }
        if !status.success() {
            let command = "the benchmark".to_owned();
            return Err(BenchError::Command { command, said: format!("{status}; its error is above") });
        }
        Ok(Self(numbers))
    }

    /// One number.
    pub(super) fn get(&self, engine: &str, what: &str) -> Result<f64, BenchError> {
        let number = self.0.iter().find(|number| number.engine == engine && number.what == what);
        number
            .map(|number| number.value)
            .ok_or_else(|| BenchError::answer("the benchmark's output", format!("no {what} of {engine}")))
    }
}
